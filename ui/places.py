"""Where a course lies: in the catalogue that all share, or, for a visitor's own files, in one of his session alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from rag.config import Config
from rag.engine import Engine
from rag.records import Course
from rag.store import Store
from ui import own_files, state
from ui.access import Visitor
from ui.indexing import Indexer

COUNTED_S = 10.0
"""A course's new title is seen within so long: it changes nothing that is searched, and so not the revision."""


@dataclass(frozen=True, slots=True)
class Place:
    """A store with what answers from it and what indexes it. `own`: of this session alone; its visitor may change it."""

    store: Store
    open_engine: Callable[[], Engine]
    indexer: Indexer
    own: bool = False

    def may_change(self, visitor: Visitor) -> bool:
        """Whether this visitor may add and remove documents."""
        return self.own or visitor.staff


def courses(config: Config) -> list[Course]:
    """The courses that can be chosen: the shared ones, then the visitor's own files."""
    store, own = state.open_store(config), own_files.of_session()
    return [*_courses(store, str(store.directory), store.revision()), *(own.store.courses() if own else ())]


@st.cache_data(ttl=COUNTED_S, max_entries=8, show_spinner=False)
def _courses(_store: Store, directory: str, revision: int) -> list[Course]:
    """Counted once for a state of the catalogue: that reads an entry of each passage, and every run of every page asks."""
    return _store.courses()


def place_of(config: Config, course: str | None) -> Place:
    """Where the course lies; the shared catalogue for one that nobody knows, which then says so."""
    own = own_files.of_session()
    if own is not None and course == own_files.NAME:
        return Place(own.store, lambda: own.engine(state.load_engine(config)), own.indexer, own=True)
    return Place(state.open_store(config), lambda: state.load_engine(config), state.indexer(config))


def close(config: Config) -> None:
    """Closes this thread's connections."""
    state.open_store(config).close()
    if (own := own_files.of_session()) is not None:
        own.store.close()
