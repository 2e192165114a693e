"""The geometry of lines, apart from PDFium."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.readers._layout import Line, Vocabulary, drop_furniture, join_fragments, large_title, paragraphs

PAGE = (0.0, 800.0)


def line(text: str, y: float, x: float = 72, size: float = 12, hyphen: bool = False, cells: bool = False) -> Line:
    """A line of `text` with its bottom at `y`, each letter half as wide as high."""
    return Line(text, x, y, x + len(text) * size / 2, y + size, hyphen, cells=cells)


def test_an_exponent_joins_the_word_before_it() -> None:
    fragments = [line("the sphere S", 100), Line("2", 144.5, 105, 149, 112), line("is round", 100, x=152)]
    assert [one.text for one in join_fragments(fragments)] == ["the sphere S2 is round"]


def test_a_bullet_joins_its_text() -> None:
    assert [one.text for one in join_fragments([line("•", 100), line("Homework", 100, x=100)])] == ["• Homework"]


def test_columns_side_by_side_do_not_join() -> None:
    assert [one.text for one in join_fragments([line("left", 100), line("right", 100, x=300)])] == ["left", "right"]


def test_headers_stay_once_and_page_numbers_never() -> None:
    pages = [[line("CS 101", 780), line(f"body {number}", 400), line(f"Page {number} of 4", 20)] for number in (1, 2, 3, 4)]
    kept = [[one.text for one in page] for page in drop_furniture(pages, [PAGE] * 4)]
    assert kept == [["CS 101", "body 1"], ["body 2"], ["body 3"], ["body 4"]]


def test_titles_that_differ_and_lines_inside_the_page_stay() -> None:
    pages = [[line(title, 780), line("same", 400)] for title in ("Trees", "Graphs", "Heaps")]
    assert drop_furniture(pages, [PAGE] * 3) == pages


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        ("the com", "ing exam", "the coming exam"),
        ("a well", "known fact", "a well-known fact"),
        ("a size", "able share", "a sizeable share"),
        ("class", "room", "class-room"),
        ("in the non", "English world", "in the non-English world"),
        ("by e", "mail", "by e-mail"),
    ],
)
def test_hyphens_at_line_ends(left: str, right: str, joined: str) -> None:
    known = Vocabulary([line("the class is in a room that is well-known for its sizeable windows", 0)])
    assert known.join(left, right) == joined


def test_fragments_at_a_hyphen_are_not_words() -> None:
    assert Vocabulary([line("see the com", 20, hyphen=True), line("ing weeks", 0)]).words == {"see", "the", "weeks"}


def test_lines_that_could_have_held_more_end_their_paragraph() -> None:
    lines = [line("Grading", 100), line("Labs count for half of the mark and the exam counts for the", 86), line("other half.", 72)]
    assert paragraphs(lines, Vocabulary(lines)) == "Grading\nLabs count for half of the mark and the exam counts for the other half."


def test_rows_with_cells_stay_apart() -> None:
    lines = [
        line("week one introduction to the course and to its goals", 100, cells=True),
        line("week two trees and graphs and heaps", 86, cells=True),
    ]
    assert paragraphs(lines, Vocabulary(lines)).count("\n") == 1


@given(
    st.lists(st.builds(line, st.from_regex(r"[a-z0-9 .•-]{1,30}", fullmatch=True).filter(str.strip), st.floats(0, 800), st.floats(0, 600)))
)
def test_no_word_is_lost(lines: list[Line]) -> None:
    text = paragraphs(join_fragments(lines), Vocabulary(lines))
    assert "".join(text.split()) == "".join("".join(one.text.split()) for one in lines)


def test_title_is_what_is_set_largest() -> None:
    lines = [
        line("University", 780),
        line("Sorting", 700, size=24),
        line("Algorithms", 670, size=24),
        line("by someone, with a long line of text", 600),
    ]
    assert large_title(lines) == "Sorting Algorithms"
    assert large_title([line("all the same", 100), line("size", 80)]) == ""
