"""A visitor's own files: seen in one session alone, gone with it."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest
import streamlit as st
from streamlit import runtime

from rag.answer import answer
from rag.config import Config
from rag.errors import DiskFull, UnknownCourse
from rag.store import Store
from rag.types import Scope
from ui import indexing, own_files, places, server
from ui.access import Visitor
from ui.jobs import End
from ui.own_files import NAME, OwnFiles

LONG_S = 60.0
TEXT = b"# Quagga\n\nThe quagga costs 77 ducats at the market.\n"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Directories of sessions in a place of this test, none left from another."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(own_files, "_OPEN", type(own_files._OPEN)())
    yield
    st.session_state.clear()
    gc.collect()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch):
    """Changes to another session's state; a plain dict stands for Streamlit's."""
    states: dict[str, dict] = {}

    def enter(name: str) -> dict:
        state = states.setdefault(name, {})
        monkeypatch.setattr(st, "session_state", state)
        return state

    return enter


def directories() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob("lectern-own-*"))


def fill(config: Config) -> OwnFiles:
    own = own_files.begin(config)
    run = indexing.add_files(places.place_of(config, NAME), NAME, {"quagga.md": TEXT})
    assert run.job.wait(LONG_S)
    assert run.job.end is End.DONE, run.job.error
    return own


def test_own_files_are_a_course_of_their_session_alone(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    session("one")
    assert [course.name for course in places.courses(config)] == ["demo"]
    fill(config)
    assert [(course.name, course.title, course.documents) for course in places.courses(config)] == [
        ("demo", "A Course: of *Demos*", 3),
        (NAME, "Your files (this session)", 1),
    ]
    session("two")
    assert [course.name for course in places.courses(config)] == ["demo"]
    place = places.place_of(config, NAME)
    assert not place.own
    assert place.store.directory == store.directory
    with pytest.raises(UnknownCourse):
        answer("What does the quagga cost?", Scope(NAME), place.open_engine())


def test_they_are_answered_from_with_the_shared_models_and_queue(store, use_chat_model, session):
    shared = use_chat_model()
    config = Config.load()
    session("one")
    fill(config)
    place = places.place_of(config, NAME)
    engine = place.open_engine()
    assert engine is place.open_engine()
    assert engine.searcher.embedder is shared.searcher.embedder
    assert engine.admission is shared.admission
    assert engine.cache is not shared.cache
    told = answer("What does the quagga cost at the market?", Scope(NAME), engine)
    assert "77 ducats" in told.text
    assert [source.passage.source for source in told.sources] == ["quagga.md"]
    assert all("quagga" not in path.read_bytes().decode(errors="ignore") for path in store.directory.iterdir())


def test_whoever_uses_them_may_change_them_and_nothing_else(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    session("one")
    fill(config)
    student = Visitor(owner="s1", staff=False)
    assert places.place_of(config, NAME).may_change(student)
    assert not places.place_of(config, "demo").may_change(student)


def test_a_deleted_own_file_leaves_nothing_on_the_disk(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    session("one")
    own = fill(config)
    assert any(b"ducats" in path.read_bytes() for path in own.directory.rglob("*") if path.is_file())
    assert indexing.delete(places.place_of(config, NAME), NAME, ["quagga.md"]).job.wait(LONG_S)
    assert own.files() == {}
    assert own.store.documents(NAME) == []
    assert not any(b"ducats" in path.read_bytes() for path in own.directory.rglob("*") if path.is_file())


def test_the_directory_is_the_owners_alone_and_goes_with_the_session(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    state = session("one")
    fill(config)
    places.place_of(config, NAME).open_engine()
    (directory,) = directories()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    state.clear()
    gc.collect()
    assert directories() == []


def test_a_job_that_goes_on_keeps_the_files_until_it_has_ended(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    state = session("one")
    own_files.begin(config)
    place = places.place_of(config, NAME)
    with own_files._TURN:
        run = indexing.add_files(place, NAME, {"quagga.md": TEXT})
        del place
        state.clear()
        gc.collect()
        assert len(directories()) == 1
    assert run.job.wait(LONG_S)
    assert run.job.end is End.DONE
    while directories():  # the thread lets go of them just after it has said so
        gc.collect()


def test_ending_them_deletes_them_at_once(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    session("one")
    fill(config)
    own_files.end()
    assert directories() == []
    assert own_files.of_session() is None
    assert own_files.are_offered(config)


def test_the_end_of_the_server_deletes_them(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    kept = []
    for name in ("one", "two"):
        session(name)
        kept.append(own_files.begin(config))

    async def serve() -> None:
        async with server.lifespan(None):
            assert len(directories()) == len(kept) == 2

    asyncio.run(serve())
    assert directories() == []


def test_a_lost_connection_keeps_them_and_a_closed_page_does_not(store, use_chat_model, session, monkeypatch):
    """Streamlit takes a session back for two minutes; then it is over, whether or not Streamlit has looked."""
    use_chat_model()
    config = Config.load()
    session("one")
    own = fill(config)
    connected, clock = True, 1000.0

    class Runtime:
        def is_active_session(self, session_id: str) -> bool:
            return connected

    monkeypatch.setattr(runtime, "exists", lambda: True)
    monkeypatch.setattr(runtime, "get_instance", Runtime)
    monkeypatch.setattr(own_files.time, "monotonic", lambda: clock)
    own_files.close_left()
    connected = False
    own_files.close_left()
    clock += 140
    own_files.close_left()
    assert own.directory.exists()
    connected = True
    own_files.close_left()
    connected = False
    own_files.close_left()
    clock += 140
    own_files.close_left()
    assert own.directory.exists(), "the time counts from the last connection"
    clock += 20
    own_files.close_left()
    assert not own.directory.exists()


def test_so_many_sessions_may_have_some_and_places_get_free(store, use_chat_model, session):
    use_chat_model()
    config = Config.load().replace(own_files_sessions=2)
    first = session("one")
    assert own_files.begin(config) is not None
    assert own_files.begin(config) is own_files.of_session()
    session("two")
    assert own_files.begin(config) is not None
    session("three")
    assert own_files.begin(config) is None
    assert own_files.of_session() is None
    first.clear()
    gc.collect()
    assert own_files.begin(config) is not None
    assert not own_files.are_offered(config.replace(own_files_sessions=0))


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(store, use_chat_model, session):
    use_chat_model()
    config = Config.load()
    left, young = (Path(tempfile.mkdtemp(prefix=own_files.PREFIX)) for _ in range(2))
    session("one")
    in_use = own_files.begin(config)
    assert left.exists()
    elsewhere = left.parent / "elsewhere"
    elsewhere.mkdir()
    (left.parent / f"{own_files.PREFIX}link").symlink_to(elsewhere)
    long_ago = time.time() - 3600
    for directory in (left, in_use.directory, elsewhere):
        os.utime(directory, (long_ago, long_ago))
    session("two")
    own_files.begin(config)
    assert not left.exists()
    assert young.exists()
    assert elsewhere.exists()
    assert in_use.store.courses()[0].name == NAME


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), DiskFull("full")])
def test_own_files_that_cannot_be_made_leave_nothing(store, use_chat_model, session, monkeypatch, error):
    session("ada")

    def fail(directory: Path) -> Store:
        raise error

    monkeypatch.setattr(Store, "create", fail)
    with pytest.raises(type(error)):
        own_files.begin(Config.load())
    assert directories() == []
    assert own_files.of_session() is None
    assert len(own_files._OPEN) == 0


def test_a_file_that_goes_while_they_are_counted_is_left_out(store, use_chat_model, session, monkeypatch):
    session("ada")
    own = own_files.begin(Config.load())
    for name in ("a.md", "b.md"):
        (own.folder / name).write_bytes(TEXT)
    real = Path.stat

    def stat(path: Path, **how: bool):
        if path.name == "a.md":
            path.unlink(missing_ok=True)
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    assert own.files() == {"b.md": len(TEXT)}
