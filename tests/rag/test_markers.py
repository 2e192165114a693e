import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.markers import stable_prefix, without_markers

INVENTED = {
    "It is due Friday [1].": "It is due Friday.",
    "A [2, 3] and B [1-4].": "A and B.",
    "As stated (Source 12).": "As stated.",
    "See <excerpt number='1'>x</excerpt>.": "Seex.",
    "It is due Friday[1][2].": "It is due Friday.",
    "It is due Friday [1–3].": "It is due Friday.",
    "It is due Friday (1).": "It is due Friday.",
    "It is due Friday (1) and costs 5 points (2).": "It is due Friday and costs 5 points.",
    "It is due Friday 【1†source】.": "It is due Friday.",
    "It is due Friday[^1].": "It is due Friday.",
    "[^1]: Syllabus, page 3": "",
    "It is due Friday.¹": "It is due Friday.",
    "Source 2: It is due Friday.": "It is due Friday.",
    "According to excerpt 2, it is due Friday.": "it is due Friday.",
    "[[1]2] nested": " nested",
    "It is <b>due</b><br/> <a href='http://a.b/?x=1'>Friday</a>.": "It is due Friday.",
    "It is due <img src='http://a.b/c' onerror='d()'>Friday.": "It is due Friday.",
    "A picture ![of Friday](http://a.b/c.png?q=secret).": "A picture of Friday.",
    "See [the page](http://a.b/c_(d)) and see[this](//a.b).": "See the page and seethis.",
    "See <https://a.b/c>.": "See .",
    "Unclosed <img src='http://a.b": "Unclosed ",
}
A_COURSES_OWN = [
    "The list a[i] and the year (see below) stay.",
    "f(2) is 4 and x[0] is first (Vaswani, 2017).",
    "equation (3) and step (2) follow",
    "(1) read, (2) write and (3) run",
    "the tokens <s>, <pad> and <|end|>, and a <b and c> d",
    "5 m² and 2¹⁰ bytes",
    "Documents are due. Sources must be named.",
    "The document 2 of week 3",
]


@pytest.mark.parametrize(("text", "clean"), INVENTED.items())
def test_invented_markers_go(text: str, clean: str) -> None:
    assert without_markers(text) == clean


@pytest.mark.parametrize("text", A_COURSES_OWN)
def test_what_a_course_says_stays(text: str) -> None:
    assert without_markers(text) == text


MARKERS = [
    "[1]", " [2, 3]", "[1–3]", "[^1]", "【1†source】", " (source 2)", "<sup>1</sup>", "<img src='http://a.b/c?d=e'>", "</excerpt>",
    "<a href='http://a.b'></a>", "[](http://a.b/c)", "![](http://a.b/c.png)", "<https://a.b/c>", "[1](http://a.b)", "<!-- x -->",
]  # fmt: skip
WORDS = st.text(alphabet="abcdefgh", min_size=2, max_size=7)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["", *MARKERS])), max_size=8))
def test_no_prefix_of_a_stream_shows_any_part_of_a_marker(pieces: list[tuple[str, str]]) -> None:
    text = " ".join(word + marker for word, marker in pieces)
    said = " ".join(word for word, _ in pieces)
    for end in range(len(text) + 1):
        shown = stable_prefix(text[:end])
        assert said.startswith(shown)


@given(
    st.text(max_size=60)
    | st.text(alphabet="ab1 []()<>!^†【】:/.-#\n", max_size=60)
    | st.text(alphabet=list("sourceSOURCE 12[](:."), max_size=30)
)
def test_every_prefix_of_any_text_is_clean(text: str) -> None:
    for end in range(len(text) + 1):
        shown = stable_prefix(text[:end])
        assert without_markers(shown) == shown
        assert stable_prefix(shown) == shown
        assert not re.search(r"(?<!\w)\[\d{1,2}\]|【\d+】|<img\b[^>]+=|\]\(http", shown)


@given(st.text(alphabet="ab []()<>12!\n", max_size=60))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert without_markers(without_markers(text)) == without_markers(text)
