"""What is told of a model by its headers, against sizes worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import save_file

from rag.config import BUNDLED
from rag.errors import ModelError
from rag.model_shapes import Weights, read_gguf_shape, read_shape, read_weights
from rag.models import BUNDLED_GENERATOR, find_carried, find_generator

GPT = {"n_embd": 8, "n_head": 2, "n_layer": 3, "n_positions": 32, "vocab_size": 11}


def folder_with(folder: Path, config: dict[str, object]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"a": np.zeros((3, 4), np.float32)}, folder / "model.safetensors")
    return folder


def test_a_llama(tiny_llama: Path) -> None:
    shape = read_shape(tiny_llama)
    assert (shape.layers, shape.hidden, shape.inner, shape.heads, shape.key_heads, shape.head_width) == (2, 64, 96, 4, 2, 16)
    assert (shape.vocabulary, shape.max_tokens, shape.tied) == (97, 128, False)
    # two tables of 97 × 64; a layer: q and o 64 × 64, k and v 32 × 64, three of 96 × 64, two norms; the last norm
    assert shape.weights.floats == 2 * 97 * 64 + 2 * (2 * 4096 + 2 * 2048 + 3 * 6144 + 128) + 64 == 74_176
    assert (shape.weights.dtype, shape.weights.other_bytes) == ("float32", 0)
    assert shape.weights.file_bytes == (tiny_llama / "model.safetensors").stat().st_size


def test_weights_in_several_files_and_types(tmp_path: Path) -> None:
    save_file({"a": np.zeros((3, 4), np.float16), "ids": np.zeros((1, 5), np.int64)}, tmp_path / "a.safetensors")
    save_file({"b": np.zeros(7, np.float32), "packed": np.zeros(9, np.uint8)}, tmp_path / "b.safetensors")
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert read_weights(tmp_path) == Weights(floats=12 + 7, other_bytes=5 * 8 + 9, file_bytes=size, dtype="float16")


def test_other_architectures_names_and_what_they_leave_out(tmp_path: Path) -> None:
    shape = read_shape(folder_with(tmp_path, GPT))
    assert (shape.layers, shape.hidden, shape.inner, shape.key_heads, shape.head_width, shape.max_tokens) == (3, 8, 32, 2, 4, 32)
    folder_with(tmp_path, {"text_config": GPT, "vocab_size": 99})
    assert read_shape(tmp_path).vocabulary == 11
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    assert read_shape(tmp_path).max_tokens == 20


def test_what_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no readable config.json"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GPT))
    with pytest.raises(ModelError, match=r"holds no \.safetensors file"):
        read_shape(tmp_path)
    folder_with(tmp_path, {key: value for key, value in GPT.items() if key != "n_layer"})
    with pytest.raises(ModelError, match=r"names none of num_hidden_layers, n_layer, .*: the size of this model cannot be told"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no header")
    with pytest.raises(ModelError, match=r"is no readable safetensors file"):
        read_weights(tmp_path)


def write_gguf(file: Path, tied: bool) -> None:
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_context_length(128)
    writer.add_tensor("token_embd.weight", np.zeros((97, 64), np.float32))
    if not tied:
        writer.add_tensor("output.weight", np.zeros((97, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file(tmp_path: Path, tied: bool) -> None:
    write_gguf(tmp_path / "model.gguf", tied)
    shape = read_gguf_shape(tmp_path / "model.gguf")
    assert (shape.layers, shape.hidden, shape.inner, shape.heads, shape.key_heads, shape.head_width) == (2, 64, 96, 4, 2, 16)
    assert (shape.vocabulary, shape.max_tokens, shape.tied) == (97, 128, tied)
    floats = 97 * 64 * (1 if tied else 2)
    assert shape.weights == Weights(floats, 0, 2 * floats, "bfloat16")


@pytest.mark.models
def test_the_bundled_generator_is_the_same_before_and_after_its_conversion() -> None:
    before, after = read_gguf_shape(find_carried(BUNDLED_GENERATOR)), read_shape(find_generator(BUNDLED).path)
    assert before.weights.floats == after.weights.floats == 134_515_008
    assert (before.layers, before.key_heads, before.head_width, before.max_tokens, before.tied) == (30, 3, 64, 8192, True)
    assert before.weights.file_bytes == pytest.approx(after.weights.file_bytes, rel=0.001)
    same = ("layers", "hidden", "inner", "heads", "key_heads", "head_width", "vocabulary", "max_tokens", "tied")
    assert [getattr(before, name) for name in same] == [getattr(after, name) for name in same]
