"""The parts of the chat page that need no page."""

from __future__ import annotations

import pytest

from rag import errors as known
from rag.errors import LecternError, QuestionError
from rag.types import Waiting
from ui import chat, errors


@pytest.mark.parametrize(
    ("titles", "questions"),
    [
        ([], []),
        (["Rules"], ["Explain “Rules”."]),
        (["Lecture 1: A", "Lecture 2: B", "Lecture 3: C", "Syllabus"], ["Explain “A”.", "Explain “B”.", "Explain “C”."]),
        ([f"Lecture {n}: T{n}" for n in range(9)], ["Explain “T1”.", "Explain “T4”.", "Explain “T7”."]),
        (["Lecture 1: A", "Transcript of lecture 1: A"], ["Explain “A”."]),
    ],
    ids=["none", "one", "only those with a topic", "spread", "no topic twice"],
)
def test_example_questions(titles, questions):
    assert chat.example_questions(titles) == questions


def test_reading_names_each_document_once():
    assert chat.reading(["a.pdf", "b.md", "a.pdf"]) == r"Reading 3 passages: a\.pdf\, b\.md"
    assert chat.reading(["a.pdf"]) == r"Reading 1 passage: a\.pdf"


@pytest.mark.parametrize(
    ("waiting", "line"),
    [
        (Waiting(1, None), "Waiting for a turn: 1st in line"),
        (Waiting(3, 6.4), "Waiting for a turn: 3rd in line, about 6 s"),
        (Waiting(12, 0.0), "Waiting for a turn: 12th in line, about 1 s"),
        (Waiting(22, 60.0), "Waiting for a turn: 22nd in line, about 60 s"),
    ],
)
def test_the_place_in_line_in_words(waiting, line):
    assert chat.in_line(waiting) == line


@pytest.mark.parametrize("kind", [kind for kind in vars(known).values() if isinstance(kind, type) and kind is not QuestionError])
def test_no_error_shows_its_path(kind):
    assert issubclass(kind, LecternError)
    words = errors.explain(kind("something is wrong with /srv/secret/place"))
    assert "/srv" not in words
    assert words.endswith((".", "left."))
