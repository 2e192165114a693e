from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.chunk import chunk_document
from rag.text import embedded_text
from rag.types import Chunk, Document, Location, LocationKind, Section


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def page(text: str, number: int = 1, *heading: str) -> Section:
    return Section(text, Location(LocationKind.PAGE, number, heading=heading))


def chunks_of(*sections: Section, tokens: int = 6) -> list[Chunk]:
    return chunk_document(Document("Title", sections), count_words, tokens)


def test_sentences_are_packed_up_to_the_budget() -> None:
    assert [chunk.text for chunk in chunks_of(page("One two three. Four five. Six seven. Eight."))] == [
        "One two three. Four five.",
        "Six seven. Eight.",
    ]


def test_a_chunk_that_is_half_full_ends_with_its_paragraph() -> None:
    text = "One two three four.\n\nFive. Six seven eight nine."
    assert [chunk.text for chunk in chunks_of(page(text))] == ["One two three four.", "Five. Six seven eight nine."]


def test_rows_stay_whole_and_a_long_sentence_is_cut_at_words() -> None:
    assert [chunk.text for chunk in chunks_of(page("Part | Share | Due\nLabs | 10 | May"), tokens=5)] == [
        "Part | Share | Due",
        "Labs | 10 | May",
    ]
    words = " ".join(["word"] * 200)
    assert " ".join(chunk.text for chunk in chunks_of(page(words), tokens=90)) == words


@pytest.mark.parametrize(
    "block",
    ["```python\na = 1\n\nb. 2\n```", "$$\nx = 1.\n\nY = 2\n$$", "\\begin{align*}\na. \n\nB\n\\end{align*}", "\\[ a. B \n\n c \\]"],
    ids=["code", "dollars", "align", "brackets"],
)
def test_a_block_that_fits_stays_whole(block: str) -> None:
    chunks = chunks_of(page(f"One two three four. Five six.\n\n{block}\n\nSeven eight. Nine ten."), tokens=8)
    assert sum(block in chunk.text for chunk in chunks) == 1


def test_beginnings_without_an_end_are_no_blocks_and_take_no_time() -> None:
    assert [chunk.text for chunk in chunks_of(page("One two \\[ three. Four five six seven."), tokens=4)] == [
        "One two \\[ three.",
        "Four five six seven.",
    ]
    text = "\\[ a. B\n" * 100_000  # one pass: looking for an end from each of them would take hours
    assert sum(chunk.text.count("\\[") for chunk in chunks_of(page(text), tokens=90)) == 100_000


def test_a_block_that_is_too_long_is_cut_at_its_rows() -> None:
    rows = [f"row {number} of. Code" for number in range(6)]
    chunks = chunks_of(page("\n".join(["```", *rows, "```"])), tokens=9)
    assert [chunk.text.count("row") for chunk in chunks] == [2, 2, 2]


def test_a_chunk_has_one_page_and_the_context_of_its_headings() -> None:
    first, second = chunks_of(page("One.", 1, "Title", "Intro"), page("Two.", 2))
    assert (first.location.number, first.context) == (1, "Title › Intro")
    assert (second.location.number, second.context) == (2, "Title")
    assert embedded_text(first.context, first.text) == "Title › Intro\nOne."
    assert embedded_text("", "One.") == "One."


def test_lines_are_counted_within_a_section() -> None:
    section = Section("one two three\nfour five six\nseven eight nine", Location(LocationKind.LINE, 11, last=13))
    spans = [(chunk.location.number, chunk.location.last) for chunk in chunks_of(section, tokens=3)]
    assert spans == [(11, 11), (12, 12), (13, 13)]


TEXT = st.text(alphabet="ab .\n|-", min_size=1, max_size=120)


@given(texts=st.lists(TEXT, min_size=1, max_size=4), tokens=st.integers(1, 12))
def test_spans_slice_back_and_nothing_is_lost_or_doubled(texts: list[str], tokens: int) -> None:
    document = Document("", tuple(page(text, number) for number, text in enumerate(texts, 1)))
    chunks = chunk_document(document, count_words, tokens)
    position = 0
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert document.text[position : chunk.start].strip() == ""
        assert 0 < count_words([chunk.text])[0] <= tokens
        position = chunk.end
    assert document.text[position:].strip() == ""
