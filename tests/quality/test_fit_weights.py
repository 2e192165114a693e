"""`scripts/fit_weights.py`: what the shipped reader learns from, and what it must not see, on a few files of the measuring data's form."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("scripts/fit_weights.py")


@pytest.fixture
def data(tmp_path: Path, script: ModuleType) -> Path:
    """An article to learn from, those that validate, one that is measured alone; the multilingual set has two questions of the first."""
    rows = []
    for article in ("Bridges", *script.VALIDATION_ARTICLES, script.TEST_ARTICLES[0]):
        folder = tmp_path / "eval" / "squad2" / "corpus" / article
        folder.mkdir(parents=True)
        (folder / "1.txt").write_text(f"Of {article}.", "utf-8")
        rows += [{"id": f"{article}-{number}", "scope": article, "question": f"What of {article} {number}?"} for number in (1, 2, 3)]
    _write(tmp_path / "eval" / "squad2" / "questions.jsonl", rows)
    by_id, by_words = {"id": "de-Bridges-1", "question": "Was?"}, {"id": "en-x", "question": "what of bridges, 2"}
    (tmp_path / "eval" / "multilingual").mkdir()
    _write(tmp_path / "eval" / "multilingual" / "questions.jsonl", [by_id, by_words])
    return tmp_path


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _ids(folder: str) -> list[str]:
    return [json.loads(line)["id"] for line in (Path(folder) / "questions.jsonl").read_text("utf-8").splitlines()]


def test_what_is_measured_is_not_learnt_from(script: ModuleType, data: Path, tmp_path: Path) -> None:
    flags = script._reader_data(data, tmp_path / "work")
    rule, validate = flags.index("--by-rule"), flags.index("--validate")
    learnt, by_rule, kept = flags[1:rule], flags[rule + 1 : validate], flags[validate + 1 :]
    assert _ids(learnt[-1]) == ["Bridges-3"]
    assert [path.name for path in (Path(learnt[-1]) / "corpus").iterdir()] == ["Bridges"]
    assert {one.rpartition("-")[0] for one in _ids(kept[-1])} == set(script.VALIDATION_ARTICLES)
    assert {Path(one).name for one in learnt[:-1]}.isdisjoint(script.HELD_OUT_COURSES)
    assert {Path(one).name for one in kept[:-1]} == script.HELD_OUT_COURSES
    assert [Path(one).name for one in by_rule] == ["hf-course", "lectures"]
    everything = " ".join([*learnt, *by_rule, *kept])
    for never in ("syllabi", "course-faq", "scifact", "chunk-spans"):
        assert never not in everything
    assert script.TEST_ARTICLES[0] not in "".join(map(str, (tmp_path / "work").rglob("*")))


def test_courses_become_one_set_with_the_course_as_scope(script: ModuleType, tmp_path: Path) -> None:
    course = tmp_path / "optics"
    course.mkdir()
    (course / "notes.md").write_text("# Optics", "utf-8")
    _write(course / "questions.jsonl", [{"id": "1", "question": "What?", "relevant": [{"source": "notes.md", "quote": "Optics"}]}])
    script._together([course], tmp_path / "all")
    (row,) = map(json.loads, (tmp_path / "all" / "questions.jsonl").read_text("utf-8").splitlines())
    assert (row["id"], row["scope"], row["relevant"]) == ("optics/1", "optics", [{"source": "optics/notes.md", "quote": "Optics"}])
    assert [path.name for path in (tmp_path / "all" / "corpus" / "optics").iterdir()] == ["notes.md"]
