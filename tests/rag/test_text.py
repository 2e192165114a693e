import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.text import content_words, sentence_spans, sentences, stem, words

CUT = {
    "full stops": ("One is here. Two is there! Is three?", ["One is here.", "Two is there!", "Is three?"]),
    "abbreviations and initials": ("See e.g. Fig. 3 by J. Smith et al. Then go on.", ["See e.g. Fig. 3 by J. Smith et al. Then go on."]),
    "numbers": ("It costs 3.5 points. Or more.", ["It costs 3.5 points.", "Or more."]),
    "list items": ("Bring:\n- a pen\n- paper", ["Bring:", "- a pen", "- paper"]),
    "table rows": ("Part | Share\nLabs | 10 %\nExam | 90 %", ["Part | Share", "Labs | 10 %", "Exam | 90 %"]),
    "paragraphs": ("No full stop\n\nNext", ["No full stop", "Next"]),
    "wrapped lines": ("A sentence that\nwraps here.", ["A sentence that\nwraps here."]),
    "quotes": ('He said "stop." She went.', ['He said "stop."', "She went."]),
    "nothing": (" \n ", []),
}


@pytest.mark.parametrize(("text", "expected"), CUT.values(), ids=CUT.keys())
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet='aB. \n-|1!?"(', max_size=80))
def test_sentence_spans_leave_out_only_white_space(text: str) -> None:
    position = 0
    for start, end in sentence_spans(text):
        assert text[position:start].strip() == ""
        assert start < end
        assert text[start:end] == text[start:end].strip()
        position = end
    assert text[position:].strip() == ""


def test_words_fold_accents_and_case() -> None:
    assert words("Café NAÏVE don't x_1") == ["cafe", "naive", "don't", "x_1"]


def test_content_words_are_all_words_when_there_are_only_stop_words() -> None:
    assert content_words("When is the midterm?") == ["midterm"]
    assert content_words("what is it?") == ["what", "is", "it"]


def test_stem_joins_the_forms_of_a_word() -> None:
    assert stem("batching") == stem("batches") == stem("batch")


def test_threads_that_stem_at_once_do_not_mix_their_words() -> None:
    made_up = [f"{word}{letter}" for word in ("generalization", "relational", "hopping", "electricities") for letter in "abcdefghijklmnop"]
    expected = {word: stem.__wrapped__(word) for word in made_up}
    wrong: list[str] = []

    def go() -> None:
        wrong.extend(word for _ in range(20) for word in made_up if stem.__wrapped__(word) != expected[word])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=go) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
