"""What all tests share: no network but loopback, a store of their own, a pure-function embedder, and the bundled models loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

import rag.reader
from ingest.pipeline import ingest_course
from rag.config import NONE, Config
from rag.embed import SentenceTransformerEmbedder
from rag.engine import Engine
from rag.retrieve import Searcher
from rag.store import Store
from support import SAMPLE_COURSE, HashingEmbedder


@pytest.fixture(autouse=True)
def _only_loopback(request: pytest.FixtureRequest) -> Iterator[None]:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    yield
    socket_allow_hosts(None)


@pytest.fixture(autouse=True)
def _settings_of_this_machine_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LECTERN_STORE", raising=False)
    monkeypatch.delenv("LECTERN_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def _shipped_reader_only_where_models_are_tested(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("models") is None:
        monkeypatch.setattr(rag.reader, "BUNDLED_READER", tmp_path / "no reader")


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def course_folder(tmp_path: Path) -> Path:
    """Two short documents: a syllabus with rules, notes with two sections."""
    folder = tmp_path / "optics"
    (folder / "notes").mkdir(parents=True)
    (folder / "syllabus.md").write_text(
        "# Optics\n\n## Grading\n\nThe midterm counts 30 % of the grade.\n\n"
        "## Late work\n\nEach late day costs 5 points. No work is accepted after March 9.\n"
    )
    (folder / "notes" / "week02-lenses.md").write_text(
        "# Lenses\n\n## Thin lenses\n\nA thin lens has the focal length f. Light through its center is not bent.\n\n"
        "## Aberration\n\nSpherical aberration blurs the image because marginal rays meet closer to the lens.\n"
    )
    return folder


@pytest.fixture
def engine(store: Store, embedder: HashingEmbedder, course_folder: Path) -> Engine:
    """The optics course, ingested, answered extractively."""
    config = Config(store=store.directory, generator=NONE, confidence_floor=0.0)
    ingest_course(course_folder, store, embedder, config)
    return Engine(Searcher(store, embedder, config), None, config)


@pytest.fixture(scope="session")
def bundled_config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config(store=tmp_path_factory.mktemp("sample") / "store")


@pytest.fixture(scope="session")
def sample_engine(bundled_config: Config) -> Engine:
    """The sample course under the bundled models."""
    embedder = SentenceTransformerEmbedder.from_config(bundled_config)
    store = Store.create(bundled_config.store)
    ingest_course(SAMPLE_COURSE, store, embedder, bundled_config)
    return Engine.from_config(bundled_config)
