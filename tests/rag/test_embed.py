import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from rag import embed
from rag.config import BUNDLED, Config
from rag.embed import CoreThreads, EmbeddingUsage, SentenceTransformerEmbedder
from rag.models import find_embedder, load_naive_embedder

TEXTS = [" ".join(f"word{number} about topic {number * 7 % 13}" for number in range(length)) for length in (40, 1, 3, 200, 3, 17, 0, 80)]


@pytest.fixture(autouse=True, scope="module")
def _trials_of_this_machine_do_not_count(tmp_path_factory: pytest.TempPathFactory) -> object:
    patch = pytest.MonkeyPatch()
    cache = tmp_path_factory.mktemp("cache")
    patch.setattr(platformdirs, "user_cache_path", lambda name: cache / name)
    yield cache
    patch.undo()


def embedder(**settings: object) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder.from_config(Config(device="cpu").replace(**settings))


def reference(texts: list[str]) -> np.ndarray:
    return load_naive_embedder(find_embedder(BUNDLED), "cpu").encode(texts, show_progress_bar=False, normalize_embeddings=True)


@pytest.mark.models
@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.9999), ("bfloat16", 0.9995), ("int8", 0.99)])
def test_texts_of_many_lengths_get_the_vectors_of_sentence_transformers_in_their_order(dtype: str, least: float) -> None:
    ours = embedder(dtype=dtype)
    found = ours.embed_documents(TEXTS)
    assert ours.device == f"cpu {dtype}"
    assert ours.notice == ""
    assert (found.shape, found.dtype) == ((8, 384), np.float32)
    assert (found * reference(TEXTS)).sum(axis=1).min() > least


@pytest.mark.models
def test_no_texts_give_no_rows() -> None:
    assert embedder(dtype="bfloat16").embed_documents([]).shape == (0, 384)


@pytest.mark.models
def test_a_text_is_read_up_to_the_models_limit() -> None:
    ours = embedder(dtype="float32")
    long = "word " * 1000
    before = ours.usage
    vectors = ours.embed_documents([long, "word " * 254, "word " * 100])
    assert ours.usage - before == EmbeddingUsage(3, 256 + 256 + 102, (ours.usage - before).seconds)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[2] < 0.9999


@pytest.mark.models
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_question_and_the_same_text_as_a_document_are_one_vector(dtype: str) -> None:
    ours = embedder(dtype=dtype)
    documents = ours.embed_documents(["How is late work graded?", *TEXTS])
    assert ours.embed_query("How is late work graded?") @ documents[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.models
def test_the_second_start_does_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedder()
    device = first.device
    assert first.ceiling_tokens_s() > 0

    def never(*_: object) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr(embed, "probe_ceilings", never)
    monkeypatch.setattr(embed, "load_embedder", never)
    second = embedder()
    assert second.device == device
    assert second.ceiling_tokens_s() == first.ceiling_tokens_s()


@pytest.mark.models
def test_a_type_that_does_not_agree_is_not_used_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setattr(embed, "_similarity", lambda engine, *_: 1.0 if engine.device == "cpu float32" else 0.9)
    assert embedder().device == "cpu float32"
    assert all("cosine to fp32 is 0.9000, expected 0.995" in message for message in caplog.messages)
    with caplog.at_level(logging.WARNING):
        general = embedder(dtype="bfloat16")
        assert general.device == "cpu bfloat16"
    assert "runs through sentence-transformers, which is slower: its vectors do not agree" in general.notice
    assert general.notice in caplog.messages


@pytest.mark.models
def test_a_model_with_prompts_runs_through_sentence_transformers_and_gets_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "prompted"
    shutil.copytree(find_embedder(BUNDLED).path, folder)
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"prompts": {"query": "query: ", "document": ""}}))
    ours = embedder(embedder=str(folder), dtype="float32")
    question = ours.embed_query("late work")
    assert "prompts is {'query': 'query: '}" in ours.notice
    assert ours.notice in caplog.messages
    assert question @ reference(["query: late work"])[0] == pytest.approx(1, abs=1e-4)
    assert ours.embed_documents(TEXTS) * reference(TEXTS) == pytest.approx(reference(TEXTS) ** 2, abs=1e-4)
    assert ours.ceiling_tokens_s() == 0


def test_a_core_thread_computes_alone_and_leaves_the_others_their_threads() -> None:
    before = torch.get_num_threads()
    threads = CoreThreads()
    assert threads.count == before
    assert list(threads.pool.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == before


@pytest.mark.models
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_vectors_of_the_cpu() -> None:
    ours = embedder(device="cuda")
    assert ours.device.startswith("cuda")
    assert (ours.embed_documents(TEXTS) * reference(TEXTS)).sum(axis=1).min() > 0.995
