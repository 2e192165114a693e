"""Where a course lies: in the catalogue that all share, or, for a visitor's own files, in one of his session alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rag.config import Config
from rag.engine import Engine
from rag.records import Course
from rag.store import Store
from ui import state
from ui.access import Visitor


@dataclass(frozen=True, slots=True)
class Place:
    """A store with what answers from it. `own`: of this session alone; its visitor may change it."""

    store: Store
    open_engine: Callable[[], Engine]
    own: bool = False

    def may_change(self, visitor: Visitor) -> bool:
        """Whether this visitor may add and remove documents."""
        return self.own or visitor.staff


def courses(config: Config) -> list[Course]:
    """The courses that can be chosen."""
    return state.open_store(config).courses()


def place_of(config: Config, course: str | None) -> Place:
    """Where the course lies; the shared catalogue for one that nobody knows, which then says so."""
    return Place(state.open_store(config), lambda: state.load_engine(config))
