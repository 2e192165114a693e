"""A BERT encoder with mean pooling for CPUs: token ids to unit vectors, in fp32, bf16 or int8.

It knows one architecture, the one of most small sentence encoders, and computes it in the order that suits a CPU: the tokens of all texts
of a batch stand below each other as rows without padding, attention runs over texts of equal length, bias, GELU and residual are fused
into the matrix multiplications of oneDNN (inside torch), whose weights are packed once. It starts no threads and takes no locks.

int8: weights symmetric with a scale per output; inputs u8 with fixed scales, found once by running random word pieces in fp32, so that a
vector does not depend on the texts beside it. Channels of large values are evened out against the weights (SmoothQuant, arXiv:2211.10438).
One or two GELU outputs of a layer reach 24 where all others stay below 7; such a unit is spread over several that saturate in turn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rag.errors import ModelError

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
DTYPES = (FLOAT32, BFLOAT16, INT8)

SMOOTHING = 0.6
"""Share of a channel's range that moves into the weights. cos of passages by share: .5 → .9984, .6 → .9987, .7 → .9986, .8 → .9981."""
GELU_TOP = 6.0
"""Largest GELU output that u8 holds; from 4 to 6 the quality is the same, and at the layers' full range (24) cos falls to .996."""
GELU_BOTTOM = -0.17
PACKED_ROWS = 1024
"""Rows that weights are packed for; others work too."""
CALIBRATION_LENGTHS = (6, 14, 30, 62, 126, 254)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model folder says of its encoder."""

    folder: Path
    hidden: int
    inner: int
    layers: int
    heads: int
    epsilon: float
    vocabulary: int
    max_tokens: int
    """Word pieces that are read of a text, `[CLS]` and `[SEP]` among them."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """`(inputs, outputs)` of a layer's matrices."""
        return (self.hidden, 3 * self.hidden), (self.hidden, self.hidden), (self.hidden, self.inner), (self.inner, self.hidden)


def read_recipe(folder: Path) -> Recipe:
    """The recipe of the encoder in a sentence-transformers folder.

    Raises:
        ModelError: it is not one that this module computes; the message says in what it differs.
    """
    config = _read_json(folder / "config.json")
    modules = [str(module.get("type", "")).rpartition(".")[2] for module in _read_json(folder / "modules.json") or []]
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    sentence = _read_json(folder / "sentence_bert_config.json")
    prompts = _read_json(folder / "config_sentence_transformers.json") or {}
    tokenizer = _read_json(folder / "tokenizer_config.json") or {}
    modes = {name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True} if pooling else set()
    if pooling and "pooling_mode" in pooling:  # as sentence-transformers writes it since version 6, and the longest text with the tokenizer
        modes = {f"pooling_mode_{pooling['pooling_mode']}_tokens"}
    wanted: tuple[tuple[str, object, tuple[object, ...]], ...] = (
        ("model_type", config.get("model_type") if config else None, ("bert",)),
        ("hidden_act", config.get("hidden_act") if config else None, ("gelu",)),
        ("position_embedding_type", config.get("position_embedding_type", "absolute") if config else None, ("absolute",)),
        ("modules", modules, (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])),
        ("pooling", modes, ({"pooling_mode_mean_tokens"},)),
        ("prompts", {name: prompt for name, prompt in (prompts.get("prompts") or {}).items() if prompt}, ({},)),
        ("do_lower_case", bool(sentence and sentence.get("do_lower_case")), (False,)),
        ("tokenizer.json", (folder / "tokenizer.json").exists(), (True,)),
        ("model.safetensors", (folder / "model.safetensors").exists(), (True,)),
    )
    for name, found, expected in wanted:
        if found not in expected:
            raise ModelError(f"{folder.name}: {name} is {found!r}; the CPU encoder knows {' or '.join(map(repr, expected))}")
    positions = config["max_position_embeddings"]
    return Recipe(
        folder,
        config["hidden_size"],
        config["intermediate_size"],
        config["num_hidden_layers"],
        config["num_attention_heads"],
        config["layer_norm_eps"],
        config["vocab_size"],
        min(sentence.get("max_seq_length") or tokenizer.get("model_max_length") or positions, positions) if sentence else positions,
    )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


class _Layer(Protocol):
    """The matrix multiplications of a layer; what lies between them is the same in every arithmetic."""

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        """Queries, keys, values: `(tokens, hidden)` to `(tokens, 3 * hidden)`, the queries scaled as `_attend` wants them."""
        ...

    def merge(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """The heads' output, projected, plus the residual."""
        ...

    def feed(self, rows: torch.Tensor) -> torch.Tensor:
        """The two feed-forward matrices with GELU between them, plus the residual."""
        ...


@dataclass(frozen=True, slots=True)
class _Matrices:
    """fp32 `(weight (outputs, inputs), bias (outputs,))` of a layer."""

    project: tuple[torch.Tensor, torch.Tensor]
    merge: tuple[torch.Tensor, torch.Tensor]
    widen: tuple[torch.Tensor, torch.Tensor]
    narrow: tuple[torch.Tensor, torch.Tensor]


@dataclass(slots=True)
class _Ranges:
    """Largest magnitude of each channel that enters a layer's matrices, `(inputs,) float32`; of `widen`, also what its GELU gives."""

    project: torch.Tensor | None = None
    merge: torch.Tensor | None = None
    widen: torch.Tensor | None = None
    narrow: torch.Tensor | None = None

    def see(self, name: str, rows: torch.Tensor) -> None:
        largest, known = rows.abs().amax(0), getattr(self, name)
        setattr(self, name, largest if known is None else largest.maximum(known))


class _FloatLayer:
    """fp32 or bf16; told `ranges`, it notes what it sees there."""

    def __init__(self, matrices: _Matrices, dtype: torch.dtype, ranges: _Ranges | None = None) -> None:
        import torch

        def pack(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ops.mkldnn._reorder_linear_weight(pair[0].to(dtype), PACKED_ROWS), pair[1].to(dtype)

        self._multiply = torch.ops.mkldnn._linear_pointwise
        self._project, self._merge = pack(matrices.project), pack(matrices.merge)
        self._widen, self._narrow = pack(matrices.widen), pack(matrices.narrow)
        self._ranges = ranges

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        self._see("project", rows)
        projected = self._multiply(rows, *self._project, "none", [], "")
        # Attention averages values, so theirs is a range it never leaves. What it was seen to give was too narrow for short questions:
        # cos of 400 of them at least .977, and .997 so.
        self._see("merge", projected[:, 2 * rows.shape[1] :])
        return projected

    def merge(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self._multiply.binary(context, residual, *self._merge, "add")

    def feed(self, rows: torch.Tensor) -> torch.Tensor:
        self._see("widen", rows)
        inner = self._multiply(rows, *self._widen, "gelu", [], "none")
        self._see("narrow", inner)
        return self._multiply.binary(inner, rows, *self._narrow, "add")

    def _see(self, name: str, rows: torch.Tensor) -> None:
        if self._ranges is not None:
            self._ranges.see(name, rows)


class _Int8Matrix:
    """One matrix with weights in s8 (a scale per output) and inputs in u8 (one scale, fixed)."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, step: float, zero: int) -> None:
        import torch

        scales = (weight.abs().amax(1) / 127).clamp(min=1e-12)
        rounded = (weight / scales[:, None]).round().to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(rounded, [PACKED_ROWS, weight.shape[1]])
        self._arguments = step, zero, packed, scales, torch.zeros(len(scales), dtype=torch.int64)
        self._bias = bias
        self._multiply = torch.ops.onednn.qlinear_pointwise

    def to(self, dtype: torch.dtype, rows: torch.Tensor) -> torch.Tensor:
        return self._multiply(rows, *self._arguments, self._bias, 1.0, 0, dtype, "none", [], "")

    def plus(self, residual: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Adds into `residual`, fp32, which is gone after that."""
        return self._multiply.binary(
            rows, *self._arguments, residual, self._bias, 1.0, 0, residual.dtype, 1.0, 0, "sum", 1.0, "none", [], ""
        )

    def gelu(self, step: float, zero: int, rows: torch.Tensor) -> torch.Tensor:
        """GELU of the result as u8, saturating."""
        import torch

        return self._multiply(rows, *self._arguments, self._bias, step, zero, torch.uint8, "gelu", [], "none")


class _Int8Layer:
    """int8 matrices; residuals in fp32, attention in bf16."""

    def __init__(self, matrices: _Matrices, ranges: _Ranges) -> None:
        import torch

        self._attention_dtype = torch.bfloat16
        widen, narrow = _spread_outliers(matrices.widen, matrices.narrow, _known(ranges.narrow))
        self._project_factor, self._project = _smooth(*matrices.project, _known(ranges.project))
        self._merge_factor, self._merge = _smooth(*matrices.merge, _known(ranges.merge))
        self._widen_factor, self._widen = _smooth(*widen, _known(ranges.widen))
        self._inner_step = (GELU_TOP - GELU_BOTTOM) / 255
        self._inner_zero = round(-GELU_BOTTOM / self._inner_step)
        self._narrow = _Int8Matrix(*narrow, self._inner_step, self._inner_zero)

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        return self._project.to(self._attention_dtype, _to_u8(rows, self._project_factor))

    def merge(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self._merge.plus(residual, _to_u8(context, self._merge_factor))

    def feed(self, rows: torch.Tensor) -> torch.Tensor:
        inner = self._widen.gelu(self._inner_step, self._inner_zero, _to_u8(rows, self._widen_factor))
        return self._narrow.plus(rows, inner)


def _known(range_: torch.Tensor | None) -> torch.Tensor:
    assert range_ is not None, "the calibration run has passed every matrix"
    return range_


def _smooth(weight: torch.Tensor, bias: torch.Tensor, range_: torch.Tensor) -> tuple[torch.Tensor, _Int8Matrix]:
    """`(factor (inputs,), matrix)`: inputs times `factor` are within ±127, and the matrix expects them so."""
    evened = range_.clamp(min=1e-4) ** SMOOTHING / weight.abs().amax(0).clamp(min=1e-6) ** (1 - SMOOTHING)
    step = float((range_ / evened).max() / 127)
    return 1 / (evened * step), _Int8Matrix(weight * evened, bias, step, 128)


def _to_u8(rows: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Rounded to ±127 and moved by 128. oneDNN multiplies s8 inputs by a slow reference (0.1 of 430 GOPS here), and u8 at full speed."""
    import torch

    return (rows * factor).round_().clamp_(-127, 127).to(torch.int8).view(torch.uint8).bitwise_xor_(128)


Pair = tuple["torch.Tensor", "torch.Tensor"]


def _spread_outliers(widen: Pair, narrow: Pair, range_: torch.Tensor) -> tuple[Pair, Pair]:
    """Each unit whose GELU passes `GELU_TOP` gets followers with the same weights that start where the one before them saturates.

    For large values GELU is the identity, so the sum of the saturating units is the value. Followers come by sixteen, as kernels like.
    """
    import torch

    units = [(unit, k * GELU_TOP) for unit, top in enumerate(range_.tolist()) for k in range(1, int(top / GELU_TOP) + 1)]
    if not units:
        return widen, narrow
    unused = -len(units) % 16
    index = torch.tensor([unit for unit, _ in units])
    starts = torch.tensor([start for _, start in units])
    weight = torch.cat([widen[0], widen[0][index], torch.zeros(unused, widen[0].shape[1])])
    bias = torch.cat([widen[1], widen[1][index] - starts, torch.zeros(unused)])
    back = torch.cat([narrow[0], narrow[0][:, index], torch.zeros(narrow[0].shape[0], unused)], 1)
    return (weight, bias), (back, narrow[1])


class PackedEncoder:
    """Token ids to unit vectors. Calls from several threads at once are fine; each computes with its own thread's intra-op threads."""

    def __init__(self, recipe: Recipe, dtype: str, instead: Weights | None = None) -> None:
        """Reads the weights; for int8 also finds the ranges, with some 2,000 random word pieces in fp32.

        Args:
            instead: weights by name that take the place of the recipe's.

        Raises:
            ModelError: the weights are not those of a BERT of the recipe's shape.
        """
        import torch

        self.recipe, self.dtype = recipe, dtype
        self.device = f"cpu {dtype}"
        self._row_dtype = torch.bfloat16 if dtype == BFLOAT16 else torch.float32
        self._attention_dtype = torch.float32 if dtype == FLOAT32 else torch.bfloat16
        weights = _read_weights(recipe) | (instead or {})
        self._words = weights["embeddings.word_embeddings.weight"].to(self._row_dtype)
        types = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = (weights["embeddings.position_embeddings.weight"] + types).to(self._row_dtype)
        self._norms = [self._norm(weights, name) for name in _norm_names(recipe)]
        matrices = [_layer_matrices(weights, number, recipe) for number in range(recipe.layers)]
        self._layers: list[_Layer] = []
        if dtype == INT8:
            ranges = [_Ranges() for _ in matrices]
            self._layers += [_FloatLayer(own, torch.float32, seen) for own, seen in zip(matrices, ranges, strict=True)]
            self._attention_dtype = torch.float32
            self.encode(_calibration_texts(recipe))
            self._attention_dtype = torch.bfloat16
            self._layers = [_Int8Layer(own, seen) for own, seen in zip(matrices, ranges, strict=True)]
        else:
            self._layers += [_FloatLayer(own, self._row_dtype) for own in matrices]

    def _norm(self, weights: Weights, name: str) -> Pair:
        return weights[f"{name}.weight"].to(self._row_dtype), weights[f"{name}.bias"].to(self._row_dtype)

    def encode(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """`(n, hidden) float32`, unit rows, in the order given. Fastest when texts of equal length stand together."""
        vectors = self._encode(texts, bounded=True)
        # A score beyond ±126 gives inf or nan. No text has shown one; the ordinary softmax bears it.
        return vectors if np.isfinite(vectors).all() else self._encode(texts, bounded=False)

    def states(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """What the last layer says of every token: `(tokens, hidden) float32`, the texts below each other in the order given."""
        rows = self._rows(texts, list(_equal_lengths(texts)), bounded=True)
        return rows if rows.isfinite().all() else self._rows(texts, list(_equal_lengths(texts)), bounded=False)

    def _encode(self, texts: Sequence[Sequence[int]], bounded: bool) -> np.ndarray:
        import torch
        from torch.nn.functional import normalize

        with torch.inference_mode():
            groups = list(_equal_lengths(texts))
            rows = self._rows(texts, groups, bounded)
            means = [rows[group.rows].view(group.texts, group.length, -1).mean(1) for group in groups]
            return normalize(torch.cat(means)).numpy()

    def _rows(self, texts: Sequence[Sequence[int]], groups: Sequence[_Group], bounded: bool) -> torch.Tensor:
        import torch
        from torch.nn.functional import embedding, layer_norm

        recipe = self.recipe
        with torch.inference_mode():
            ids = torch.from_numpy(np.concatenate([np.asarray(text, np.int64) for text in texts]))
            positions = torch.from_numpy(np.concatenate([np.arange(len(text)) for text in texts]))
            shape, epsilon = (recipe.hidden,), recipe.epsilon
            rows = layer_norm(embedding(ids, self._words) + embedding(positions, self._positions), shape, *self._norms[0], epsilon)
            context = torch.empty(len(ids), recipe.hidden, dtype=self._attention_dtype)
            for number, layer in enumerate(self._layers):
                _attend(layer.project(rows), groups, recipe.heads, context, bounded)
                rows = layer_norm(layer.merge(context, rows), shape, *self._norms[1 + 2 * number], epsilon)
                rows = layer_norm(layer.feed(rows), shape, *self._norms[2 + 2 * number], epsilon)
            return rows.float()


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbours of equal length: which rows are theirs."""

    rows: slice
    texts: int
    length: int


def _equal_lengths(texts: Sequence[Sequence[int]]) -> Iterator[_Group]:
    start = 0
    for length, group in groupby(map(len, texts)):
        count = sum(1 for _ in group)
        yield _Group(slice(start, start + count * length), count, length)
        start += count * length


def _attend(projected: torch.Tensor, groups: Sequence[_Group], heads: int, context: torch.Tensor, bounded: bool) -> None:
    """Writes every text's attention into `context (tokens, hidden)`. The queries carry the factor log2(e) / sqrt(size).

    In half precision, and with `bounded` scores, the powers of two are not moved by the row's maximum first: 1.3 µs a token at length 199
    where torch's bf16 softmax takes 2.3 (2.6 at length 63, whose rows end amid a vector), and its fused attention 5.1 for what is 2.8 here.
    """
    import torch

    hidden = context.shape[1]
    size = hidden // heads
    for group in groups:
        split = projected[group.rows].view(group.texts, group.length, 3, heads, size).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.reshape(3, group.texts * heads, group.length, size)
        scores = torch.bmm(queries, keys.transpose(1, 2))
        if bounded and scores.dtype == torch.bfloat16:
            weights = scores.exp2_()
            mixed = torch.bmm(weights, values).div_(weights.sum(-1, keepdim=True))
        else:
            mixed = torch.bmm((scores.float() * math.log(2)).softmax(-1).to(values.dtype), values)
        of_text = mixed.view(group.texts, heads, group.length, size).transpose(1, 2)
        context[group.rows].view(group.texts, group.length, heads, size).copy_(of_text)


def _read_weights(recipe: Recipe) -> Weights:
    from safetensors.torch import load_file

    weights = load_file(recipe.folder / "model.safetensors")
    found = {name.removeprefix("bert."): weight.float() for name, weight in weights.items() if weight.is_floating_point()}
    needed = ["embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"]
    needed += ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias", *layer_names(recipe)]
    if missing := [name for name in needed if name not in found]:
        raise ModelError(
            f"{recipe.folder.name}: the weights lack {missing[0]} and {len(missing) - 1} more; expected those of a BERT encoder"
        )
    return found


def layer_names(recipe: Recipe) -> list[str]:
    """The weights of all layers, without those of the embeddings."""
    norms = [name for name in _norm_names(recipe) if name.startswith("encoder.")]
    return [f"{name}.{part}" for name in (*norms, *_matrix_names(recipe)) for part in ("weight", "bias")]


def _norm_names(recipe: Recipe) -> list[str]:
    layers = [f"encoder.layer.{number}.{part}.LayerNorm" for number in range(recipe.layers) for part in ("attention.output", "output")]
    return ["embeddings.LayerNorm", *layers]


_MATRICES = (
    "attention.self.query", "attention.self.key", "attention.self.value",
    "attention.output.dense", "intermediate.dense", "output.dense",
)  # fmt: skip


def _matrix_names(recipe: Recipe) -> list[str]:
    return [f"encoder.layer.{number}.{name}" for number in range(recipe.layers) for name in _MATRICES]


def _layer_matrices(weights: Weights, number: int, recipe: Recipe) -> _Matrices:
    import torch

    pairs = [(weights[f"encoder.layer.{number}.{name}.weight"], weights[f"encoder.layer.{number}.{name}.bias"]) for name in _MATRICES]
    query, key, value, merge, widen, narrow = pairs
    scale = math.log2(math.e) * (recipe.hidden // recipe.heads) ** -0.5
    weight = torch.cat([query[0] * scale, key[0], value[0]])
    bias = torch.cat([query[1] * scale, key[1], value[1]])
    return _Matrices((weight, bias), merge, widen, narrow)


def _calibration_texts(recipe: Recipe) -> list[list[int]]:
    """Random word pieces, the same each time. Against natural English they cost 0.0002 of the cosine, and favour no language."""
    random = np.random.default_rng(0)
    lengths = [length for length in CALIBRATION_LENGTHS for _ in range(4) if length + 2 <= recipe.max_tokens]
    from tokenizers import Tokenizer

    frame = Tokenizer.from_file(str(recipe.folder / "tokenizer.json")).encode("").ids  # [CLS], [SEP], perhaps padding
    first, last = frame[0], next((piece for piece in frame[1:] if piece != frame[0]), frame[0])
    low = min(1000, recipe.vocabulary // 2)  # below are unused and special pieces
    return [[first, *random.integers(low, recipe.vocabulary, length).tolist(), last] for length in lengths]
