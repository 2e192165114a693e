"""Hits grow over neighbours, near-duplicates become one, a broad question gets several documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.compose import compose, is_broad
from rag.types import Chunk, Hit, Location, LocationKind, Passage

DOCUMENT = "one two three. four five six. seven eight nine. ten eleven twelve."
SPANS = [(0, 14), (15, 29), (30, 47), (48, 66)]


def hit(
    ordinal: int, score: float, source: str = "a.md", text: str | None = None, location: Location | None = None, context: str = ""
) -> Hit:
    start, end = SPANS[ordinal]
    chunk = Chunk(text or DOCUMENT[start:end], start, end, location or Location(LocationKind.PAGE, 1), context, tokens=4)
    return Hit(Passage(ordinal + 1, "c", source, "A", chunk, ordinal), 0, score)


def text_of(chunk_id: int, start: int, end: int) -> str:
    return DOCUMENT[start:end]


def spans(hits: list[Hit]) -> list[tuple[str, int, int]]:
    return [(one.passage.source, one.passage.chunk.start, one.passage.chunk.end) for one in hits]


def test_the_better_neighbour_is_taken_in_first_and_the_budget_kept() -> None:
    found = compose([hit(1, 1.0), hit(2, 0.9), hit(0, 0.8), hit(3, 0.7)], 10, 8, text_of)
    assert spans(found) == [("a.md", 15, 47), ("a.md", 0, 14), ("a.md", 48, 66)]
    assert found[0].passage.chunk.text == "four five six. seven eight nine."
    assert (found[0].passage.chunk_id, found[0].passage.ordinal, found[0].passage.chunk.tokens, found[0].score) == (2, 1, 8, 1.0)
    assert [one.rank for one in found] == [1, 2, 3]


def test_a_weak_neighbour_stays_out() -> None:
    assert spans(compose([hit(1, 1.0), hit(2, 0.39)], 10, 100, text_of)) == [("a.md", 15, 29), ("a.md", 30, 47)]
    assert spans(compose([hit(1, 1.0), hit(2, 0.4)], 10, 100, text_of)) == [("a.md", 15, 47)]


def test_nothing_grows_without_room_for_it() -> None:
    ranked = [hit(1, 1.0), hit(2, 0.9)]
    assert spans(compose(ranked, 10, 0, text_of)) == [("a.md", 15, 29), ("a.md", 30, 47)]


@pytest.mark.parametrize(
    "other",
    [
        hit(2, 0.9, source="b.md"),
        hit(2, 0.9, location=Location(LocationKind.PAGE, 2)),
        hit(2, 0.9, location=Location(LocationKind.PAGE, 1, heading=("Grading",))),
        hit(2, 0.9, context="Another title"),
        hit(3, 0.9),
    ],
    ids=["document", "page", "section", "context", "gap between"],
)
def test_a_passage_stays_at_one_place(other: Hit) -> None:
    assert len(compose([hit(1, 1.0), other], 10, 100, text_of)) == 2


def test_lines_become_a_longer_span_of_lines() -> None:
    first, last = Location(LocationKind.LINE, 3, 5, ("f",)), Location(LocationKind.LINE, 6, 9, ("f",))
    (found,) = compose([hit(2, 1.0, location=last), hit(1, 0.9, location=first)], 10, 100, text_of)
    assert found.passage.chunk.location == Location(LocationKind.LINE, 3, 9, ("f",))


def test_a_document_that_was_replaced_meanwhile_gives_the_chunk_alone() -> None:
    (found,) = compose([hit(1, 1.0), hit(2, 0.9)], 10, 100, lambda chunk_id, start, end: "")
    assert found.passage.chunk.text == "four five six."


LONG = "the key value cache of a transformer holds keys and values of all earlier tokens in the sequence"


def test_near_duplicates_become_one_hit_that_names_the_others() -> None:
    ranked = [
        hit(0, 1.0, "slides.pptx", LONG),
        hit(1, 0.9, "slides.pdf", f"{LONG} 4"),
        hit(2, 0.8, "b.md", "something else entirely"),
    ]
    found = compose(ranked, 10, 0, text_of)
    assert [one.passage.source for one in found] == ["slides.pptx", "b.md"]
    assert [same.source for same in found[0].duplicates] == ["slides.pdf"]


def test_a_passage_that_says_more_than_a_better_one_is_no_duplicate_of_it() -> None:
    solution = f"{LONG}; at two bytes a number that makes one hundred and ninety two kibibytes a token"
    found = compose([hit(0, 1.0, "assignment.md", LONG), hit(1, 0.9, "solution.md", solution)], 10, 0, text_of)
    assert [(one.passage.source, one.duplicates) for one in found] == [("assignment.md", ()), ("solution.md", ())]
    (kept,) = compose([hit(1, 1.0, "solution.md", solution), hit(0, 0.9, "assignment.md", LONG)], 10, 0, text_of)
    assert (kept.passage.source, [same.source for same in kept.duplicates]) == ("solution.md", ["assignment.md"])


def test_nothing_is_collapsed_when_that_is_not_wanted() -> None:
    ranked = [hit(0, 1.0, "a", LONG), hit(1, 0.9, "b", LONG)]
    assert len(compose(ranked, 10, 0, text_of, collapse_duplicates=False)) == 2


def test_short_passages_are_duplicates_only_when_equal() -> None:
    found = compose([hit(0, 1.0, "a", "Lab 1"), hit(0, 0.9, "b", "Lab 2"), hit(0, 0.8, "c", "lab 1.")], 10, 0, text_of)
    assert [one.passage.source for one in found] == ["a", "b"]


def test_further_hits_of_a_document_come_last_when_it_is_asked() -> None:
    ranked = [hit(0, 1.0), hit(2, 0.9), hit(0, 0.8, "b.md", "other words")]
    assert spans(compose(ranked, 10, 0, text_of, per_document=1)) == [("a.md", 0, 14), ("b.md", 0, 14), ("a.md", 30, 47)]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What topics does the course cover?", True),
        ("Compare batching and quantization", True),
        ("List all the deadlines", True),
        ("When is the midterm?", False),
        ("How do I call the tokenizer?", False),
    ],
)
def test_broad_questions(question: str, expected: bool) -> None:
    assert is_broad(question) is expected


@given(scores=st.permutations([1.0, 0.8, 0.6, 0.5]), room=st.integers(0, 20))
def test_every_chunk_stands_in_exactly_one_hit(scores: list[float], room: int) -> None:
    ranked = sorted((hit(ordinal, score) for ordinal, score in enumerate(scores)), key=lambda one: -one.score)
    found = compose(ranked, 10, room, text_of)
    covered = [
        ordinal
        for chunk in (one.passage.chunk for one in found)
        for ordinal, (start, end) in enumerate(SPANS)
        if start >= chunk.start and end <= chunk.end
    ]
    assert sorted(covered) == [0, 1, 2, 3]
    assert all(one.passage.chunk.text == DOCUMENT[one.passage.chunk.start : one.passage.chunk.end] for one in found)
