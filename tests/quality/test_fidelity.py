"""The readers against their targets on real files; `python benchmarks/fidelity.py` prints the same figures with what is missing."""

from __future__ import annotations

from types import ModuleType

import pytest

from support import SHARED_DATA, load_script

pytestmark = [pytest.mark.shared_data, pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"{SHARED_DATA} is not there")]


@pytest.fixture(scope="module")
def fidelity() -> ModuleType:
    return load_script("benchmarks/fidelity.py")


@pytest.mark.parametrize(("form", "target"), [("docx", 0.97), ("pptx", 0.97), ("html", 0.97), ("latex", 0.94)])
def test_expected_words_are_found(fidelity: ModuleType, form: str, target: float) -> None:
    recalls = fidelity.measure_words(SHARED_DATA, form)
    assert sum(one.recall for one in recalls) / len(recalls) >= target, recalls[:5]


def test_text_files_are_decoded(fidelity: ModuleType) -> None:
    encodings = fidelity.measure_encodings(SHARED_DATA)
    assert encodings.files > 400
    assert encodings.share >= 0.95, encodings.wrong


def test_a_quote_is_in_all_three_formats_of_a_syllabus(fidelity: ModuleType) -> None:
    parity = fidelity.measure_syllabi(SHARED_DATA)
    assert parity.quotes > 3000
    assert parity.in_all_of_any >= 0.97, parity.missing
    assert min(parity.by_grams.values()) >= 0.8, parity.by_grams


def test_slides_say_what_their_printed_pages_say(fidelity: ModuleType) -> None:
    slides = fidelity.measure_slides(SHARED_DATA)
    assert slides.slides > 400
    assert slides.recall >= 0.97
    assert slides.agreeing >= 0.97, slides.worst
