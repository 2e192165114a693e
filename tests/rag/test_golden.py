import hashlib
import io
import sys
from pathlib import Path

import pytest

from rag.errors import LecternError
from rag.golden import STDIN, Golden, Half, read_question_set, read_questions, select


def test_questions_are_read_with_their_history_and_bad_lines_named(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"id": 7, "question": "and?", "history": [{"role": "user", "content": "what?"}]}\n\n')
    (question,) = read_questions(file)
    assert (question.id, question.answerable, question.history[0].content) == ("7", True, "what?")
    file.write_text('{"id": 7}\n')
    with pytest.raises(LecternError, match=r"q\.jsonl:1 is no golden question"):
        read_questions(file)
    with pytest.raises(LecternError, match="cannot be read"):
        read_questions(tmp_path / "none")


def test_a_set_is_told_by_the_bytes_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'{"id": 1, "question": "why?"}\r\n{"id": 2, "question": "where?"}\r\n'
    (tmp_path / "q.jsonl").write_bytes(data)
    found = read_question_set(tmp_path / "q.jsonl")
    assert (found.path, found.sha256) == (tmp_path / "q.jsonl", hashlib.sha256(data).hexdigest())
    assert [golden.question for golden in found.questions] == ["why?", "where?"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_question_set(STDIN).sha256 == found.sha256


def test_halves_count_from_0_and_the_limit_comes_after() -> None:
    questions = [Golden(str(number), "?") for number in range(5)]
    assert [golden.id for golden in select(questions, Half.EVEN)] == ["0", "2", "4"]
    assert [golden.id for golden in select(questions, Half.ODD)] == ["1", "3"]
    assert [golden.id for golden in select(questions, Half.EVEN, 2)] == ["0", "2"]
    assert [golden.id for golden in select(questions, limit=2)] == ["0", "1"]
    with pytest.raises(LecternError, match="no question is left of 1"):
        select(questions[:1], Half.ODD)
