"""The sources of an answer as a list, and the drawer in which one opens: where it stands, with the cited words marked.

A source is opened by its chunk id through the store, within the course on show, never by a path. What is shown of the original file, if it
is still there as it was read, depends on its kind: `page_view`, `cell_view`, `transcript_view`. The text that was stored stands in for it:
`text_view`. Each run asks the store again, so that what is hidden or removed meanwhile does not stay open.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath

import streamlit as st

from ingest.office_pages import FORMATS as OFFICE_FORMATS
from rag.errors import StoreError, UnreadableDocument
from rag.records import StoredDocument
from rag.store import Store
from rag.types import LocationKind, Passage, Scope, Source
from ui import access, errors, render, state
from ui.cell_view import show_cell
from ui.opened import Opened, begin
from ui.page_cache import page_cache
from ui.page_view import show_page
from ui.text_view import show_text
from ui.transcript_view import show_transcript

QUOTE_CHARACTERS = 260
DRAWER_PIXELS = 760
HIDDEN_TEXT = "holds text that cannot be seen on its pages; it is left out of answers."
"""What others than the staff are told of hidden text."""
GONE = "This source is no longer part of the course. Ask again to get current ones."


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


def show_opened_source(store: Store, course: str, cited: Sequence[Source], staff: bool = False, own: bool = False) -> None:
    """The drawer with the source that the URL names, if it names one.

    Args:
        cited: tells which words of it an answer rests on.
        staff: the visitor may change the course, and sees what was noticed in its documents.
        own: the course is of this session alone: no link leads there.
    """
    named = state.parameter(state.SOURCE)
    begin(named)
    if named is None:
        return
    chunk_id, _, number = named.partition(".")
    passage = find_passage(store, course, chunk_id)
    title = render.label(title_of(passage) if passage else "Source", 90)

    is_still = access.watch()

    @st.dialog(title, width=DRAWER_PIXELS, position="right", on_dismiss=state.close_source)
    def drawer() -> None:
        if not is_still():
            st.rerun()
        with errors.shown(), closing(store):
            passage = find_passage(store, course, chunk_id)
            if passage is None:
                st.warning(GONE)
                return
            _show_drawer(store, passage, cited_source(passage, number, cited), staff)
            _show_actions(passage, None if own else state.link_to_source(course, passage.chunk_id, number))

    drawer()


def title_of(passage: Passage) -> str:
    """The file and the place: of a path of headings the last, as the whole path stands above the text."""
    location = passage.chunk.location
    place = location.heading[-1] if location.kind is LocationKind.HEADING and location.heading else location.label
    return f"{passage.source} · {place}"


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


def _show_drawer(store: Store, passage: Passage, source: Source | None, staff: bool) -> None:
    # Where it stands is asked of the store: a document may have been renamed since the answer.
    shown = replace(source.passage, source=passage.source, title=passage.title) if source else passage
    opened = Opened(store, store.document(passage.course, passage.source), shown, source.quote if source else "")
    _show_facts(opened.document, staff)
    if opened.quote:
        st.caption(f"Cited: {render.label(f'“{opened.quote}”', QUOTE_CHARACTERS)}")
    show_passage(opened)


def _show_facts(document: StoredDocument, staff: bool) -> None:
    """Title, material, week and dates in small print, and what was noticed when the document was read."""
    st.caption(render.label(" · ".join(described(document)), 300))
    for notice in notices(document, staff):
        st.caption(f"Note: {render.label(notice, 300)}")


def notices(document: StoredDocument, may_change: bool) -> list[str]:
    """What was noticed when a document was read. Only who may change the course sees the words: those of hidden text are among them."""
    if may_change:
        return list(document.notices)
    return [HIDDEN_TEXT] if holds_hidden_text(document) else []


def holds_hidden_text(document: StoredDocument) -> bool:
    return any("hidden text" in notice for notice in document.notices)


def described(document: StoredDocument) -> list[str]:
    """What the course says of a document, in words."""
    named = [
        document.title,
        document.material,
        f"week {document.week}" if document.week is not None else None,
        f"lecture {document.lecture}" if document.lecture is not None else None,
        document.date,
        f"due {document.due}" if document.due else None,
    ]
    return [one for one in named if one]


def show_passage(opened: Opened) -> None:
    """A passage in its surroundings, from the original where it is still what was read, else from what was stored."""
    passage = opened.passage
    if not opened.parts:
        st.warning(GONE)
        return
    try:
        data = opened.store.original(passage.course, passage.source)
    except StoreError as e:
        errors.log(e)
        st.warning("The original file is not available, or it has changed since it was read. This is the text that was stored.")
        show_text(opened)
        return
    try:
        _show_original(opened, data)
    except UnreadableDocument as e:
        errors.log(e)
        st.caption("The original cannot be shown here. This is its text.")
        show_text(opened)


def _show_original(opened: Opened, data: bytes) -> None:
    passage = opened.passage
    match passage.chunk.location.kind:
        case LocationKind.PAGE:
            show_page(opened, data, lambda: show_text(opened))
        case LocationKind.CELL:
            show_cell(opened, data)
        case LocationKind.TIME:
            show_transcript(opened, data)
        case _ if PurePosixPath(passage.source).suffix.lower() in OFFICE_FORMATS and page_cache().office is not None:
            with st.spinner("Drawing the pages…"):
                pdf = page_cache().pdf(data, passage.source, opened.store)
            show_page(opened, pdf, lambda: show_text(opened))
        case _:
            show_text(opened)


def _show_actions(passage: Passage, link: str | None) -> None:
    """What can be done with the document on show. `link` leads to the passage."""
    # A callback would run in the drawer alone: the chat below must see the new address, too.
    if st.button("Search only here", icon=":material/filter_alt:", key="search-here"):
        state.search_only_in(passage.source)
        st.rerun()
    if link is None:
        return
    with st.expander("Link to this source", icon=":material/link:"):
        st.caption("This address opens the passage for everybody who may see the course.")
        st.code(link, language=None, wrap_lines=True)
