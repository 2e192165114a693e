"""Who sees what: a scope as a condition of SQL. The one place that decides it."""

from __future__ import annotations

from typing import Any

from rag.errors import QuestionError
from rag.moments import ANY, EXPECTED, now, utc_moment
from rag.types import Scope

WHOLE_COURSE = "courses.name = ?"
"""The condition of a scope that leaves nothing of its course out."""


def scope_condition(scope: Scope) -> tuple[str, list[Any]]:
    """A scope as SQL over `courses` and documents `d`: the one place where it is decided who sees what."""
    conditions = [WHOLE_COURSE]
    values: list[Any] = [scope.course]
    if scope.path is not None:
        folder = scope.path.rstrip("/")
        conditions.append("(d.source = ? OR substr(d.source, 1, ?) = ?)")
        values += [folder, len(folder) + 1, folder + "/"]
    for column in ("material", "week", "lecture", "format"):
        wanted = getattr(scope, column)
        if wanted is not None:
            conditions.append(f"d.{column} = ?")
            values.append(wanted)
    if scope.at != ANY:
        conditions.append("(d.visible_from IS NULL OR d.visible_from <= ?)")
        values.append(moment_of(scope.at))
    return " AND ".join(conditions), values


def moment_of(at: str | None) -> str:
    """A scope's moment as the catalogue keeps them."""
    moment = now() if at is None else utc_moment(at)
    if moment is None:
        raise QuestionError(f"at is {at!r}; expected {EXPECTED}, or {ANY}")
    return moment
