"""What a model's files say of its size, from their headers alone: nothing is loaded, and 100 GB take no longer than 100 MB.

A shape knows neither device nor type; what a model takes there is `rag.footprint_estimates`' business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import ModelError

TYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""torch's names of the types of safetensors that are converted when a model loads."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What weight files hold: so many floating-point numbers, most of them of `dtype` (torch's name), and bytes of other types, which stay
    as they are (packed weights, tables of indices). `file_bytes` is all of it."""

    floats: int
    other_bytes: int
    file_bytes: int
    dtype: str


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A transformer, encoder or decoder; `inner` is the width between the two feed-forward matrices.

    `max_tokens` is None where the files do not say; `key_heads` equals `heads` where keys are not shared.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    max_tokens: int | None
    tied: bool
    """Whether the output matrix is the embedding table."""
    weights: Weights


def read_weights(folder: Path) -> Weights:
    """What the safetensors files of a folder hold.

    Raises:
        ModelError: there is none, or one cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    floats: dict[str, int] = {}
    other = file_bytes = 0
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder} holds no .safetensors file; Lectern loads no other kind of weights")
    for file in files:
        try:
            with safe_open(file, "np") as tensors:
                slices = [tensors.get_slice(name) for name in tensors.keys()]  # noqa: SIM118 (it is no mapping)
                counts = [(one.get_dtype(), _product(one.get_shape())) for one in slices]
                file_bytes += file.stat().st_size
        except (OSError, SafetensorError) as e:
            raise ModelError(f"{file} is no readable safetensors file: {e}") from e
        for dtype, count in counts:
            if dtype in TYPES:
                floats[dtype] = floats.get(dtype, 0) + count
            else:
                other += count * _bytes_of(dtype)
    dtype = max(floats, key=lambda one: floats[one], default="F32")
    return Weights(sum(floats.values()), other, file_bytes, TYPES[dtype])


def _product(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _bytes_of(dtype: str) -> int:
    """Of a number of another type of safetensors, by the width in its name (`I64`, `U8`, `F8_E4M3`, `BOOL`)."""
    digits = "".join(character for character in dtype.partition("_")[0] if character.isdigit())
    return max(1, int(digits or 8) // 8)


def read_shape(folder: Path) -> ModelShape:
    """The shape of the model in a folder, by its config.json and the headers of its weights.

    Raises:
        ModelError: they are missing or do not say enough.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config = config.get("text_config") or config  # a model of pictures and text
    except (OSError, ValueError, AttributeError) as e:
        raise ModelError(f"{folder} has no readable config.json: {e}") from e
    try:
        hidden = _first(config, "hidden_size", "n_embd", "dim", "d_model")
        heads = _first(config, "num_attention_heads", "n_head", "n_heads", "num_heads")
        return ModelShape(
            layers=_first(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
            hidden=hidden,
            inner=_first(config, "intermediate_size", "n_inner", "hidden_dim", "d_ff", default=4 * hidden),
            heads=heads,
            key_heads=_first(config, "num_key_value_heads", "n_head_kv", default=heads),
            head_width=_first(config, "head_dim", default=hidden // heads),
            vocabulary=_first(config, "vocab_size"),
            max_tokens=_longest(folder, config),
            tied=bool(config.get("tie_word_embeddings")),
            weights=read_weights(folder),
        )
    except KeyError as e:
        raise ModelError(f"{folder / 'config.json'} names none of {e.args[0]}: the size of this model cannot be told from its files") from e


def _first(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    """A number under the first of the names that different architectures give it."""
    found = next((config[name] for name in names if config.get(name) is not None), default)
    if found is None:
        raise KeyError(", ".join(names))
    return int(found)


def _longest(folder: Path, config: Mapping[str, Any]) -> int | None:
    """Tokens that are read; a sentence encoder may be told to read fewer than it has positions for."""
    positions = next((config[name] for name in ("max_position_embeddings", "n_positions", "n_ctx") if config.get(name)), None)
    file = folder / "sentence_bert_config.json"
    told = json.loads(file.read_text("utf-8")).get("max_seq_length") if file.is_file() else None
    return min((int(one) for one in (positions, told) if one), default=None)


def read_gguf_shape(file: Path) -> ModelShape:
    """The shape of the decoder in a GGUF file, as it is when converted to bf16 safetensors."""
    from gguf import GGUFReader

    reader = GGUFReader(file)

    def said(name: str) -> int | None:
        field = reader.get_field(name)
        return None if field is None else int(field.contents())

    kind = reader.get_field("general.architecture")
    prefix = kind.contents() if kind else "llama"
    names = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count", "context_length")
    found = {name: said(f"{prefix}.{name}") for name in names}
    if missing := [name for name, value in found.items() if value is None]:
        raise ModelError(f"{file} does not name {prefix}.{missing[0]}: the size of this model cannot be told from its header")
    layers, hidden, inner, heads, longest = (int(value or 0) for value in found.values())
    shapes = {tensor.name: [int(size) for size in tensor.shape] for tensor in reader.tensors}
    floats = sum(_product(shape) for shape in shapes.values())
    return ModelShape(
        layers, hidden, inner, heads,
        key_heads=said(f"{prefix}.attention.head_count_kv") or heads,
        head_width=said(f"{prefix}.attention.key_length") or hidden // heads,
        vocabulary=shapes["token_embd.weight"][1],
        max_tokens=longest,
        tied="output.weight" not in shapes,
        weights=Weights(floats, 0, 2 * floats, "bfloat16"),
    )  # fmt: skip
