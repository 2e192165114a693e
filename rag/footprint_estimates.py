"""How much memory parts take, worked out from shapes and settings: pure functions, bytes out. It measures nothing and loads nothing.

What is estimated is what stays resident: weights as the engine that computes them holds them, and of a pass the tensors that live at its
widest moment. What the libraries' kernels take beside that, and what an allocator keeps, are constants here at best; the measured figures
have them.
"""

from __future__ import annotations

from rag.config import NONE
from rag.encoder import BFLOAT16, FLOAT32, Recipe
from rag.model_shapes import ModelShape
from rag.vectors import EXACT_LIMIT, index_kind, is_exact

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Of a number, by torch's name of its type."""
PACKED_BITS = {"8bit": 8.0, "4bit": 4.127}
"""Of a weight that bitsandbytes packs. 4 bits have a scale of 8 bits for each 64 weights and one of 32 for each 256 of these (QLoRA,
arXiv:2305.14314, section 3)."""

TOKENIZER_BYTES = 280
"""Of each entry of a vocabulary in a tokenizer of the library `tokenizers`: 274 for BERT's, 279 for SmolLM2's."""
SCRATCH_BYTES = 8 << 20
"""What oneDNN's kernels take beside a batch of the packed encoder, on each worker; 0 to 15 MB were measured."""
FRAME_TOKENS = 200
"""Of a prompt beside its evidence and its history: system message, question, titles of the sources, chat format."""
ID_BYTES = 8
MAP_BYTES = 40
"""For each vector that can be looked up by its id (`IDMap2`): a node and a bucket of the C++ library's hash map."""
CATALOGUE_BYTES, TEXT_INDEX_BYTES = 4850, 1090
"""Of a chunk in the catalogue (document text, passage, vector, text index), and of it in the text index: the sample course's."""
EMPTY_CATALOGUE_BYTES = 120_000


def kv_bytes_per_token(shape: ModelShape, dtype: str) -> int:
    """Keys and values of one token: two vectors for each layer and key head."""
    return 2 * shape.layers * shape.key_heads * shape.head_width * BYTES[dtype]


def own_decoder_bytes(shape: ModelShape, dtype: str, on_cpu: bool) -> int:
    """Weights as `rag.decoder` holds them.

    The output matrix is one of its own, also where it is tied to the embedding table. On a CPU matrices are packed into copies, and the
    table is read where it lies in the file when that has the type, which keeps the whole file mapped.
    """
    size = BYTES[dtype]
    table = shape.vocabulary * shape.hidden
    rotations = 2 * (shape.max_tokens or 0) * shape.head_width
    matrices = shape.weights.floats - table + (table if shape.tied else 0)
    if on_cpu and shape.weights.dtype == dtype:
        return (matrices + rotations) * size + shape.weights.file_bytes
    return (matrices + table + rotations) * size


def loaded_bytes(shape: ModelShape, dtype: str, quantize: str = NONE) -> int:
    """Weights as transformers and sentence-transformers hold them; packed by bitsandbytes all but the embedding table, the output matrix
    and the norms, which are small beside them."""
    weights = shape.weights
    if quantize == NONE:
        return weights.floats * BYTES[dtype] + weights.other_bytes
    tables = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return round((weights.floats - tables) * PACKED_BITS[quantize] / 8) + tables * BYTES[dtype] + weights.other_bytes


def packed_encoder_bytes(recipe: Recipe, dtype: str, file_bytes: int, file_dtype: str = "float32") -> int:
    """Weights as `rag.encoder` holds them: matrices packed, tables in the type of the rows, which for int8 is fp32. Tables that need no
    conversion are read where they lie in the file, which keeps it mapped."""
    rows = "bfloat16" if dtype == BFLOAT16 else "float32"
    matrices = recipe.layers * sum(inputs * outputs for inputs, outputs in recipe.shapes) * BYTES[dtype]
    biases = recipe.layers * sum(outputs for _, outputs in recipe.shapes) * BYTES[rows]
    tables = file_bytes if file_dtype == rows else recipe.vocabulary * recipe.hidden * BYTES[rows]
    return matrices + biases + tables


def packed_encoder_pass_bytes(recipe: Recipe, dtype: str, tokens: int, length: int, workers: int) -> int:
    """A batch of texts of `length` tokens, `tokens` in all, on each worker of `rag.encoder`.

    Its widest moment is attention: rows, what the heads gave, queries, keys and values twice (as projected, and by head), and the scores,
    which in half precision are turned into weights in place and in fp32 are copied twice.
    """
    row, attention = (2 if dtype == BFLOAT16 else 4), (4 if dtype == FLOAT32 else 2)
    scores = recipe.heads * length * attention * (3 if attention == 4 else 1)
    return workers * tokens * (recipe.hidden * (row + (2 + 6) * attention) + scores)


def layers_pass_bytes(shape: ModelShape, dtype: str, tokens: int, gated: bool) -> int:
    """A pass of so many tokens through transformer layers whose attention keeps no scores: rows, normed rows and a sum, and the
    feed-forward part's two (in a gated one four) inner matrices."""
    return tokens * BYTES[dtype] * ((4 if gated else 2) * shape.inner + 3 * shape.hidden)


def decoder_pass_bytes(shape: ModelShape, dtype: str, tokens: int, context: int, rows: int) -> int:
    """A pass of `rag.decoder` over a piece of a prompt that ends at `context`: the layers, the mask of the piece, and `rows` of logits."""
    mask = tokens * context * BYTES[dtype]
    return layers_pass_bytes(shape, dtype, tokens, gated=True) + mask + rows * shape.vocabulary * BYTES[dtype]


def index_bytes(chunks: int, dimension: int) -> int:
    """An index of so many chunks in memory, of the kind that many get (`rag.vectors.index_kind`)."""
    if not chunks:
        return 0
    kind = index_kind(chunks)
    if is_exact(kind):
        return chunks * (2 * dimension + ID_BYTES + MAP_BYTES)
    lists = int(kind.removeprefix("IVF").partition(",")[0])
    return chunks * (dimension + ID_BYTES) + 4 * dimension * (lists + 2)


def gpu_index_bytes(chunks: int, dimension: int) -> int:
    """The copy on a GPU: flat fp32 vectors for an exact index, an inverted file as it is."""
    if is_exact(index_kind(max(chunks, 1))):
        return 4 * dimension * chunks
    return index_bytes(chunks, dimension)


def publishing_bytes(chunks: int, dimension: int) -> int:
    """While an index is made: the catalogue's fp16 vectors and ids beside it."""
    return chunks * (2 * dimension + ID_BYTES) + index_bytes(chunks, dimension)


def catalogue_bytes(chunks: int) -> int:
    """The catalogue's file with so many chunks, the text index in it."""
    return EMPTY_CATALOGUE_BYTES + chunks * CATALOGUE_BYTES


def most_chunks(free: int, dimension: int) -> int:
    """The largest number of chunks whose index fits. An inverted file takes half of what an exact one takes, so that it may fit for a
    larger number where an exact one does not for a smaller."""
    low, high = EXACT_LIMIT + 1, 2 * EXACT_LIMIT
    if index_bytes(low, dimension) > free:
        return min(EXACT_LIMIT, max(0, free) // (2 * dimension + ID_BYTES + MAP_BYTES))
    while index_bytes(high, dimension) <= free:
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if index_bytes(middle, dimension) <= free else (low, middle)
    return low


def most_slots(free: int, context: int, per_token: int, per_slot: int) -> int:
    """Answers of `context` tokens whose keys and values, and rows of a pass, fit."""
    return max(0, free) // (context * per_token + per_slot)


def most_context(free: int, slots: int, per_token: int, longest: int | None) -> int:
    """Tokens that each of `slots` answers may have, at most what the model reads."""
    fits = max(0, free) // (slots * per_token)
    return fits if longest is None else min(fits, longest)
