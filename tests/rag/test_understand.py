import pytest

from rag.prompts import REFUSAL
from rag.types import Chunk, Location, LocationKind, Passage, Turn
from rag.understand import (
    NAMED_PART_BONUS,
    OTHER_PART_PENALTY,
    NamedParts,
    is_follow_up,
    make_standalone,
    meaning_of_follow_up,
    numbered_parts,
)

HISTORY = [Turn("user", "When is assignment 1 due?"), Turn("assistant", "On September 25.")]


@pytest.mark.parametrize(
    "question",
    ["And how late can it be?", "What about lab 2", "why?", "How much do they count?", "What is that?", "how late?", "no, the second one"],
)
def test_what_leans_on_the_history_is_a_follow_up(question: str) -> None:
    assert is_follow_up(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is the KV cache?",
        "When is the midterm?",
        "Who teaches this course?",
        "How large is the model that we use in class?",
        "What is softmax?",
        "Define perplexity.",
        "Why does the KV cache grow with the sequence length?",
        "How do students submit their projects?",
    ],
)
def test_what_stands_by_itself_is_none(question: str) -> None:
    assert not is_follow_up(question)


def test_a_follow_up_gets_the_last_question_that_stood_by_itself() -> None:
    history = [*HISTORY, Turn("user", "and where?"), Turn("assistant", "On the course site.")]
    assert make_standalone("And how late can it be?", history) == "When is assignment 1 due? And how late can it be?"


def test_a_new_topic_or_a_first_question_stays_as_it_is() -> None:
    assert make_standalone("What is the KV cache?", HISTORY) == "What is the KV cache?"
    assert make_standalone("And how late can it be?", []) == "And how late can it be?"


def test_numbered_parts_of_a_course() -> None:
    assert numbered_parts("hw 2, the third lab, Lecture 08 and assignments/assignment-3.docx") == {
        "assignment": {"2", "3"},
        "lab": {"3"},
        "lecture": {"8"},
    }
    assert numbered_parts("in 2026 we label 3 parts; version 1.5") == {}


def test_a_follow_up_about_another_part_leaves_the_part_asked_before() -> None:
    assert make_standalone("what about hw 2?", HISTORY) == "When is due? what about hw 2?"
    assert make_standalone("And is lab 1 as long?", HISTORY) == "When is assignment 1 due? And is lab 1 as long?"


def test_the_meaning_of_a_follow_up_is_the_last_question_and_its_answer() -> None:
    history = [Turn("user", "When is assignment 1 due?"), Turn("assistant", "word " * 40), Turn("user", "Why?"), Turn("assistant", REFUSAL)]
    assert meaning_of_follow_up("And how late can it be?", HISTORY) == "When is assignment 1 due? On September 25. And how late can it be?"
    assert meaning_of_follow_up("why?", history[:2]) == "When is assignment 1 due? " + "word " * 30 + "why?"
    assert meaning_of_follow_up("and then?", history) == "Why? and then?"
    assert meaning_of_follow_up("What is the KV cache?", HISTORY) == ""
    assert meaning_of_follow_up("and then?", []) == ""


def passage(source: str, context: str = "", **facts: object) -> Passage:
    return Passage(1, "c", source, "T", Chunk("see lab 1", 0, 9, Location(LocationKind.PAGE, 1), context), **facts)  # type: ignore[arg-type]


LAB_2 = passage("labs/lab2.md", "Lab 2", week=5)
SLIDES = passage("w.pptx", material="slides", week=3, lecture=4)


@pytest.mark.parametrize(
    ("question", "of", "factor"),
    [
        ("What is in lab 1?", LAB_2, OTHER_PART_PENALTY),
        ("What is in lab 2?", LAB_2, 1.0),
        ("What is in lab 1 of week 5?", LAB_2, OTHER_PART_PENALTY),
        ("What is in assignment 1?", LAB_2, 1.0),
        ("What was said in week 5?", LAB_2, NAMED_PART_BONUS),
        ("What is a lens?", SLIDES, 1.0),
        ("What do the slides say?", SLIDES, NAMED_PART_BONUS),
        ("What do the slides of lecture 4 say?", SLIDES, NAMED_PART_BONUS**2),
        ("What do the week 3 slides say?", SLIDES, NAMED_PART_BONUS**2),
        ("What do the week 9 slides say?", SLIDES, NAMED_PART_BONUS),
        ("What does the syllabus say?", SLIDES, 1.0),
    ],
)
def test_passages_of_the_parts_that_a_question_names_count_more(question: str, of: Passage, factor: float) -> None:
    assert NamedParts.of(question).factor(of) == pytest.approx(factor)
