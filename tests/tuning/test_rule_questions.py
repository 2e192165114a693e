"""The questions that a small course's own documents give, and the examples made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.config import Config
from rag.golden import Golden
from rag.store import Store
from support import HashingEmbedder
from tuning.examples import course_name, read_examples, store_name
from tuning.rule_questions import rule_questions

NOTES = """# Paging

Opening remarks.

## Page tables

Hardware walks them at every access that misses in the buffer. A page table maps each page of a process to a frame of memory, and the
system keeps one of them for every process that runs. It lies in memory itself, which is why looking an address up costs one access more.

## Sizes

| System | Page size | Notes |
| --- | --- | --- |
| Small board | 4 KiB | |
| Server | 64 KiB | said twice, in the lecture and again in the lab, where it will surely be asked about by someone |
"""
PLAIN = "An inverted table is a single table for all processes. It was bright and sunny. Nothing else is told in this file of few words."


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "paging"
    folder.mkdir()
    (folder / "notes.md").write_text(NOTES)
    (folder / "plain.txt").write_text(PLAIN)
    return folder


def made_of(course: Path, store: Path) -> list[Golden]:
    read_examples([], store, HashingEmbedder(), Config(), [course])
    return rule_questions(Store(store / store_name(HashingEmbedder())), course_name(course))


@pytest.fixture
def questions(course: Path, tmp_path: Path) -> dict[str, Golden]:
    made = made_of(course, tmp_path / "store")
    assert len({golden.id for golden in made}) == len(made)
    return {golden.question: golden for golden in made}


def told(golden: Golden) -> list[tuple[str, str]]:
    return [(entry["source"], entry["quote"]) for entry in golden.relevant]


def test_a_heading_is_asked_about_and_answered_by_the_sentence_that_speaks_of_it(questions: dict[str, Golden]) -> None:
    asked = questions["What are page tables?"]
    assert asked.category == "section"
    ((source, quote),) = told(asked)
    assert source == "notes.md"
    assert quote.startswith("A page table maps each page of a process to a frame of memory"), "it opens with another"


def test_a_definition_is_asked_for(questions: dict[str, Golden]) -> None:
    asked = questions["What is an inverted table?"]
    assert (asked.category, told(asked)) == ("definition", [("plain.txt", "An inverted table is a single table for all processes.")])


def test_a_row_is_asked_for_what_its_columns_name_where_the_cell_is_short(questions: dict[str, Golden]) -> None:
    of_tables = {question: golden.answers for question, golden in questions.items() if golden.category == "table"}
    assert of_tables == {
        "What is the page size of Small board?": ("4 KiB",),
        "What is the page size of Server?": ("64 KiB",),
    }


def test_what_two_documents_answer_is_one_question(course: Path, tmp_path: Path) -> None:
    (course / "more.md").write_text(NOTES.replace("KiB", "kB").replace("Server", "Cluster"))
    made = {golden.question: golden for golden in made_of(course, tmp_path / "store")}
    assert [source for source, _ in told(made["What is the page size of Small board?"])] == ["more.md", "notes.md"]
    assert made["What is the page size of Cluster?"].answers == ("64 kB",)


def test_examples_are_made_of_them(course: Path, tmp_path: Path) -> None:
    examples = {one.question: one for one in read_examples([], tmp_path / "store", HashingEmbedder(), Config(), [course])}
    assert {one.by_rule for one in examples.values()} == {True}
    answering = [one for one in examples["What is the page size of Server?"].passages if one.answers]
    assert [[one.text[start:end] for start, end in one.spans] for one in answering] == [["64 KiB"]]
