"""A small real store, and an engine whose models are pure functions of their input."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage

from ingest.pipeline import ingest_course
from rag.answer import Engine
from rag.config import Config
from rag.retrieve import Searcher
from rag.store import EmbedderStamp, Store
from rag.text import content_stems
from ui import state

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "corpora/llm-systems"
DIMENSION = 256

RULES = """# Rules

## Late days

Each student has five late days for the whole term. A late day costs $0, a replacement card costs $5.

## Exams

The midterm exam takes 80 minutes. <img src="https://evil.example/x.png"> ![x](https://evil.example/y.png)
"""
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Softmax\n", "The tempered softmax of a striped zebra $x$ sums to one."]},
        {
            "cell_type": "code",
            "metadata": {},
            "source": ["def softmax(x):\n", "    return exp(x) / exp(x).sum()"],
            "outputs": [],
            "execution_count": 1,
        },
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class StemEmbedder:
    """Texts that share words are similar, the same text has similarity 1."""

    stamp = EmbedderStamp("stems", "1", DIMENSION)
    device = "cpu"

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for stem in content_stems(text):
                row[zlib.crc32(stem.encode()) % DIMENSION] += 1.0
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def embed_query(self, text: str) -> np.ndarray:
        return self.embed_documents([text])[0]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture(scope="session")
def course_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("materials") / "demo"
    folder.mkdir()
    (folder / "course.toml").write_text('[course]\nname = "demo"\ntitle = "A Course: of *Demos*"\n')
    (folder / "rules.md").write_text(RULES)
    (folder / "lab.ipynb").write_text(json.dumps(NOTEBOOK))
    shutil.copy(SAMPLE / "lectures/07-inference-kv-cache.pdf", folder / "cache.pdf")
    return folder


@pytest.fixture(scope="session")
def filled_store(course_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled") / "store"
    store = Store.create(directory)
    report = ingest_course(course_folder, store, StemEmbedder(), Config())
    store.close()
    assert report.set_aside == []
    assert report.chunks > 3
    return directory


@pytest.fixture
def store(filled_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A copy of the store that this test may change; the page uses it too."""
    directory = tmp_path / "store"
    shutil.copytree(filled_store, directory)
    monkeypatch.setenv("LECTERN_STORE", str(directory))
    monkeypatch.delenv("LECTERN_CONFIG", raising=False)
    state.open_store.clear()
    state.load_engine.clear()
    opened = Store.open(directory)
    yield opened
    opened.close()
    state.open_store.clear()
    state.load_engine.clear()


@pytest.fixture
def use_chat_model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the page answer with these texts, one a question; with none, extractively.

    The floor decides whether it refuses: these tests are about the page, and the calibration of the gate may change.
    """

    def use(*texts: str, confidence_floor: float = 0.0) -> None:
        model: BaseChatModel | None = GenericFakeChatModel(messages=iter([AIMessage(text) for text in texts])) if texts else None
        monkeypatch.setattr(
            Engine,
            "from_config",
            lambda config: Engine(
                Searcher(Store.open(config.store), StemEmbedder(), config), model, config.replace(confidence_floor=confidence_floor)
            ),
        )

    return use
