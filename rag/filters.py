"""What a reader can narrow a question to: the materials, weeks, lectures, folders and documents of a course that are visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from rag.store import Store

Value = TypeVar("Value", str, int)


@dataclass(frozen=True, slots=True)
class Filters:
    """Each value that a `Scope` may have, with the number of its documents, in the order a reader looks for it."""

    materials: dict[str, int]
    weeks: dict[int, int]
    lectures: dict[int, int]
    folders: dict[str, int]
    """Paths below the course folder; a folder counts what its own folders hold."""
    formats: dict[str, int]
    documents: dict[str, str]
    """Titles by source."""


def filters_of(store: Store, course: str, at: str | None = None) -> Filters:
    """What can be chosen in a course at a moment (None: now). A value that only hidden documents have is not there.

    Raises:
        UnknownCourse: the store does not have it.
    """
    store.require_course(course)
    documents = store.documents(course, at)
    return Filters(
        materials=_counted(one.material for one in documents),
        weeks=_counted(one.week for one in documents),
        lectures=_counted(one.lecture for one in documents),
        folders=_counted(str(folder) for one in documents for folder in PurePosixPath(one.source).parents if folder.name),
        formats=_counted(one.format for one in documents),
        documents={one.source: one.title for one in documents},
    )


def _counted(values: Iterable[Value | None]) -> dict[Value, int]:
    return dict(sorted(Counter(value for value in values if value is not None).items()))
