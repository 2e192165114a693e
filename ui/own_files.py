"""A visitor's own files: a course folder and a store of one session alone, in a temporary directory that goes with it.

They are never near the shared catalogue, so no missing condition can show them to another: who does not hold the session's object has no
way to the store. The models, the queue before the generator and the settings are the shared ones.

The directory is removed when the session's state is, which a lost connection does not do, when the session has been gone for longer than
Streamlit would take it back (`GONE_S`), and when the server ends. What a killed process has left is removed by the next one.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ingest.walk import COURSE_FILE
from rag import lock
from rag.config import Config
from rag.engine import Engine
from rag.errors import LecternError
from rag.lane import Lane
from rag.store import Store
from ui.indexing import Indexer

NAME, TITLE = "your-files", "Your files (this session)"
WHAT_FOR = "Ask about files of your own. Nobody else sees them, and they are deleted when you close or reload this page."
NO_PLACE = "As many people have files of their own here as this machine can hold just now. Try again later."
PREFIX = "lectern-own-"
GONE_S = 150.0
"""Streamlit keeps a session that has lost its connection for 120 s, and then only until it happens to look."""
LOOK_S = 30.0
NEW_S = 60.0
"""A directory so young may be in the making."""

_KEY = "own_files"
_TURN = Lane()
"""Own files of different sessions are read one after the other: a class that uploads at once must not take all cores and memory."""
_OPENING = threading.Lock()
_WATCHED = threading.Event()
"""Set while a thread looks for sessions that are over."""
_OPEN: weakref.WeakSet[OwnFiles] = weakref.WeakSet()


class OwnFiles:
    """One session's folder and store. It ends with its last reference, or by `close`."""

    def __init__(self, directory: Path, session: str) -> None:
        self.directory, self._session = directory, session
        self._ending = ExitStack()
        self._ending.callback(shutil.rmtree, directory, ignore_errors=True)
        self._ending.enter_context(lock.hold(directory))
        self._finalizer = weakref.finalize(self, self._ending.close)  # also at the end of the process
        self.folder = directory / "files"
        self.folder.mkdir()
        (self.folder / COURSE_FILE).write_text(f'[course]\nname = "{NAME}"\ntitle = "{TITLE}"\n')
        self.store = Store.create(directory / "store")
        self.store.save_course(NAME, TITLE, self.folder)
        self.indexer = Indexer(_TURN)
        self._engine: Engine | None = None
        self._making = threading.Lock()
        self._left_at: float | None = None

    def engine(self, shared: Engine) -> Engine:
        """What answers from these files, with the models of the shared engine."""
        with self._making:
            if self._engine is None:
                self._engine = shared.over(self.store)
                self._ending.callback(_close_elsewhere, self._engine)
            return self._engine

    def files(self) -> dict[str, int]:
        """The size in bytes of each file, by name."""
        sizes = {}
        for path in self.folder.iterdir():
            if path.name != COURSE_FILE and not path.name.startswith("."):
                with suppress(FileNotFoundError):  # a job has deleted it meanwhile
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        sizes[path.name] = status.st_size
        return sizes

    def is_left(self) -> bool:
        """Whether the session has had no connection for so long that it cannot come back. A job is waited for."""
        if self.indexer.busy or not runtime.exists() or runtime.get_instance().is_active_session(self._session):
            self._left_at = None
            return False
        self._left_at = self._left_at or time.monotonic()
        return time.monotonic() - self._left_at > GONE_S

    def close(self) -> None:
        """Ends it at once: nothing of it is left, on the disk or in memory."""
        self._finalizer()


def _close_elsewhere(engine: Engine) -> None:
    """Lets go of the texts in memory in a thread of its own: the end may come with the garbage collection of one that holds their locks."""
    with suppress(RuntimeError):  # at the end of the process no thread starts, and nothing is left in memory
        threading.Thread(target=engine.close, name="forget own files", daemon=True).start()


def of_session() -> OwnFiles | None:
    """This session's own files, if its visitor has begun some."""
    own = st.session_state.get(_KEY)
    return own if isinstance(own, OwnFiles) else None


def are_offered(config: Config) -> bool:
    """Whether a visitor can begin some."""
    return config.own_files_sessions > 0 and of_session() is None


def begin(config: Config) -> OwnFiles | None:
    """This session's own files, begun now if there are none; None when as many sessions have some as may.

    Raises:
        OSError, LecternError: they cannot be made, as on a full disk; then nothing is left of them.
    """
    with _OPENING:
        if (own := of_session()) is not None:
            return own
        close_left()
        if len(_OPEN) >= config.own_files_sessions:
            return None
        _remove_leftovers()
        context = get_script_run_ctx()
        directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            own = OwnFiles(directory, context.session_id if context else "")
        except (OSError, LecternError):
            shutil.rmtree(directory, ignore_errors=True)
            raise
        _OPEN.add(own)
        if not _WATCHED.is_set():
            _WATCHED.set()
            threading.Thread(target=_close_left_in_time, name="own files", daemon=True).start()
    st.session_state[_KEY] = own
    return own


def end() -> None:
    """Deletes this session's own files, and what was said about them."""
    own = of_session()
    if own is not None:
        del st.session_state[_KEY]
        _OPEN.discard(own)
        own.close()


def close_left() -> None:
    """Closes those whose session is over."""
    for own in list(_OPEN):
        if own.is_left():
            _OPEN.discard(own)
            own.close()


def close_all() -> None:
    """Deletes the own files of all sessions: the server ends."""
    for own in list(_OPEN):
        own.close()


def _close_left_in_time() -> None:
    while True:
        time.sleep(LOOK_S)
        with _OPENING:
            close_left()
            if not _OPEN:
                _WATCHED.clear()
                return


def _remove_leftovers() -> None:
    """Removes what processes that were killed have left: nobody holds the lock of such a directory. Another user's is left alone."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another process removes it, too
            status = directory.lstat()
            old = time.time() - status.st_mtime > NEW_S
            if old and stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not lock.is_held(directory):
                shutil.rmtree(directory, ignore_errors=True)
