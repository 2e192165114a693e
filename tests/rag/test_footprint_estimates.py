"""Bytes worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag import footprint_estimates as estimates
from rag.encoder import Recipe
from rag.model_shapes import ModelShape, Weights
from rag.vectors import build_index, index_kind, load_faiss

SMOLLM2 = ModelShape(30, 576, 1536, 9, 3, 64, 49_152, 8192, True, Weights(134_515_008, 0, 269_060_552, "bfloat16"))
"""SmolLM2-135M-Instruct, converted."""
MINILM = Recipe(Path(), 384, 1536, 6, 12, 1e-12, 30_522, 256)
TINY = ModelShape(2, 64, 96, 4, 2, 16, 97, 128, False, Weights(74_176, 0, 300_000, "float32"))


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", 23_040), ("float16", 23_040), ("float32", 46_080)])
def test_keys_and_values_of_a_token(dtype: str, expected: int) -> None:
    assert estimates.kv_bytes_per_token(SMOLLM2, dtype) == expected  # 2 × 30 layers × 3 heads × 64 numbers


def test_the_decoder_packs_on_a_cpu_and_reads_the_table_from_the_file() -> None:
    # the matrices with the tied table as output matrix, rotations of 8,192 places, and the file that stays mapped
    assert estimates.own_decoder_bytes(SMOLLM2, "bfloat16", on_cpu=True) == 269_030_016 + 2_097_152 + 269_060_552
    # in another type the table is a copy: 49,152 × 576 numbers
    assert estimates.own_decoder_bytes(SMOLLM2, "float32", on_cpu=True) == 4 * (134_515_008 + 28_311_552 + 1_048_576)
    assert estimates.own_decoder_bytes(SMOLLM2, "bfloat16", on_cpu=False) == 2 * (134_515_008 + 28_311_552 + 1_048_576)


def test_a_decoder_that_is_not_tied_has_no_matrix_twice() -> None:
    assert estimates.own_decoder_bytes(TINY, "bfloat16", on_cpu=False) == 2 * (74_176 + 2 * 128 * 16)


@pytest.mark.parametrize(
    ("quantize", "expected"),
    [
        ("none", 2 * 134_515_008),
        ("8bit", 106_203_456 + 2 * 28_311_552),  # the table stays bf16
        ("4bit", round(106_203_456 * 4.127 / 8) + 2 * 28_311_552),
    ],
)
def test_weights_as_transformers_holds_them(quantize: str, expected: int) -> None:
    assert estimates.loaded_bytes(SMOLLM2, "bfloat16", quantize) == expected


def test_buffers_are_not_converted() -> None:
    shape = replace(TINY, weights=replace(TINY.weights, other_bytes=4096))
    assert estimates.loaded_bytes(shape, "bfloat16") == 2 * 74_176 + 4096


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        # 6 layers of 384 × (1152 + 384 + 1536) + 1536 × 384 = 1,769,472 numbers, 3,456 biases; tables as they lie in the file
        ("int8", 6 * 1_769_472 + 6 * 3456 * 4 + 90_868_376),
        ("float32", 4 * 6 * 1_769_472 + 6 * 3456 * 4 + 90_868_376),
        # or copied: 30,522 × 384 numbers
        ("bfloat16", 2 * 6 * 1_769_472 + 6 * 3456 * 2 + 2 * 30_522 * 384),
    ],
)
def test_the_packed_encoder(dtype: str, expected: int) -> None:
    assert estimates.packed_encoder_bytes(MINILM, dtype, 90_868_376) == expected


def test_the_passes() -> None:
    # bf16, each token: rows and 8 times queries-wide in half precision, 12 heads' scores of 256 tokens
    assert estimates.packed_encoder_pass_bytes(MINILM, "bfloat16", 1024, 256, 2) == 2 * 1024 * (384 * 18 + 12 * 256 * 2)
    assert estimates.packed_encoder_pass_bytes(MINILM, "float32", 1024, 256, 1) == 1024 * (384 * 36 + 12 * 256 * 4 * 3)
    # int8: rows in fp32, attention in bf16
    assert estimates.packed_encoder_pass_bytes(MINILM, "int8", 1024, 256, 1) == 1024 * (384 * 20 + 12 * 256 * 2)
    # 256 tokens in bf16 after 1,000: 4 × 1536 + 3 × 576 numbers each, a mask of 256 × 1,256, logits of 8
    layers, mask, logits = 256 * 2 * (6144 + 1728), 256 * 1256 * 2, 8 * 49_152 * 2
    assert estimates.decoder_pass_bytes(SMOLLM2, "bfloat16", 256, 1256, 8) == layers + mask + logits


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [(0, 0), (524, 524 * 816), (200_000, 163_200_000), (1_000_000, 1_000_000 * 392 + 4 * 384 * 1026)],
)
def test_an_index(chunks: int, expected: int) -> None:
    assert estimates.index_bytes(chunks, 384) == expected


def test_the_copy_on_a_gpu_is_flat_or_the_same() -> None:
    assert estimates.gpu_index_bytes(1000, 384) == 1000 * 384 * 4
    assert estimates.gpu_index_bytes(1_000_000, 384) == estimates.index_bytes(1_000_000, 384)


@pytest.mark.parametrize("count", [900, 4096], ids=["exact", "inverted file"])
def test_indexes_are_as_large_as_faiss_makes_them(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.vectors.EXACT_LIMIT", 1000)
    vectors = np.random.default_rng(0).standard_normal((count, 32)).astype(np.float16)
    faiss: Any = load_faiss()
    index = build_index(np.arange(count), vectors, index_kind(count))
    written = len(faiss.serialize_index(index))
    in_memory_alone = estimates.MAP_BYTES * count if count <= 1000 else 0
    assert written == pytest.approx(estimates.index_bytes(count, 32) - in_memory_alone, rel=0.01)


def test_publishing_has_the_vectors_beside_the_index() -> None:
    assert estimates.publishing_bytes(1000, 384) == 1000 * (776 + 816)


def test_most_chunks_of_each_kind() -> None:
    assert estimates.most_chunks(816 * 1000, 384) == 1000
    assert estimates.most_chunks(-5, 384) == 0
    # an exact index of so much has 99,264 chunks; an inverted file of 512 lists more: (81,000,000 - 4 × 384 × 514) / 392
    assert estimates.most_chunks(81_000_000, 384) == 204_618


@given(free=st.integers(0, 10**12), dimension=st.sampled_from([64, 384, 1024]))
def test_most_chunks_fit_and_one_more_does_not(free: int, dimension: int) -> None:
    most = estimates.most_chunks(free, dimension)
    assert estimates.index_bytes(most, dimension) <= free
    assert estimates.index_bytes(most + 1, dimension) > free or most == estimates.EXACT_LIMIT


def test_slots_and_context() -> None:
    assert estimates.most_slots(512 << 20, 1460, 23_040, 0) == 15  # 536,870,912 / 33,638,400 = 15.96
    assert estimates.most_slots(100, 10, 9, 5) == 1
    assert estimates.most_slots(-1, 10, 9, 5) == 0
    assert estimates.most_context(512 << 20, 8, 23_040, 8192) == 2912  # 536,870,912 / 184,320 = 2,912.7
    assert estimates.most_context(512 << 20, 8, 23_040, 2048) == 2048
    assert estimates.most_context(512 << 20, 8, 23_040, None) == 2912
