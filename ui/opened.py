"""A source that is open, and turning to what stands before and after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import streamlit as st

from rag.answer_cache import RevisionCache
from rag.records import Part, StoredDocument
from rag.store import Store
from rag.types import LocationKind, Passage
from ui import render, typeset

WINDOW_LINES = 60
"""Lines of a text or a program that are shown at a time."""
MOST_PARSED = 4
"""Cells or transcripts that are remembered for each store: a cell can hold tens of megabytes of pictures."""
Parsed = TypeVar("Parsed")
_TURNED = "turned_to"
_OPENED = "opened_source"


@dataclass(frozen=True)
class Opened:
    """A passage as an answer cites it. `quote`: the words that the answer rests on; where none are known, the whole passage is marked."""

    store: Store
    document: StoredDocument
    passage: Passage
    quote: str

    @property
    def words(self) -> str:
        """What is to be marked."""
        return self.quote or self.passage.chunk.text

    @cached_property
    def text(self) -> str:
        """The stored text of the whole document."""
        return self.store.document_text(self.passage.course, self.passage.source)

    @cached_property
    def parts(self) -> list[Part]:
        """The places of the document in reading order; short spans of lines joined to windows."""
        parts = self.store.parts(self.passage.course, self.passage.source)
        return join_lines(parts) if self.passage.chunk.location.kind is LocationKind.LINE else parts

    @property
    def cited_part(self) -> int:
        """Which of the parts holds the words that are marked."""
        start = self.span[0]
        return next((index for index, part in enumerate(self.parts) if part.start <= start < part.end), 0)

    @property
    def here(self) -> int:
        """Which of the parts is shown: the cited one, or the one that the reader has turned to."""
        return place(self.cited_part, 0, len(self.parts) - 1)

    @property
    def part(self) -> Part:
        return self.parts[self.here]

    @cached_property
    def span(self) -> tuple[int, int]:
        """Where the marked words stand in the document's text: the quote within its passage, or all of that."""
        chunk = self.passage.chunk
        found = render.find_quote(chunk.text, self.quote) if self.quote else None
        return (chunk.start + found[0], chunk.start + found[1]) if found else (chunk.start, chunk.end)

    def text_of(self, part: Part) -> str:
        return self.text[part.start : part.end]

    def set(self, part: Part) -> str:
        """A part as Markdown, the marked words highlighted."""
        text, span = self.text_of(part), self.span_in(part)
        if part.location.kind is LocationKind.SLIDE:
            return typeset.set_slide(text, part.location.heading[-1] if part.location.heading else "", span)
        return typeset.set_text(text, span, flows=self.document.format in typeset.FLOWING)

    def span_in(self, part: Part) -> tuple[int, int] | None:
        """The marked words within a part, counted from its beginning."""
        start, end = max(self.span[0], part.start), min(self.span[1], part.end)
        return (start - part.start, end - part.start) if start < end else None


@st.cache_resource(show_spinner=False)
def _parsed(directory: str) -> RevisionCache[Any]:
    """Of a store: what is removed from it is forgotten here within half a minute."""
    return RevisionCache(MOST_PARSED)


def remembered(store: Store, data: bytes, part: int, read: Callable[[], Parsed]) -> Parsed:
    """What `read` makes of an original file, or of a part of it: the drawer runs at every click, and a large file takes a second."""
    kept, revision, key = _parsed(str(store.directory)), store.revision(), (hashlib.sha256(data).digest(), part)
    value: Parsed | None = kept.find(key, revision)
    if value is None:
        value = read()
        kept.keep(key, revision, value, store)
    return value


def join_lines(parts: Sequence[Part], most: int = WINDOW_LINES) -> list[Part]:
    """Spans of lines that follow each other, as windows of about `most` lines."""
    windows: list[Part] = []
    for part in parts:
        first = (windows[-1] if windows else part).location.number or 1
        last = part.location.last or part.location.number or 1
        if windows and last - first < most:
            windows[-1] = Part(windows[-1].start, part.end, replace(windows[-1].location, last=last))
        else:
            windows.append(part)
    return windows


def begin(opened: str | None) -> None:
    """Notes which source is open: another one, or the same after it was closed, begins at the cited place."""
    if st.session_state.get(_OPENED) != opened:
        st.session_state[_OPENED] = opened
        st.session_state.pop(_TURNED, None)


def place(cited: int, first: int, last: int) -> int:
    """Where the reader has turned to; the cited place to begin with."""
    return min(max(st.session_state.get(_TURNED, cited), first), last)


def show_turning(opened: Opened, kind: str, here: int, first: int, last: int, words: str) -> None:
    """`Previous page`, `Next page`, and the words that say where we are."""
    key = f"page-{opened.passage.chunk_id}"
    with st.container(horizontal=True, vertical_alignment="center", key="turning"):
        st.button(f"Previous {kind}", key=f"{key}-back", disabled=here <= first, on_click=_turn_to, args=(here - 1,))
        st.button(f"Next {kind}", key=f"{key}-forth", disabled=here >= last, on_click=_turn_to, args=(here + 1,))
        st.markdown(words, width="content")


def _turn_to(index: int) -> None:
    st.session_state[_TURNED] = index
