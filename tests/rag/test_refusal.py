from rag.prompts import REFUSAL
from rag.refusal import refusal
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
