"""Golden questions: what a `questions.jsonl` says, and which of it is asked. Knows nothing of searching and judging."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rag.errors import LecternError
from rag.types import Turn

STDIN = Path("-")


class Half(StrEnum):
    """Which questions of a set, counted from 0: tune on one half, report the other."""

    EVEN = "even"
    ODD = "odd"


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden question, as in `questions.jsonl`."""

    id: str
    question: str
    answerable: bool = True
    answers: tuple[str, ...] = ()
    relevant: tuple[Mapping[str, Any], ...] = ()
    scope: str | None = None
    category: str = ""
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of one file, with the SHA-256 of its bytes."""

    path: Path
    sha256: str
    questions: Sequence[Golden]


def read_questions(path: Path) -> list[Golden]:
    """The golden questions of a file; of standard input for `-`.

    Raises:
        LecternError: the file is missing, or a line is no JSON object with `id` and `question`.
    """
    return list(read_question_set(path).questions)


def read_question_set(path: Path) -> QuestionSet:
    """The same with what tells this file from another one."""
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as e:
        raise LecternError(f"{path} cannot be read: {e.strerror}; name a questions.jsonl") from e
    return parse_question_set(path, data)


def parse_question_set(path: Path, data: bytes) -> QuestionSet:
    """The same of a file that has been read; errors call it `path`.

    Raises:
        LecternError: it is not UTF-8, or a line is no JSON object with `id` and `question`.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise LecternError(f"{path} is not UTF-8 ({e.reason} at byte {e.start}); save it as UTF-8") from e
    # Not splitlines: a JSON string may hold a line separator that only that knows.
    questions = [_golden(line, f"{path}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return QuestionSet(path, hashlib.sha256(data).hexdigest(), questions)


def select(questions: Sequence[Golden], half: Half | None = None, limit: int | None = None) -> list[Golden]:
    """One half of the questions, or all; of these the first `limit`.

    Raises:
        LecternError: that leaves none.
    """
    match half:
        case Half.EVEN:
            chosen = questions[0::2]
        case Half.ODD:
            chosen = questions[1::2]
        case None:
            chosen = questions
    if not chosen[:limit]:
        raise LecternError(f"no question is left of {len(questions)}; give a file with questions, or leave --half out")
    return list(chosen[:limit])


def _golden(line: str, place: str) -> Golden:
    try:
        value = json.loads(line)
        return Golden(
            id=str(value["id"]),
            question=value["question"],
            answerable=value.get("answerable", True),
            answers=tuple(value.get("answers", ())),
            relevant=tuple(value.get("relevant", ())),
            scope=value.get("scope"),
            category=value.get("category", ""),
            history=tuple(Turn(turn["role"], turn["content"]) for turn in value.get("history", ())),
        )
    except (json.JSONDecodeError, KeyError, TypeError) as e:
        raise LecternError(f'{place} is no golden question ({e!r}); expected an object with "id" and "question"') from e
