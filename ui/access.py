"""Who is at the page: without a login whoever sits at the machine, who may do everything; with one, students and the staff of a list."""

from __future__ import annotations

from dataclasses import dataclass

from rag.config import Config


@dataclass(frozen=True, slots=True)
class Visitor:
    """`owner` names whose conversations are shown, without telling who that is; empty: of whoever sits at the machine."""

    name: str = ""
    owner: str = ""
    staff: bool = True


def admit(config: Config) -> Visitor:
    """The visitor of this run of the page."""
    return Visitor()
