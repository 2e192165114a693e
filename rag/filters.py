"""What a reader can narrow a question to: the materials, weeks, folders and documents of a course that are visible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from rag.store import Store


@dataclass(frozen=True, slots=True)
class Filters:
    """The values that a `Scope` may have, sorted. Folders are paths below the course folder, documents sources."""

    materials: list[str]
    weeks: list[int]
    folders: list[str]
    documents: list[str]


def filters_of(store: Store, course: str, at: str | None = None) -> Filters:
    """What can be chosen in a course at a moment (None: now). A value that only hidden documents have is not there.

    Raises:
        UnknownCourse: the store does not have it.
    """
    store.require_course(course)
    documents = store.documents(course, at)
    return Filters(
        materials=sorted({one.material for one in documents if one.material is not None}),
        weeks=sorted({one.week for one in documents if one.week is not None}),
        folders=sorted({str(folder) for one in documents for folder in PurePosixPath(one.source).parents if folder.name}),
        documents=[one.source for one in documents],
    )
