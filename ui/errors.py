"""Errors in a reader's words: what happened and who can do what. The exact message, which may name paths, goes to the server's log."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

import streamlit as st

from rag.errors import (
    ConfigError,
    CorpusError,
    DiskFull,
    LecternError,
    ModelError,
    QuestionError,
    StoreBusy,
    StoreError,
    StoreMismatch,
    StoreMissing,
    UnknownCourse,
)
from ui import render

_LOG = logging.getLogger("lectern.ui")
P = ParamSpec("P")

_WORDS: dict[type[LecternError], str] = {
    StoreMissing: "There is no course here yet. On the machine that runs Lectern, run `python -m ingest`, then reload this page.",
    StoreMismatch: "The course was indexed with other settings than this page uses. Its keeper should run `python -m ingest --rebuild`.",
    StoreBusy: "The course is being updated just now. Wait a moment and try again.",
    DiskFull: "The disk of the machine is full. What was saved stays and can be searched; its keeper should make room, then try again.",
    CorpusError: "The folder with the course's files cannot be read or changed as it is. Whoever runs Lectern finds the reason in its log.",
    UnknownCourse: "This link leads to a course that is not here, or to files of a session that is over. Choose a course on the left.",
    ConfigError: "Lectern is not set up correctly. Whoever runs it finds the reason in its log.",
    ModelError: "A model could not be loaded. Whoever runs Lectern can find out why with `python -m rag doctor`.",
}
_OTHERWISE = "The course materials cannot be read right now. Whoever runs Lectern finds the reason in its log."


def explain(error: LecternError) -> str:
    """What a reader is told, as Markdown: never a path, never a traceback."""
    if isinstance(error, QuestionError):
        return render.rich(f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return next((words for kind, words in _WORDS.items() if isinstance(error, kind)), _OTHERWISE)


def show_error(error: LecternError) -> None:
    """The error on the page, and its exact message in the log."""
    log(error)
    st.error(explain(error))


def show_failure(failure: sqlite3.Error | OSError) -> None:
    """What the catalogue or the disk has refused, on the page; its exact message and its place in the log."""
    _LOG.error("%s: %s", type(failure).__name__, failure, exc_info=failure)
    is_full = (
        failure.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(failure, OSError)
        else getattr(failure, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )
    st.error(explain(DiskFull() if is_full else StoreError()))


@contextmanager
def shown() -> Iterator[None]:
    """Shows on the page, in words, what ends the block: what Lectern raises on purpose, and what the catalogue or the disk refuses."""
    try:
        yield
    except LecternError as e:
        show_error(e)
    except (sqlite3.Error, OSError) as e:
        show_failure(e)


def told(callback: Callable[P, None]) -> Callable[P, None]:
    """A widget's callback whose errors are shown on the page."""

    @wraps(callback)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with shown():
            callback(*args, **kwargs)

    return run


def log(error: LecternError) -> None:
    _LOG.warning("%s: %s", type(error).__name__, error)
