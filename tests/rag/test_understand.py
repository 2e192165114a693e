import pytest

from rag.types import Turn
from rag.understand import is_follow_up, make_standalone, numbered_parts

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
