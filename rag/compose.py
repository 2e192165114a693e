"""Ranked chunks to the hits a reader wants: grown over their neighbours, without near-duplicates, of several documents when that is asked.

Pure but for the text of a grown passage, which `text_of` reads. It changes no order: a hit keeps the score of the chunk it began with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rag.text import words
from rag.types import Hit, Location, LocationKind, Passage, Reading, ScoredSpan

NEIGHBOUR_FLOOR = 0.4
"""A neighbour is taken in when its own score is at least this share of the hit's. Less finds more, but fills a budget sooner
(docs/experiments.md)."""
SHINGLE_WORDS = 5
SAME_SHARE = 0.8
"""A passage is a near-duplicate of a better one that holds so much of its word 5-grams. Not the other way round: solutions repeat the whole
assignment, and what they add must not be lost."""
FEWEST_SHINGLES = 8
"""Shorter passages are collapsed only when they are equal."""

SpanText = Callable[[int, int, int], str]
"""The text of a chunk's document: `(chunk id, start, end)`."""

_BROAD = re.compile(
    r"""\b(?:overview|summar(?:y|i[sz]e)|topics?|themes?|compare|comparison|differ(?:s|ences?)?|across|throughout
    |which\ (?:lectures|weeks|slides|documents|files|chapters)|(?:this|the|whole|entire)\ course\ (?:about|cover)
    |list\ (?:all|the|every)|all\ (?:the|of\ the))\b""",
    re.IGNORECASE | re.VERBOSE,
)


def compose(
    ranked: Sequence[Hit],
    limit: int,
    passage_tokens: int,
    text_of: SpanText,
    per_document: int | None = None,
    collapse_duplicates: bool = True,
) -> list[Hit]:
    """The first `limit` hits, ranks counted anew.

    Args:
        ranked: single chunks, best first.
        passage_tokens: a hit grows over neighbours up to so many word pieces.
        per_document: further hits of one document come after those of all others; None for no such rule.
    """
    hits: list[Hit] = []
    later: list[Hit] = []
    shingled: list[frozenset[tuple[str, ...]]] = []
    documents: Counter[str] = Counter()
    for hit in _grown(ranked, passage_tokens, text_of):
        shingles = _shingles(hit.passage.chunk.text) if collapse_duplicates else frozenset()
        same = next((at for at, better in enumerate(shingled) if collapse_duplicates and _is_near_duplicate(shingles, better)), None)
        if same is not None:
            hits[same] = replace(hits[same], duplicates=(*hits[same].duplicates, hit.passage))
        elif per_document is not None and documents[hit.passage.source] == per_document:
            later.append(hit)
        else:
            hits.append(hit)
            shingled.append(shingles)
            documents[hit.passage.source] += 1
            if len(hits) == limit:
                break
    return [replace(hit, rank=rank) for rank, hit in enumerate([*hits, *later][:limit], start=1)]


def is_broad(question: str) -> bool:
    """Whether a question asks about more than one document can say: an overview, a comparison, a list of all."""
    return bool(_BROAD.search(question))


@dataclass(slots=True)
class _Span:
    """Chunks `first` to `last` (ordinals) of a document, and their word pieces."""

    first: int
    last: int
    tokens: int


def _grown(ranked: Sequence[Hit], passage_tokens: int, text_of: SpanText) -> Iterator[Hit]:
    """The hits, each with the better of its neighbours taken in as long as that is near enough in score and there is room."""
    at = {(hit.passage.source, hit.passage.ordinal): hit for hit in ranked}
    taken: set[tuple[str, int]] = set()

    def neighbour(hit: Hit, ordinal: int, room: int) -> Hit | None:
        place = hit.passage.source, ordinal
        other = at.get(place)
        if other is None or place in taken or other.passage.chunk.tokens > room or other.score < NEIGHBOUR_FLOOR * hit.score:
            return None
        if (other.reading is None) != (hit.reading is None):  # what was not read would count as what does not answer
            return None
        return other if _is_same_place(hit.passage, other.passage) else None

    for hit in ranked:
        source, ordinal = hit.passage.source, hit.passage.ordinal
        if (source, ordinal) in taken:
            continue
        taken.add((source, ordinal))
        span = _Span(ordinal, ordinal, hit.passage.chunk.tokens)
        while found := [
            other for edge in (span.first - 1, span.last + 1) if (other := neighbour(hit, edge, passage_tokens - span.tokens)) is not None
        ]:
            best = max(found, key=lambda other: other.score)
            taken.add((source, best.passage.ordinal))
            first, last = min(span.first, best.passage.ordinal), max(span.last, best.passage.ordinal)
            span = _Span(first, last, span.tokens + best.passage.chunk.tokens)
        yield _spanning(hit, [at[source, number] for number in range(span.first, span.last + 1)], span.tokens, text_of)


def _spanning(hit: Hit, members: Sequence[Hit], tokens: int, text_of: SpanText) -> Hit:
    """The hit grown over the members, of which it is one, in reading order."""
    first, last = members[0].passage, members[-1].passage
    if first.ordinal == last.ordinal:
        return hit
    start, end = first.chunk.start, last.chunk.end
    location = _span_location(first.chunk.location, last.chunk.location)
    text = text_of(hit.passage.chunk_id, start, end)
    if len(text) != end - start:  # the document was replaced meanwhile
        return hit
    chunk = replace(hit.passage.chunk, text=text, start=start, end=end, location=location, tokens=tokens)
    return replace(hit, passage=replace(hit.passage, chunk=chunk), reading=_joint_reading(hit, members))


def _joint_reading(hit: Hit, members: Sequence[Hit]) -> Reading | None:
    """What the reader says of the members taken together. Their spans stay apart: chunks overlap by no word."""
    if hit.reading is None:
        return None
    start = members[0].passage.chunk.start
    spans = [
        ScoredSpan(span.start + member.passage.chunk.start - start, span.end + member.passage.chunk.start - start, span.score)
        for member in members
        if member.reading is not None
        for span in member.reading.spans
    ]
    answers = max(member.reading.answers for member in members if member.reading is not None)
    return Reading(answers, hit.reading.relevance, tuple(sorted(spans, key=lambda span: -span.score)))


def _is_same_place(one: Passage, other: Passage) -> bool:
    """Whether both can be cited by one location: the same page, slide, cell or section; lines of one section make a longer span."""
    return one.chunk.context == other.chunk.context and _place(one.chunk.location) == _place(other.chunk.location)


def _place(location: Location) -> Location:
    return replace(location, number=None, last=None) if location.kind is LocationKind.LINE else location


def _span_location(first: Location, last: Location) -> Location:
    return replace(first, last=last.last or last.number) if first.kind is LocationKind.LINE else first


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    every = words(text)
    return frozenset(tuple(every[at : at + SHINGLE_WORDS]) for at in range(max(1, len(every) - SHINGLE_WORDS + 1)))


def _is_near_duplicate(shingles: frozenset[tuple[str, ...]], better: frozenset[tuple[str, ...]]) -> bool:
    return shingles == better if len(shingles) < FEWEST_SHINGLES else len(shingles & better) >= SAME_SHARE * len(shingles)
