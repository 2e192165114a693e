"""Opening a source: the page of a PDF with the passage marked, or the slide, cell or section as text.

A source is opened by its chunk id through the store, within the course on show, never by a path. When the original file is gone, the
text that was stored stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import streamlit as st

from rag.errors import LecternError, StoreError, UnreadableDocument
from rag.pages import Box, locate_quote, render_page
from rag.store import Store
from rag.types import LocationKind, Passage, Scope, Source
from ui import errors, render, state

QUOTE_CHARACTERS = 260
DRAWER_PIXELS = 720
LANGUAGES = {
    ".py": "python",
    ".c": "c",
    ".h": "c",
    ".cpp": "cpp",
    ".cu": "cpp",
    ".java": "java",
    ".js": "javascript",
    ".rs": "rust",
    ".sh": "bash",
}
"""Endings of files shown as code, and how to colour them."""


def show_sources(sources: Sequence[Source], key: str) -> None:
    """The sources of an answer, each a button that opens it and the words it is cited for."""
    for source in sources:
        passage = source.passage
        with st.container(gap=None):
            st.button(
                f":primary[{render.label(f'[{source.n}] {passage.source} · {passage.chunk.location.label}')}]",
                key=f"source-{key}-{source.n}",
                type="tertiary",
                on_click=state.open_source,
                args=(passage.chunk_id, source.n),
                wrap=True,
            )
            st.caption(render.label(quoted(source), QUOTE_CHARACTERS))


def quoted(source: Source) -> str:
    """The words a source is cited for; those of the passage where none are."""
    return f"“{source.quote}”" if source.quote else source.passage.chunk.text


def show_opened_source(store: Store, course: str, cited: Sequence[Source]) -> None:
    """The drawer with the source that the URL names, if it names one; `cited` tells which words of it an answer rests on."""
    opened = state.parameter(state.SOURCE)
    if opened is None:
        return
    chunk_id, _, number = opened.partition(".")
    passage = find_passage(store, course, chunk_id)
    title = render.label(f"{passage.source} · {passage.chunk.location.label}" if passage else "Source", 90)

    @st.dialog(title, width=DRAWER_PIXELS, position="right", on_dismiss=state.close_source)
    def drawer() -> None:
        if passage is None:
            st.warning("This source is no longer part of the course. Ask again to get current ones.")
            return
        try:
            source = cited_source(passage, number, cited)
            show_passage(store, source.passage if source else passage, source.quote if source else "")
        except LecternError as e:
            errors.show_error(e)
        finally:
            store.close()

    drawer()


def find_passage(store: Store, course: str, chunk_id: str) -> Passage | None:
    """The passage with this id, if the course has it and it is visible now."""
    if not (chunk_id.isascii() and chunk_id.isdigit() and len(chunk_id) < 19):
        return None
    return store.passages_in(Scope(course), [int(chunk_id)]).get(int(chunk_id))


def cited_source(passage: Passage, number: str, cited: Sequence[Source]) -> Source | None:
    """The source of the newest answer that cites the passage under this number; under any number when that is not there.

    Its passage may have grown over neighbours of the stored one, and its quote may stand there.
    """
    sources = [source for source in reversed(cited) if source.passage.chunk_id == passage.chunk_id]
    return next((source for source in sources if str(source.n) == number), sources[0] if sources else None)


def show_passage(store: Store, passage: Passage, quote: str) -> None:
    """A passage in its surroundings, the quote marked."""
    st.caption(render.label(" › ".join((passage.title, *passage.chunk.location.heading)), 300))
    if passage.chunk.location.kind is not LocationKind.PAGE:
        _show_text(store, passage, quote)
        return
    try:
        data = store.original(passage.course, passage.source)
        _show_page(data, passage, quote, _pages(store, passage))
    except (StoreError, UnreadableDocument) as e:
        errors.log(e)
        st.warning("The original file is not available, or it has changed since it was read. This is the text that was stored.")
        _show_text(store, passage, quote)


def _pages(store: Store, passage: Passage) -> int:
    return next((document.pages for document in store.documents(passage.course) if document.source == passage.source), 1)


def _show_page(data: bytes, passage: Passage, quote: str, pages: int) -> None:
    cited = passage.chunk.location.number or 1
    key = f"page-{passage.chunk_id}"
    page = min(max(st.session_state.get(key, cited), 1), pages)
    boxes = mark_boxes(data, cited, quote, passage) if page == cited else []
    picture = render_page(data, page, boxes, source=passage.source)
    back, place, forth = st.columns([1, 2, 1], vertical_alignment="center")
    back.button("Previous page", key=f"{key}-back", disabled=page <= 1, on_click=_turn_to, args=(key, page - 1), width="stretch")
    place.markdown(f"Page {page} of {pages}", text_alignment="center")
    forth.button("Next page", key=f"{key}-forth", disabled=page >= pages, on_click=_turn_to, args=(key, page + 1), width="stretch")
    st.image(picture, width="stretch", alt=f"Page {page} of {passage.source}" + (", the cited words marked" if boxes else ""))
    if page == cited and quote and not boxes:
        st.caption("The cited words could not be found on the picture of this page; they are:")
        st.markdown(render.marked(quote, quote))


def mark_boxes(data: bytes, page: int, quote: str, passage: Passage) -> list[Box]:
    """Where the quote stands on its page; where the whole passage stands when there is no quote."""
    return locate_quote(data, page, quote or passage.chunk.text, passage.source)


def _turn_to(key: str, page: int) -> None:
    st.session_state[key] = page


def _show_text(store: Store, passage: Passage, quote: str) -> None:
    """The passage and what stands around it at the same place."""
    near = [other.chunk for other in store.neighbours(passage) if other.chunk.location == passage.chunk.location] + [passage.chunk]
    start, end = min(chunk.start for chunk in near), max(chunk.end for chunk in near)
    text = store.document_text(passage.course, passage.source)[start:end]
    with st.container(border=True, key="source-text"):
        language = language_of(passage)
        if language is None:
            st.markdown(render.marked(text, quote or passage.chunk.text))
        else:
            if quote:
                st.markdown(f"Cited: {render.marked(quote, quote)}")
            st.code(text, language=language, wrap_lines=True)


def language_of(passage: Passage) -> str | None:
    """The language that a passage is shown as code in; None for prose."""
    location = passage.chunk.location
    if location.kind is LocationKind.CELL:
        return "python" if location.cell == "code" else None
    return LANGUAGES.get(PurePosixPath(passage.source).suffix.lower()) if location.kind is LocationKind.LINE else None
