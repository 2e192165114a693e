"""What is loaded once for all visitors, and when it is loaded anew; what is said when the catalogue cannot be read."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from rag.config import Config
from rag.store import Store
from ui import state

SCRIPT = Path(__file__).parents[2] / "ui/main.py"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Config]]:
    """What engines were loaded with, instead of the models."""
    made: list[Config] = []

    class Loaded:
        def load_in_background(self) -> None:
            pass

    def load(config: Config) -> Loaded:
        made.append(config)
        return Loaded()

    monkeypatch.setattr(state.Engine, "from_config", load)
    state.load_engine.clear()
    yield made
    state.load_engine.clear()


@pytest.mark.parametrize(
    "changed",
    [
        {"staff": ("eve@uni.edu",)},
        {"students": ("@uni.edu",)},
        {"login_hours": 1.0},
        {"upload_mb": 7},
        {"own_files": 3},
        {"own_files_mb": 3},
    ],
)
def test_who_may_enter_and_what_may_be_added_loads_no_model_again(loaded, changed):
    before = Config(temperature=0.3)
    first, second = state.load_engine(before), state.load_engine(before.replace(**changed))
    assert first is second
    assert state.engine_if_loaded(before.replace(**changed)) is first
    assert [one.temperature for one in loaded] == [0.3]


def test_settings_of_answering_load_another_engine_in_place_of_the_former(loaded):
    before = Config()
    first, second = state.load_engine(before), state.load_engine(before.replace(hits=7))
    assert first is not second
    assert [one.hits for one in loaded] == [10, 7]
    del first
    assert state.engine_if_loaded(before) is None
    assert state.engine_if_loaded(before.replace(hits=7)) is second


def test_a_store_has_one_indexer_and_one_catalogue_whatever_else_is_set(store):
    config = Config.load()
    other = config.replace(staff=("eve@uni.edu",), hits=7)
    assert state.indexer(config) is state.indexer(other)
    assert state.open_store(config) is state.open_store(other)
    assert state.indexer(config) is not state.indexer(config.replace(store=Path("elsewhere")))


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (sqlite3.OperationalError("disk I/O error at /srv/secret"), "The course materials cannot be read right now."),
        (OSError(errno.EIO, "Input/output error", "/srv/secret"), "The course materials cannot be read right now."),
        (OSError(errno.ENOSPC, "No space left on device", "/srv/secret"), "The disk of the machine is full."),
    ],
)
def test_what_the_catalogue_or_the_disk_refuses_is_told_in_words_and_logged_exactly(store, monkeypatch, caplog, failure, told):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(Store, "courses", fail)
    page = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not page.exception
    assert page.error[0].value.startswith(told)
    assert "secret" not in page.error[0].value
    assert "/srv/secret" in caplog.text


def test_a_defect_is_no_failure_of_the_catalogue(store, monkeypatch):
    def fail(*_: object) -> None:
        raise AttributeError("a defect")

    monkeypatch.setattr(Store, "courses", fail)
    assert AppTest.from_file(str(SCRIPT), default_timeout=60).run().exception
