"""The parts of the chat page that need no page."""

from __future__ import annotations

import pytest

from rag import errors as known
from rag.errors import LecternError, QuestionError
from rag.types import Waiting
from ui import chat, errors


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
