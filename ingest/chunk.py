"""Documents to chunks: whole sentences, list items and table rows packed up to a token budget. Pure: no files, no models.

A chunk never crosses a section, so that it has one location; every piece of text that is not white space lands in exactly one chunk.
Each chunk carries its context (the document's title and the headings it stands under), which is searched with it: a passage that says
"it is due on Friday" is found by the name of the assignment above it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rag.text import sentence_spans
from rag.types import Chunk, Document, Location, LocationKind, Section

CountTokens = Callable[[Sequence[str]], list[int]]

_ROW_END = re.compile(r"\n")
_BLOCK_MARK = re.compile(r"^(?:```|~~~)|\$\$|\\[\[\]]|\\(?:begin|end)\{(?:equation|align|gather|multline)\*?\}", re.MULTILINE)
"""What begins or ends code between fences or a displayed formula: blank lines and full stops in them end no sentence."""
_FENCES = ("```", "~~~")
LONGEST_BLOCK = 4000
"""Characters. A longer one fits no chunk, and a bracket so far away closes another."""
_WORD_PIECE = re.compile(r"\S{1,40}")
"""A word, or a piece of a run without spaces (a base64 line, a script without them)."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A span that should stay whole. `opens` tells that a paragraph begins with it."""

    start: int
    end: int
    tokens: int
    opens: bool


def chunk_document(document: Document, count_tokens: CountTokens, max_tokens: int, whole_tokens: int = 0) -> list[Chunk]:
    """The chunks of a document, in reading order; spans count in `document.text`.

    Args:
        count_tokens: word pieces of each text.
        max_tokens: the most a chunk may have, its context not counted. Only a single unbreakable piece may be longer.
        whole_tokens: a section with no more than so many stays one chunk nevertheless.
    """
    chunks: list[Chunk] = []
    offset = 0
    for section in document.sections:
        context = _context(document.title, section.location)
        units = _units(section.text, count_tokens, max_tokens)
        total = sum(unit.tokens for unit in units)
        for start, end, tokens in _pack(units, max(max_tokens, total) if total <= whole_tokens else max_tokens):
            location = _location_of_span(section, start, end)
            chunks.append(Chunk(section.text[start:end], offset + start, offset + end, location, context, tokens))
        offset += len(section.text) + len(Document.SEPARATOR)
    return chunks


def _context(title: str, location: Location) -> str:
    parts = [title, *location.heading]
    return " › ".join(part for position, part in enumerate(parts) if part and part not in parts[:position])


def _location_of_span(section: Section, start: int, end: int) -> Location:
    if section.location.kind is not LocationKind.LINE:
        return section.location
    first = (section.location.number or 1) + section.text.count("\n", 0, start)
    return replace(section.location, number=first, last=first + section.text.count("\n", start, end))


def _units(text: str, count_tokens: CountTokens, max_tokens: int) -> list[_Unit]:
    spans = list(_whole_blocks(text, sentence_spans(text)))
    tokens = count_tokens([text[start:end] for start, end in spans])
    for split in (_split_rows, _split_words):
        if max(tokens, default=0) <= max_tokens:
            break
        spans = [part for span, count in zip(spans, tokens, strict=True) for part in (split(text, span) if count > max_tokens else [span])]
        tokens = count_tokens([text[start:end] for start, end in spans])
    return [
        _Unit(start, end, count, opens=index == 0 or "\n" in text[spans[index - 1][1] : start])
        for index, ((start, end), count) in enumerate(zip(spans, tokens, strict=True))
    ]


def _whole_blocks(text: str, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans, those that a block reaches into joined to one; a block that is too long for a chunk is split by rows later."""
    blocks = deque(_blocks(text))
    joined: tuple[int, int] | None = None
    for start, end in spans:
        while blocks and blocks[0][1] <= start:
            blocks.popleft()
        if joined is not None and blocks and blocks[0][0] < joined[1]:
            joined = joined[0], end
            continue
        if joined is not None:
            yield joined
        joined = start, end
    if joined is not None:
        yield joined


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Spans of code between fences and of displayed formulas, in one pass: texts of nothing but beginnings exist."""
    closer, start = "", 0
    for found in _BLOCK_MARK.finditer(text):
        mark = found.group()
        if mark == closer:
            if found.end() - start <= LONGEST_BLOCK:
                yield start, found.end()
            closer = ""
        elif not closer or (closer not in _FENCES and found.start() - start > LONGEST_BLOCK):
            closer, start = _closer(mark), found.start()


def _closer(mark: str) -> str:
    """What ends a block that begins with `mark`; empty when none does."""
    if mark in (*_FENCES, "$$"):
        return mark
    return "\\]" if mark == "\\[" else mark.replace("begin", "end", 1) if mark.startswith("\\begin") else ""


def _split_rows(text: str, span: tuple[int, int]) -> Iterator[tuple[int, int]]:
    start, end = span
    for boundary in _ROW_END.finditer(text, start, end):
        if text[start : boundary.start()].strip():
            yield start, boundary.start()
        start = boundary.end()
    if text[start:end].strip():
        yield start, end


def _split_words(text: str, span: tuple[int, int]) -> Iterator[tuple[int, int]]:
    for word in _WORD_PIECE.finditer(text, *span):
        yield word.span()


def _pack(units: Sequence[_Unit], max_tokens: int) -> Iterator[tuple[int, int, int]]:
    """Spans of consecutive units within the budget, and their tokens; one more than half full prefers to end with its paragraph."""
    first = 0
    while first < len(units):
        last, tokens, paragraph_end = first, units[first].tokens, None
        while last + 1 < len(units) and tokens + units[last + 1].tokens <= max_tokens:
            last += 1
            tokens += units[last].tokens
            if units[last].opens and tokens - units[last].tokens > max_tokens / 2:
                paragraph_end = last - 1
        if last + 1 < len(units) and not units[last + 1].opens and paragraph_end is not None:
            last = paragraph_end
        yield units[first].start, units[last].end, sum(unit.tokens for unit in units[first : last + 1])
        first = last + 1
