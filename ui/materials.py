"""The course's documents: what there is, and what became of each file.

A visitor sees what is visible to him now. Who may change the course sees all of it: when a hidden document appears, what was set aside and
why, and what hidden text said; the words of hidden text are not repeated to others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

import streamlit as st

from rag.moments import ANY, now
from rag.records import StoredDocument
from rag.store import Store
from ui import changes, frame, indexing, own_files, render, sources, state
from ui.frame import Frame

ROWS = 50
"""Rows of a folder at first, and so many more at each request: each costs the browser some milliseconds."""
OPEN_FOLDERS = 40
"""A course with at most so many documents is shown with its folders open."""
SLIDES = frozenset({"pptx", "odp", "otp"})
EVERY = ""
STYLE = "<style>[class*='st-key-list-'] button, [class*='st-key-list-'] button p {text-align: left}</style>"
"""A title that needs two lines begins where the facts below it do. Constant: nothing of a document is in it."""
NO_PASSAGES: tuple[int, int | None] = (0, None)


class Status(StrEnum):
    READY = "Ready"
    NOTICED = "With notices"
    HIDDEN_TEXT = "Holds hidden text"
    WAITING = "Not visible yet"


class Act(StrEnum):
    OPEN = "Open"
    ASK = "Ask about this only"
    DELETE = "Delete…"


@dataclass(frozen=True, slots=True)
class Entry:
    """A document of the list; `first` is the id of its first passage, None when it has none."""

    document: StoredDocument
    passages: int
    first: int | None
    waiting: bool

    @property
    def status(self) -> Status:
        if self.waiting:
            return Status.WAITING
        if sources.holds_hidden_text(self.document):
            return Status.HIDDEN_TEXT
        return Status.NOTICED if self.document.notices else Status.READY

    @property
    def material(self) -> str:
        return self.document.material or "other"

    @property
    def folder(self) -> str:
        folder = PurePosixPath(self.document.source).parent.as_posix()
        return "" if folder == "." else folder


def show_page(shown: Frame) -> None:
    """The whole page."""
    frame.choose_course(shown)
    store, course = shown.place.store, shown.course
    st.header(frame.course_title(shown), anchor=False)
    may_change = shown.place.may_change(shown.visitor)
    entries = list_entries(store, course, everything=may_change)
    set_aside = store.set_aside(course) if may_change else {}
    st.markdown(small(summary(entries, len(set_aside))))
    if shown.place.own:
        st.info(own_files.WHAT_FOR, icon=":material/lock:")
    frame.offer_own_files(shown, "own-files-here")  # on a phone the sidebar is closed
    changes.delete_confirmed(shown)
    if may_change:
        indexing.show_latest(shown.place.indexer, course)
        if shown.place.own and any(entry.passages for entry in entries):
            _offer_asking(shown)
        changes.show_changes(shown, is_empty=not entries)
        _show_set_aside(shown, {source: file.reason for source, file in set_aside.items()})
    _show_list(shown, entries, may_change)
    if not (may_change and changes.show_deletion(shown)):  # one dialog at a time
        sources.show_opened_source(store, course, [], may_change, shown.place.own)


def list_entries(store: Store, course: str, everything: bool) -> list[Entry]:
    """The documents that are visible now, in order of their paths; with `everything` also those that are not yet."""
    at = ANY if everything else None
    passages = store.passages_of_documents(course, at)
    moment = now()
    return [
        Entry(one, *passages.get(one.source, NO_PASSAGES), waiting=one.visible_from is not None and one.visible_from > moment)
        for one in store.documents(course, at)
    ]


def summary(entries: Sequence[Entry], set_aside: int) -> str:
    """`12 documents · 340 passages · 1 not visible yet · 2 files set aside`."""
    parts = [indexing.counted(len(entries), "document"), indexing.counted(sum(entry.passages for entry in entries), "passage")]
    for status, words in ((Status.WAITING, "not visible yet"), (Status.HIDDEN_TEXT, "with hidden text")):
        if count := sum(entry.status is status for entry in entries):
            parts.append(f"{count:,} {words}")
    return " · ".join([*parts, f"{indexing.counted(set_aside, 'file')} set aside"] if set_aside else parts)


def _offer_asking(shown: Frame) -> None:
    """The way from one's own files to the chat."""
    if st.button("Ask about your files", key="ask-own", icon=":material/chat:", disabled=shown.place.indexer.busy):
        state.go_to_page(state.ASK, **{state.COURSE: shown.course})


# --- the list


def _show_list(shown: Frame, entries: Sequence[Entry], may_change: bool) -> None:
    if not entries:
        st.info("There are no files yet." if may_change else "Nothing of this course is visible yet.", icon=":material/folder_open:")
        return
    st.html(STYLE)
    found, filtered = _filter(entries)
    if filtered:
        st.markdown(small(f"{len(found):,} of {indexing.counted(len(entries), 'document')}"))
    folders: dict[str, list[Entry]] = {}
    for entry in found:
        folders.setdefault(entry.folder, []).append(entry)
    if list(folders) == [""]:
        _show_rows(shown, "", folders[""], may_change)
        return
    for folder, within in sorted(folders.items()):
        label = f"{render.label(folder) or 'Not in a folder'} · {len(within):,}"
        opened = filtered or len(entries) <= OPEN_FOLDERS
        # The key holds `filtered`: a filter opens all folders, and leaving it brings back what was open before.
        with st.expander(
            label, opened, key=f"folder-{shown.course}-{filtered}-{folder}", icon=":material/folder:", on_change="rerun"
        ) as place:
            if place.open:
                _show_rows(shown, folder, within, may_change)


def _filter(entries: Sequence[Entry]) -> tuple[list[Entry], bool]:
    """Those that the visitor has asked for, and whether he has asked for any."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        words = st.text_input("Name or title", key="filter-words", placeholder="Filter", live=True, type="search", width=220)
        material = _choose("Type", sorted({entry.material for entry in entries}))
        weeks = sorted({entry.document.week for entry in entries if entry.document.week is not None})
        week = _choose("Week", [str(number) for number in weeks])
        status = _choose("Status", [one.value for one in Status if any(entry.status is one for entry in entries)])
    wanted = (words or "").lower().split()
    found = [
        entry
        for entry in entries
        if all(word in f"{entry.document.source} {entry.document.title}".lower() for word in wanted)
        and material in (EVERY, entry.material)
        and week in (EVERY, str(entry.document.week))
        and status in (EVERY, entry.status)
    ]
    return found, bool(wanted or material or week or status)


def _choose(label: str, values: Sequence[str]) -> str:
    """One of the values, or EVERY; nothing is shown where there is no choice."""
    if len(values) < 2:
        return EVERY
    return st.selectbox(
        label, [EVERY, *values], key=f"filter-{label}", format_func=lambda value: value or "all", filter_mode=None, width=136
    )


def _show_rows(shown: Frame, folder: str, entries: Sequence[Entry], may_change: bool) -> None:
    key = f"rows-{shown.course}-{folder}"
    limit = st.session_state.get(key, ROWS)
    with st.container(gap="small", key=f"list-{folder}"):
        for entry in entries[:limit]:
            _show_entry(shown, entry, may_change)
        if len(entries) > limit:
            st.button(f"Show {min(ROWS, len(entries) - limit)} more", key=f"more-{folder}", on_click=_show_more, args=(key, limit + ROWS))


def _show_more(key: str, limit: int) -> None:
    st.session_state[key] = limit


def _show_entry(shown: Frame, entry: Entry, may_change: bool) -> None:
    """A document: its title, which opens a menu, and below it what is known of it."""
    document = entry.document
    title = f"**{render.label(document.title, 120)}**"
    acts = [act for act in Act if _can(act, entry, may_change)]
    with st.container(gap=None):
        if acts:
            chosen = st.menu_button(title, acts, key=f"document-{document.id}", type="tertiary", wrap=True)
            if chosen is not None:
                _act(chosen, shown, entry)
        else:
            st.markdown(title)
        st.markdown(small(" · ".join(facts(entry))))
        for line in notice_lines(entry, may_change):
            st.markdown(line)


def _can(act: Act, entry: Entry, may_change: bool) -> bool:
    return may_change if act is Act.DELETE else entry.first is not None and not entry.waiting


def _act(act: Act, shown: Frame, entry: Entry) -> None:
    match act:
        case Act.OPEN:
            assert entry.first is not None
            state.open_source(entry.first, 0)
        case Act.ASK:
            state.go_to_page(state.ASK, **{state.COURSE: shown.course, state.PATH: entry.document.source})
        case Act.DELETE:
            changes.ask_to_delete(shown, entry.document.source)


def facts(entry: Entry) -> list[str]:
    """What is known of a document, in words: file name, type, week, lecture, pages, passages."""
    document = entry.document
    named = [f"{what} {number}" for what, number in (("week", document.week), ("lecture", document.lecture)) if number is not None]
    if len(named) == 2 and document.week == document.lecture:  # where no week is named, the lecture's number stands for it
        named = named[1:]
    pages = [indexing.counted(document.pages, "slide" if document.format in SLIDES else "page")] if document.pages > 1 else []
    due = [f"due {document.due}"] if document.due else []
    return [
        PurePosixPath(document.source).name,
        entry.material,
        *named,
        *due,
        *pages,
        indexing.counted(entry.passages, "passage"),
    ]


def notice_lines(entry: Entry, may_change: bool) -> list[str]:
    """What else must be known of a document, as Markdown, each line with its kind in words."""
    lines = []
    if entry.waiting:
        moment = moment_in_words(entry.document.visible_from or "")
        lines.append(f":material/schedule: {small(f'Not visible to students before {moment}')}")
    for notice in sources.notices(entry.document, may_change):
        icon = ":material/visibility_off:" if "hidden text" in notice or notice == sources.HIDDEN_TEXT else ":material/info:"
        lines.append(f"{icon} {small(notice[:1].upper() + notice[1:])}")
    return lines


def small(text: str) -> str:
    """A text as small Markdown in full colour: what is known of a document is read as often as its title."""
    return f":small[{render.label(text, 400)}]"


def moment_in_words(moment: str) -> str:
    """`2100-01-01T09:00:00+00:00` as `2100-01-01 09:00 UTC`."""
    return f"{moment[:10]} {moment[11:16]} UTC"


# --- what was set aside


def _show_set_aside(shown: Frame, reasons: Mapping[str, str]) -> None:
    """Files that are in the folder and no part of the course, each with the reason and what to do."""
    if not reasons:
        return
    with st.expander(f"Set aside: {indexing.counted(len(reasons), 'file')}", key="set-aside", icon=":material/block:"):
        st.markdown(small("These files could not be read. Nothing of them is searched or quoted."))
        for source, reason in reasons.items():
            with st.container(gap=None):
                st.markdown(indexing.reason_words(source, reason))
                if st.button(f"Delete {render.label(PurePosixPath(source).name, 60)}…", key=f"aside-{source}", type="tertiary", wrap=True):
                    changes.ask_to_delete(shown, source)
