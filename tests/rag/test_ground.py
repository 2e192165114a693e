import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.ground import ground, stable_prefix, without_markers
from rag.types import Chunk, Location, LocationKind, Passage, Support


def passage(text: str, number: int = 1) -> Passage:
    return Passage(number, "c", "a.pdf", "Syllabus", Chunk(text, 0, len(text), Location(LocationKind.PAGE, 1), "Syllabus › Late work"))


LATE = passage(
    "Students have five late days for the term. At most two may be used on one assignment. "
    "Prof. Lindqvist decides about exceptions by March 9."
)

CASES = {
    "the passage's own words": ("At most two may be used on one assignment.", Support.SUPPORTED),
    "reworded with the same words": ("On one assignment, at most two late days may be used.", Support.SUPPORTED),
    "two neighbouring sentences": ("Students have five late days and at most two on one assignment.", Support.SUPPORTED),
    "a wrong number": ("At most 3 may be used on one assignment.", Support.UNSUPPORTED),
    "a wrong name": ("Exceptions are decided by Prof. Okafor.", Support.UNSUPPORTED),
    "a wrong date": ("Exceptions are decided by March 19.", Support.UNSUPPORTED),
    "turned into its opposite": ("At most two may not be used on one assignment.", Support.WEAK),
    "about half of it": ("Late days on one assignment are popular everywhere.", Support.WEAK),
    "something else": ("The library closes early on weekends.", Support.UNSUPPORTED),
}


GRADES = passage("The midterm counts 30 % of the grade. The final counts 40 % of it. The arrays are in room 12.")


@pytest.mark.parametrize("sentence", ["The midterm counts 40 % of the grade.", "Office hours are held by Ray in room 12."])
def test_words_of_different_statements_do_not_support_together(sentence: str) -> None:
    assert ground(sentence, [GRADES], "How much of the grade does the midterm count?").support is not Support.SUPPORTED


@pytest.mark.parametrize(("sentence", "support"), CASES.values(), ids=CASES.keys())
def test_support(sentence: str, support: Support) -> None:
    assert ground(sentence, [LATE]).support is support


def test_the_best_passage_and_its_words_are_cited() -> None:
    other = passage("Assignment 1 is about tokenizers.", 2)
    grounding = ground("Students have five late days for the term.", [other, LATE])
    assert grounding.passage is LATE
    assert grounding.quote == "Students have five late days for the term."


def test_nothing_supports_without_passages() -> None:
    assert ground("Anything.", []).passage is None


def test_names_of_the_question_may_stand_in_the_answer() -> None:
    sentence = "For Anna there are five late days in the term."
    assert ground(sentence, [LATE]).support is Support.UNSUPPORTED
    assert ground(sentence, [LATE], "how many late days has Anna").support is Support.SUPPORTED


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("It is due Friday [1].", "It is due Friday."),
        ("A [2, 3] and B [1-4].", "A and B."),
        ("As stated (Source 12).", "As stated."),
        ("See <excerpt number='1'>x</excerpt>.", "Seex."),
        ("The list a[i] and the year (see below) stay.", "The list a[i] and the year (see below) stay."),
        ("f(2) is 4 and x[0] is first (Vaswani, 2017).", "f(2) is 4 and x[0] is first (Vaswani, 2017)."),
        ("It is due Friday[1][2].", "It is due Friday."),
    ],
)
def test_invented_markers_go(text: str, clean: str) -> None:
    assert without_markers(text) == clean


@given(st.text(alphabet="ab []()123.,", max_size=40))
def test_no_prefix_of_a_stream_shows_a_marker(text: str) -> None:
    for end in range(len(text) + 1):
        assert without_markers(stable_prefix(text[:end])) == stable_prefix(text[:end])


def test_a_marker_is_held_back_while_it_may_still_become_one() -> None:
    assert [stable_prefix("due [1]."[:end]) for end in range(1, 9)] == ["d", "du", "due", "due", "due", "due", "due", "due."]
