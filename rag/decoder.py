"""A Llama decoder: token ids to the next tokens' logits, of several sequences at once.

It knows one architecture, the one of SmolLM2, Llama and many small chat models, and computes it in the order that suits a CPU: the tokens
of all sequences stand below each other as rows, matrices are multiplied by oneDNN (inside torch) with weights packed once, attention runs
over each sequence's own keys and values, which lie in one piece and grow in place. It rounds where transformers rounds: logits of a prompt
are equal to the bit, those of single tokens but for the order in which attention adds. On a GPU the same code runs over plain weights. It
starts no threads, takes no locks and chooses no tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import ModelError

if TYPE_CHECKING:
    import torch

PACKED_ROWS = 16
"""Rows that weights are packed for; others run as fast."""
GROUPED_ROWS = 16
"""Up to so many new tokens the query heads that share keys are computed as rows of one head: a third of the time at SmolLM2's shapes."""
GROWTH = 256
"""Tokens by which the room of a sequence grows."""


@dataclass(frozen=True, slots=True)
class DecoderRecipe:
    """What a model folder says of its decoder."""

    folder: Path
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    epsilon: float
    rope_theta: float
    vocabulary: int
    max_tokens: int
    tied: bool
    """Whether the output matrix is the embedding table."""


def read_decoder_recipe(folder: Path) -> DecoderRecipe:
    """The recipe of the causal LM in a folder.

    Raises:
        ModelError: it is not one that this module computes; the message says in what it differs.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"{folder} has no readable config.json: {e}") from e
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0)}
    wanted: tuple[tuple[str, object, tuple[object, ...]], ...] = (
        ("model_type", config.get("model_type"), ("llama",)),
        ("hidden_act", config.get("hidden_act"), ("silu",)),
        ("rope_type", rope.get("rope_type", "default"), ("default",)),
        ("rope_scaling", config.get("rope_scaling"), (None,)),
        ("attention_bias", bool(config.get("attention_bias")), (False,)),
        ("mlp_bias", bool(config.get("mlp_bias")), (False,)),
        ("quantization_config", config.get("quantization_config"), (None,)),
        ("*.safetensors", any(folder.glob("*.safetensors")), (True,)),
    )
    for name, found, expected in wanted:
        if found not in expected:
            raise ModelError(f"{folder.name}: {name} is {found!r}; our decoder knows {' or '.join(map(repr, expected))}")
    heads = config["num_attention_heads"]
    return DecoderRecipe(
        folder,
        config["hidden_size"],
        config["intermediate_size"],
        config["num_hidden_layers"],
        heads,
        config.get("num_key_value_heads") or heads,
        config.get("head_dim") or config["hidden_size"] // heads,
        config["rms_norm_eps"],
        rope["rope_theta"],
        config["vocab_size"],
        config["max_position_embeddings"],
        bool(config.get("tie_word_embeddings")),
    )


class KeyValues:
    """The keys and values of one sequence's tokens so far: two tensors `(layers, key_heads, room, head_width)`, of which `length` count."""

    def __init__(self, shape: tuple[int, int, int, int], like: torch.Tensor) -> None:
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.length = 0

    @property
    def bytes(self) -> int:
        return 2 * self.keys.numel() * self.keys.element_size()

    def make_room(self, count: int) -> None:
        """Room for `count` more tokens."""
        needed = self.length + count
        if needed > self.keys.shape[2]:
            grown = self.copy(self.length, needed + GROWTH)
            self.keys, self.values = grown.keys, grown.values

    def copy(self, length: int, room: int) -> KeyValues:
        """The first `length` tokens in a sequence of their own, with room for `room` in all."""
        layers, heads, _, width = self.keys.shape
        other = KeyValues((layers, heads, max(room, length, 1), width), self.keys)
        other.keys[:, :, :length] = self.keys[:, :, :length]
        other.values[:, :, :length] = self.values[:, :, :length]
        other.length = length
        return other


@dataclass(frozen=True, slots=True)
class Reading:
    """New tokens of one sequence, to be read after those in `past`; logits are wanted after the last `wanted` of them."""

    tokens: Sequence[int]
    past: KeyValues
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of a layer: the matrices packed, `(outputs, inputs)` where they are not; the two norms are vectors."""

    attention_norm: torch.Tensor
    project: torch.Tensor
    merge: torch.Tensor
    inner_norm: torch.Tensor
    widen: torch.Tensor
    narrow: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Span:
    """The rows of one sequence in a pass."""

    reading: Reading
    rows: slice
    mask: torch.Tensor | None


class LlamaDecoder:
    """The decoder of a model folder, loaded. `read` may not run twice at a time on the same sequence."""

    def __init__(
        self,
        recipe: DecoderRecipe,
        dtype: torch.dtype,
        device: str = "cpu",
        weights: Mapping[str, torch.Tensor] | None = None,
        adapt: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, weight: weight,
    ) -> None:
        """
        Args:
            weights: by transformers' names; None for those of the folder.
            adapt: what becomes of a weight, called by its name without `.weight`.

        Raises:
            ModelError: the weights cannot be read, or one is missing.
        """
        import torch
        from safetensors import SafetensorError

        self.recipe, self._dtype, self._device = recipe, dtype, device
        self._is_packed = device == "cpu" and torch.backends.mkldnn.is_available()
        try:
            with ExitStack() as files:
                weight = _weights(recipe.folder, files) if weights is None else weights.__getitem__
                self._load(lambda name: adapt(name, weight(f"{name}.weight").to(device, dtype)))
        except (OSError, SafetensorError) as e:
            raise ModelError(f"the weights in {recipe.folder} cannot be read: {e}") from e
        self._cos, self._sin = self._rotations()

    def _load(self, weight: Callable[[str], torch.Tensor]) -> None:
        import torch

        def matrix(*names: str) -> torch.Tensor:
            stacked = torch.cat([weight(name) for name in names])
            return torch.ops.mkldnn._reorder_linear_weight(stacked, PACKED_ROWS) if self._is_packed else stacked

        self._embeddings = weight("model.embed_tokens")
        self._norm = weight("model.norm")
        self._head = matrix("model.embed_tokens" if self.recipe.tied else "lm_head")
        self._layers = [self._load_layer(f"model.layers.{number}", weight, matrix) for number in range(self.recipe.layers)]

    @staticmethod
    def _load_layer(name: str, weight: Callable[[str], torch.Tensor], matrix: Callable[..., torch.Tensor]) -> _Layer:
        attention, inner = f"{name}.self_attn", f"{name}.mlp"
        return _Layer(
            weight(f"{name}.input_layernorm"),
            matrix(f"{attention}.q_proj", f"{attention}.k_proj", f"{attention}.v_proj"),
            matrix(f"{attention}.o_proj"),
            weight(f"{name}.post_attention_layernorm"),
            matrix(f"{inner}.gate_proj", f"{inner}.up_proj"),
            matrix(f"{inner}.down_proj"),
        )

    def _rotations(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines by position, `(max_tokens, 1, head_width)`; the sines' first half negated, so that a roll does what
        transformers' `rotate_half` does (RoPE, arXiv:2104.09864)."""
        import torch

        width = self.recipe.head_width
        frequencies = 1.0 / (self.recipe.rope_theta ** (torch.arange(0, width, 2, dtype=torch.float) / width))
        angles = torch.arange(self.recipe.max_tokens, dtype=torch.float)[:, None] * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        sines = angles.sin().to(self._device, self._dtype)
        sines[:, : width // 2].neg_()
        return angles.cos().to(self._device, self._dtype)[:, None], sines[:, None]

    @property
    def bytes_per_token(self) -> int:
        """Of the keys and values of a sequence."""
        return 2 * self.recipe.layers * self.recipe.key_heads * self.recipe.head_width * self._norm.element_size()

    @property
    def is_on_cpu(self) -> bool:
        return self._device == "cpu"

    def start(self, room: int = GROWTH) -> KeyValues:
        """An empty sequence."""
        recipe = self.recipe
        return KeyValues((recipe.layers, recipe.key_heads, max(room, 1), recipe.head_width), self._norm)

    def read(self, readings: Sequence[Reading]) -> torch.Tensor:
        """Reads new tokens of several sequences in one pass, and keeps their keys and values.

        A pass that fails (memory) leaves every sequence as it was.

        Returns:
            Logits `(sum of wanted, vocabulary)`, the sequences in order.
        """
        import torch
        import torch.nn.functional as F

        with torch.inference_mode():
            spans = self._spans(readings)
            every = torch.tensor([token for reading in readings for token in reading.tokens], device=self._device)
            places = torch.cat([torch.arange(one.past.length, one.past.length + len(one.tokens)) for one in readings])
            cos, sin = self._cos[places], self._sin[places]
            rows = self._embeddings[every]  # (tokens, hidden)
            for number, layer in enumerate(self._layers):
                normed = self._normed(rows, layer.attention_norm)
                rows = rows + self._linear(self._attend(number, self._linear(normed, layer.project), cos, sin, spans), layer.merge)
                normed = self._normed(rows, layer.inner_norm)
                gate, up = self._linear(normed, layer.widen).split(self.recipe.inner, dim=1)
                rows = rows + self._linear(F.silu(gate) * up, layer.narrow)
            wanted = torch.cat([rows[span.rows][len(span.reading.tokens) - span.reading.wanted :] for span in spans])
            logits = self._linear(self._normed(wanted, self._norm), self._head)
        for reading in readings:
            reading.past.length += len(reading.tokens)
        return logits

    def _normed(self, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMSNorm, rounded before the weight is multiplied, as transformers does."""
        import torch.nn.functional as F

        return F.rms_norm(rows, (self.recipe.hidden,), None, self.recipe.epsilon) * weight

    def _linear(self, rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        return torch.ops.mkldnn._linear_pointwise(rows, matrix, None, "none", [], "") if self._is_packed else F.linear(rows, matrix)

    def _spans(self, readings: Sequence[Reading]) -> list[_Span]:
        """Where each sequence's rows lie; room made for them, and the mask that hides later tokens from earlier ones."""
        spans, start = [], 0
        for reading in readings:
            count, past = len(reading.tokens), reading.past
            if past.length + count > self.recipe.max_tokens:
                raise ModelError(f"the sequence has {past.length + count} tokens; {self.recipe.folder.name} reads {self.recipe.max_tokens}")
            past.make_room(count)
            spans.append(_Span(reading, slice(start, start + count), self._mask(count, past.length)))
            start += count
        return spans

    def _mask(self, count: int, past: int) -> torch.Tensor | None:
        """`(rows, past + count)`, 0 or minus infinity; None where one token sees all, or where a fresh text is read causally."""
        import torch

        if count == 1 or past == 0:
            return None
        mask = torch.full((count, past + count), float("-inf"), dtype=self._dtype, device=self._device).triu_(past + 1)
        return mask.repeat(self.recipe.heads // self.recipe.key_heads, 1) if count <= GROUPED_ROWS else mask

    def _attend(self, layer: int, projected: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, spans: Sequence[_Span]) -> torch.Tensor:
        """`(tokens, heads * head_width)` from queries, keys and values side by side."""

        heads, key_heads, width = self.recipe.heads, self.recipe.key_heads, self.recipe.head_width
        turned = projected[:, : (heads + key_heads) * width].view(len(projected), heads + key_heads, width)
        turned = turned * cos + turned.roll(width // 2, -1) * sin
        values = projected[:, (heads + key_heads) * width :].view(len(projected), key_heads, width)
        merged = projected.new_empty(len(projected), heads, width)
        for span in spans:
            past, count = span.reading.past, len(span.reading.tokens)
            end = past.length + count
            past.keys[layer, :, past.length : end] = turned[span.rows, heads:].transpose(0, 1)
            past.values[layer, :, past.length : end] = values[span.rows].transpose(0, 1)
            queries = turned[span.rows, :heads]
            merged[span.rows] = self._attention(queries, past.keys[layer, :, :end], past.values[layer, :, :end], span.mask)
        return merged.view(len(projected), heads * width)

    def _attention(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`(count, heads, head_width)` of one sequence; `keys` and `values` `(key_heads, length, head_width)`."""
        import torch.nn.functional as F

        count, heads, width = queries.shape
        group = heads // len(keys)
        if count > GROUPED_ROWS or (mask is None and count > 1):
            attended = F.scaled_dot_product_attention(
                queries.transpose(0, 1)[None], keys[None], values[None], attn_mask=mask, is_causal=mask is None, enable_gqa=group > 1
            )
            return attended[0].transpose(0, 1)
        rows = queries.view(count, len(keys), group, width).permute(1, 2, 0, 3).reshape(1, len(keys), group * count, width)
        attended = F.scaled_dot_product_attention(rows, keys[None], values[None], attn_mask=mask)
        return attended.view(len(keys), group, count, width).permute(2, 0, 1, 3).reshape(count, heads, width)


def weight_names(folder: Path) -> list[str]:
    """The names of the weights in a folder.

    Raises:
        ModelError: they cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    names: list[str] = []
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                names += file.keys()
    except (OSError, SafetensorError) as e:
        raise ModelError(f"the weights in {folder} cannot be read: {e}") from e
    return names


def _weights(folder: Path, files: ExitStack) -> Callable[[str], torch.Tensor]:
    """Reads a weight by its name, from whichever of the folder's files holds it."""
    from safetensors import safe_open

    holder: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = files.enter_context(safe_open(path, "pt"))
        holder |= dict.fromkeys(file.keys(), file)

    def weight(name: str) -> torch.Tensor:
        if name not in holder:
            raise ModelError(f"{folder} holds no weight {name}, which a Llama has; it has {len(holder)} others")
        return holder[name].get_tensor(name)

    return weight
