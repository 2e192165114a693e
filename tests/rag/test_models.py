from pathlib import Path

import numpy as np
import pytest

from rag import models
from rag.config import BUNDLED, Config
from rag.embed import SentenceTransformerEmbedder
from rag.errors import ConfigError, ModelError
from rag.models import BUNDLED_EMBEDDER, choose_device, choose_dtype, find_embedder, load_reranker, verify_carried


def test_a_model_that_is_not_installed_says_how_to_get_it() -> None:
    missing = models._Carried("ghost", "no_such_package_anywhere", "x", "0")
    with pytest.raises(ModelError, match="ghost is not installed .* run: make models"):
        verify_carried(missing)


def test_a_model_file_with_another_sum_is_refused() -> None:
    other = models._Carried("all-MiniLM-L6-v2", BUNDLED_EMBEDDER.package, "model/config.json", BUNDLED_EMBEDDER.sha256)
    with pytest.raises(ModelError, match="is damaged or another one: SHA-256"):
        verify_carried(other)


def test_a_hub_name_is_not_fetched_unless_allowed() -> None:
    with pytest.raises(ModelError, match="neither a folder nor in the local cache and downloads are off"):
        find_embedder("nobody/nothing")


def test_devices_and_types_are_checked() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="expected auto, cpu or cuda"):
        choose_device("abacus")
    with pytest.raises(ConfigError, match="expected auto, float32"):
        choose_dtype("int3", "cpu")
    assert str(choose_dtype("auto", "cpu")) in {"torch.bfloat16", "torch.float32"}


@pytest.mark.models
def test_a_model_without_a_classification_head_is_no_reranker() -> None:
    with pytest.raises(ModelError, match="is no reranker: its architecture is BertModel"):
        load_reranker(str(find_embedder(BUNDLED).path), Config())


@pytest.fixture(scope="module")
def bundled() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder.from_config(Config())


@pytest.mark.models
def test_the_bundled_embedder_gives_unit_vectors_that_know_meaning(bundled: SentenceTransformerEmbedder) -> None:
    texts = ["The exam takes 75 minutes.", "How long is the exam?", "Bananas are yellow."]
    vectors = bundled.embed_documents(texts)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert bundled.embed_query(texts[0]) @ vectors[0] == pytest.approx(1, abs=5e-3)


@pytest.mark.models
def test_half_precision_agrees_with_full(bundled: SentenceTransformerEmbedder) -> None:
    texts = [f"Passage {number} about topic {number * 7}." for number in range(20)]
    full = SentenceTransformerEmbedder.from_config(Config(dtype="float32")).embed_documents(texts)
    half = SentenceTransformerEmbedder.from_config(Config(dtype="bfloat16")).embed_documents(texts)
    assert (full * half).sum(axis=1).min() >= 0.995


@pytest.mark.models
def test_tokens_are_counted_beyond_what_the_model_reads(bundled: SentenceTransformerEmbedder) -> None:
    assert bundled.count_tokens(["hello", "word " * 1000]) == [1, 1000]


def test_the_bundled_embedder_is_stamped(bundled: SentenceTransformerEmbedder) -> None:
    assert (bundled.stamp.id, bundled.stamp.revision, bundled.stamp.dimension) == ("all-MiniLM-L6-v2", "53aa51172d14", 384)


def test_weights_are_found_in_a_folder_by_their_sum(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    assert find_embedder(str(tmp_path)).revision == "ba7816bf8f01"
