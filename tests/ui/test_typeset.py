"""Stored text set as Markdown: what becomes a list, a table, code; where the highlight goes; nothing lost and nothing alive."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.text_view import number_lines
from ui.transcript_view import spread
from ui.typeset import notes_of, set_slide, set_text, shift

ALIVE = re.compile(r"(?<!\\)(?:!\[|<|\]\()|https?://|(?<!\\):material")


def span_of(text: str, words: str) -> tuple[int, int]:
    return text.index(words), text.index(words) + len(words)


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("One.\nTwo.\n\nThree.", "One\\.\\\nTwo\\.\n\nThree\\."),
        ("# Title\nText.", "**Title**\n\nText\\."),
        ("- a\n  - b\n- c", "- a\n    - b\n- c"),
        ("1. a\n2. b", "1. a\n2. b"),
        ("  - deep first", "- deep first"),
        ("- a\n  goes on", "- a goes on"),
        ("a | b\nc | d | e", "| a | b |  |\n| --- | --- | --- |\n| c | d | e |"),
        ("| a | b |\n|---|---|\n| c | d |", "| a | b |\n| --- | --- |\n| c | d |"),
        ("either | or", "either \\| or"),
        ("a | `x|y`\nc | d", "| a | \\`x\\|y\\` |\n| --- | --- |\n| c | d |"),
        ("```python\nx = '<b>'\n```\nafter", "````text\nx = '<b>'\n````\n\nafter"),
        ("~~~\n`````\n~~~\nx", "``````text\n`````\n``````\n\nx"),
        ("$$\na | b\nc | d\n$$", "$$\na | b c | d\n$$"),
        ("", ""),
    ],
    ids=[
        "paragraphs", "heading", "levels", "numbers", "no code by indentation", "item goes on", "rows of several lengths", "markdown table",
        "one bar is no table", "bar in code", "fence", "fence within", "formula", "nothing",
    ],
)  # fmt: skip
def test_blocks(text, markdown):
    assert set_text(text) == markdown


def test_lines_broken_for_an_editor_run_on():
    text = "# Title\nA long sentence\nthat goes on.\n\n- a\n- b"
    assert set_text(text, span_of(text, "sentence\nthat"), flows=True) == (
        "**Title**\n\nA long :yellow-background[sentence that] goes on\\.\n\n- a\n- b"
    )


def test_a_highlight_goes_over_paragraphs_items_and_cells():
    text = "Begin here.\n\n- a\n- b\n\nx | y\nz | w"
    assert set_text(text, (text.index("here"), text.index("z") + 1)) == (
        "Begin :yellow-background[here\\.]\n\n- :yellow-background[a]\n- :yellow-background[b]\n\n"
        "| :yellow-background[x] | :yellow-background[y] |\n| --- | --- |\n| :yellow-background[z] | w |"
    )


def test_a_slide_has_its_title_points_and_notes():
    text = "The title\n\nFirst point\n  - below it\nSecond point\n\nA sentence.\n\nNotes:\nSaid aloud."
    assert set_slide(text, "The title", span_of(text, "below it")) == (
        "**The title**\n\n- First point\n    - :yellow-background[below it]\n- Second point\n\nA sentence\\.\n\n"
        "**Speaker notes**\n\nSaid aloud\\."
    )
    assert notes_of(text) == span_of(text, "Said aloud.")
    assert set_slide("Notes:\nOnly said.", "", (7, 11)) == "**Speaker notes**\n\n:yellow-background[Only] said\\."
    assert notes_of("No notes") is None


def test_a_span_moves_with_the_text_before_it():
    assert shift((5, 9), 3) == (2, 6)
    assert shift((1, 9), 3) == (0, 6)
    assert shift((1, 3), 3) is None


@pytest.mark.parametrize(
    "payload", ["![x](https://evil.example/a)", "<img src=x>", "[a](https://evil.example)", ":material/delete:", "https://evil.example"]
)
@pytest.mark.parametrize("frame", ["{}", "- {}\n- {}", "{} | {}\n{} | b", "# {}", "1. {}", "Notes:\n{}", "$$\n{}\n$$", "{}\n\n  - {}"])
def test_nothing_of_a_document_comes_alive(payload, frame):
    text = frame.replace("{}", payload)
    for span in (None, (0, len(text)), (2, len(text) - 2)):
        for result in (set_text(text, span), set_text(text, span, flows=True), set_slide(text, payload, span)):
            assert not ALIVE.search(result.replace(":yellow-background[", "(").replace("](", ")("))


@given(st.text("ab|-`$ \n1.#:", max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_no_letter_is_lost(text, start, end):
    shown = set_text(text, (min(start, end), max(start, end)) if start != end else None)
    plain = re.sub(r":yellow-background|````+text", "", shown)
    fences = re.compile(r"^\s*(?:```+|~~~+).*$", re.MULTILINE)  # what stands behind the opening of a fence names its language
    assert plain.count("b") >= fences.sub("", text).count("b")


def test_lines_have_the_numbers_of_their_file():
    assert number_lines("a\nb\n\nc", 8) == " 8  a\n 9  b\n10  \n11  c"


def test_words_are_found_over_cues():
    assert spread(["One two", "three  four", "five"], "two three four") == [(4, 7), (0, 10), None]
    assert spread(["One"], "six") == [None]
    assert spread([], "six") == []
