"""What the text index holds of a text, and what a question asks it for."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.lexical import MOST_TERMS, any_phrase, any_word, indexed_text, terms


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Late submissions, num_beams=4", None, ["late", "submiss", "num", "beam", "4"]),
        ("CO₂ and ﬁne naïve", "en", ["co2", "and", "fine", "naiv"]),
        ("Die Übungen der Häuser", "de", ["die", "ubung", "der", "haus"]),
        ("Las canciones", "es", ["las", "cancion"]),
        ("注意力机制 KV缓存", "zh", ["注意", "意力", "力机", "机制", "kv", "缓存"]),
        ("水", "zh", ["水"]),
        ("がく", "ja", ["かく"]),
        ("Ελλάδα", "xx", ["ελλαδα"]),
        ("!?", None, []),
    ],
)
def test_terms_are_folded_stems_and_pairs_of_characters(text: str, language: str | None, expected: list[str]) -> None:
    assert terms(text, language) == expected
    assert indexed_text(text, language) == " ".join(expected)


def test_any_content_word_matches_and_operators_do_not_act() -> None:
    assert any_word('late OR "NEAR(x)" * policy', None) == '"late" OR "near" OR "x" OR "polici"'
    assert any_word("What is it?", None) == '"what" OR "is" OR "it"'
    assert any_word("What's due? Don't know", None) == '"due" OR "don" OR "know"'
    assert any_word("???", None) == '""'


def test_any_two_neighbours_match_unless_both_are_stop_words() -> None:
    assert any_phrase("What is the late policy?", None) == '"the late" OR "late polici"'
    assert any_phrase("policy", None) == '""'


def test_a_pasted_text_is_cut() -> None:
    assert any_word(" ".join(f"w{number}" for number in range(5000)), None).count(" OR ") == MOST_TERMS - 1


@given(text=st.text(max_size=80), language=st.sampled_from([None, "en", "de", "zh", "th"]))
def test_a_text_is_found_by_its_own_words(text: str, language: str | None) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'unicode61 remove_diacritics 0')")
    db.execute("INSERT INTO texts VALUES (?)", [indexed_text(text, language)])
    found = db.execute("SELECT count(*) FROM texts WHERE texts MATCH ?", [any_word(text, language)]).fetchone()[0]
    assert found == bool(terms(text, language))
