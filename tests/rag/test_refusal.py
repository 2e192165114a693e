from rag.prompts import REFUSAL
from rag.refusal import declines, may_decline, refusal
from rag.types import Scope


def test_it_says_what_was_searched() -> None:
    told = refusal(Scope("optics"), 23, nearest=True)
    assert told.startswith(REFUSAL)
    assert "Searched 23 documents of optics. The passages below come nearest" in told


def test_a_narrowed_search_is_named() -> None:
    told = refusal(Scope("optics", material="slides", week=3), 1, nearest=False)
    assert "Searched 1 document of optics (slides, week 3). No passage comes near." in told


def test_nothing_to_search() -> None:
    assert refusal(Scope("optics", path="notes"), 0, nearest=False).endswith("no document of optics (notes) is visible.")


def test_a_generator_declines_by_the_phrase_alone_whatever_follows_it() -> None:
    assert declines(REFUSAL)
    assert declines("The materials of this course do not  seem to\nanswer that. Ask the staff.")
    assert declines("the materials of this course do not seem to answer that")
    assert not declines("The materials of this course do not seem to answer")
    assert not declines("Late work: the materials of this course do not seem to answer that.")
    assert not declines("The materials of this course do not seem to answer that directly, but late work costs 5 points.")
    assert not declines("")


def test_a_beginning_of_the_phrase_may_become_it() -> None:
    assert may_decline("")
    assert may_decline("The ")
    assert may_decline("The materials of this cour")
    assert may_decline(REFUSAL + " Ask the staff.")
    assert not may_decline("The materials of this class")
    assert not may_decline("Each")
