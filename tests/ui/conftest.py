"""A small real store, and an engine whose models are pure functions of their input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage

from ingest.pipeline import ingest_course
from rag.admission import Admission
from rag.answer_cache import AnswerCache
from rag.config import Config
from rag.engine import Engine
from rag.retrieve import Searcher
from rag.store import Store
from support import SAMPLE_COURSE, HashingEmbedder
from ui import state

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


@pytest.fixture(scope="session")
def course_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("materials") / "demo"
    folder.mkdir()
    (folder / "course.toml").write_text('[course]\nname = "demo"\ntitle = "A Course: of *Demos*"\n')
    (folder / "rules.md").write_text(RULES)
    (folder / "lab.ipynb").write_text(json.dumps(NOTEBOOK))
    shutil.copy(SAMPLE_COURSE / "lectures/07-inference-kv-cache.pdf", folder / "cache.pdf")
    return folder


@pytest.fixture(scope="session")
def filled_store(course_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled") / "store"
    store = Store.create(directory)
    report = ingest_course(course_folder, store, HashingEmbedder(), Config())
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
def use_chat_model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Engine]:
    """Makes the page answer with these texts, one a question; with none, extractively.

    The floor decides whether it refuses: these tests are about the page, and the calibration of the gate may change.
    """

    def use(*texts: str, confidence_floor: float = 0.0, cached_answers: int = 0, admission: Admission | None = None) -> Engine:
        model: BaseChatModel | None = GenericFakeChatModel(messages=iter([AIMessage(text) for text in texts])) if texts else None
        config = Config.load()
        engine = Engine(
            Searcher(Store.open(config.store), HashingEmbedder(), config),
            model,
            config.replace(confidence_floor=confidence_floor),
            admission or Admission(),
            AnswerCache(cached_answers),
        )
        monkeypatch.setattr(Engine, "from_config", lambda config: engine)
        return engine

    return use
