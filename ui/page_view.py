"""A page of a PDF, or of an office file drawn as one, as a picture with the cited words boxed."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from rag.pages import Box, count_pages, locate_quote, render_page
from rag.types import LocationKind
from ui import typeset
from ui.opened import Opened, place, show_turning
from ui.page_cache import page_cache
from ui.text_view import KIND_NAMES

PIXELS_A_POINT = 2.0
"""Twice what a page needs at its size on a laptop: fingers can zoom into it."""
SHORTEST_LINE = 12
"""Characters of a line that is looked for by itself: shorter ones stand in several places."""
NUMBERED = frozenset({LocationKind.PAGE, LocationKind.SLIDE})
"""Places whose number is that of a page."""


def show_page(opened: Opened, pdf: bytes, show_text: Callable[[], None]) -> None:
    """The cited page, or the one that the reader has turned to.

    Args:
        show_text: shows the source as text instead, when no page can be named for it.
    """
    source, location = opened.passage.source, opened.passage.chunk.location
    pages = count_pages(pdf, source)
    cited = cited_page(opened, pdf, pages)
    if cited is None:
        st.caption("The passage was not found on the drawn pages. This is its text.")
        show_text()
        return
    here = place(cited, 1, pages)
    kind = KIND_NAMES[location.kind if location.kind in NUMBERED else LocationKind.PAGE]
    boxes = find_boxes(opened, pdf, here) if here == cited else []
    picture = render_page(pdf, here, boxes, PIXELS_A_POINT, source)
    show_turning(opened, kind, here, 1, pages, f"{kind.capitalize()} {here} of {pages}")
    alt = f"{kind.capitalize()} {here} of {source}" + (", the cited words marked" if boxes else "")
    st.image(picture, width="stretch", alt=alt)
    if here == cited and not boxes:
        st.caption(explain_absence(opened))
    _offer_text(opened, here, here == cited, expanded=here == cited and not boxes)


def cited_page(opened: Opened, pdf: bytes, pages: int) -> int | None:
    """The page (from 1) that a passage stands on. Numbers are trusted where the file and its picture count alike."""
    location, chunk = opened.passage.chunk.location, opened.passage.chunk
    if location.number and location.kind in NUMBERED and (location.kind is LocationKind.PAGE or pages == opened.document.pages):
        return min(location.number, pages)
    near = chunk.start / max(len(opened.text), 1)
    wordings = [words for words in dict.fromkeys((opened.words, chunk.text, chunk.text[:120])) if words.strip()]
    return page_cache().find_page(pdf, wordings, near, opened.passage.source)


def find_boxes(opened: Opened, pdf: bytes, page: int) -> list[Box]:
    """Where the marked words stand on a page; of those that do not stand there in one run, as on a slide, the lines that do."""
    source = opened.passage.source
    if boxes := locate_quote(pdf, page, opened.words, source):
        return boxes
    lines = [line for line in opened.words.split("\n") if len(line) >= SHORTEST_LINE]
    return [box for line in lines for box in locate_quote(pdf, page, line, source)]


def explain_absence(opened: Opened) -> str:
    """Why nothing is marked: the words stand in a speaker's notes, or the file draws them in another way than it says them."""
    part = opened.parts[opened.cited_part]
    notes, span = typeset.notes_of(opened.text_of(part)), opened.span_in(part)
    if part.location.kind is LocationKind.SLIDE and notes and span and span[0] >= notes[0]:
        return "The cited words stand in the speaker notes, which are not on the picture. They are below, as text."
    return "The cited words could not be found on this picture. They are below, as text."


def _offer_text(opened: Opened, here: int, is_cited: bool, expanded: bool) -> None:
    """The same page as text: for screen readers, and for words to copy."""
    numbered = opened.passage.chunk.location.kind in NUMBERED
    parts = [part for part in opened.parts if numbered and part.location.number == here]
    if is_cited and not parts:
        parts = opened.parts[opened.cited_part : opened.cited_part + 1]
    if not parts:
        return
    with st.expander("As text", expanded=expanded):
        for part in parts:
            st.markdown(opened.set(part))
