"""What the chat is narrowed to: a kind of material, a week, a folder or one document. It stands in the URL, so that a link keeps it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import streamlit as st

from rag.filters import Filters, filters_of
from rag.store import Store
from rag.types import Scope
from ui import render, state
from ui.frame import Frame

WORDS = {state.MATERIAL: "Material", state.WEEK: "Week", state.PATH: "Document or folder"}


def chosen_scope(course: str) -> Scope:
    """The course, narrowed to what the URL says. A week that is no number of a week narrows nothing."""
    week = state.parameter(state.WEEK) or ""
    number = int(week) if re.fullmatch(r"[0-9]{1,3}", week) else None
    return Scope(course, state.parameter(state.PATH), state.parameter(state.MATERIAL), number)


def in_words(scope: Scope) -> str:
    """`syllabus, week 3, lectures/02.pdf`; empty when nothing is narrowed."""
    return ", ".join(filter(None, (scope.material, None if scope.week is None else f"week {scope.week}", scope.path)))


def show_filters(shown: Frame, scope: Scope) -> None:
    """The choices, in the sidebar; none where there is nothing to choose from."""
    store = shown.place.store
    there = _filters(store, str(store.directory), store.revision(), store.settle(Scope(shown.course)))
    with st.expander("Search only in …", icon=":material/filter_alt:", expanded=bool(in_words(scope)), key="filters"):
        _choose(state.MATERIAL, there.materials, scope.material)
        _choose(state.WEEK, there.weeks, scope.week, str)
        _choose(state.PATH, [*there.folders, *there.documents], scope.path)
        st.button("Search everything", key="search-everything", disabled=not in_words(scope), on_click=state.clear_filters, width="stretch")


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _filters(_store: Store, directory: str, revision: int, scope: Scope) -> Filters:
    """Kept for a minute, as `chat._first_questions` is: in a course of 5,000 documents they take 80 ms, at every run of the page."""
    return filters_of(_store, scope.course, scope.at)


def show_narrowed(scope: Scope) -> None:
    """Says above the questions what the chat is narrowed to, with the way out."""
    if words := in_words(scope):
        with st.container(horizontal=True, vertical_alignment="center", key="narrowed"):
            st.caption(f"Searching only in: {render.label(words)}", width="content")
            st.button("Search everything", key="widen", type="tertiary", icon=":material/close:", on_click=state.clear_filters)


def _choose(name: str, options: Sequence[str] | Sequence[int], now: str | int | None, shown: Callable[[int], str] = str) -> None:
    if not options:
        return
    key = f"filter-{name}"
    st.session_state[key] = now if now in options else None  # the URL says what is chosen
    st.selectbox(WORDS[name], options, key=key, format_func=shown, placeholder="Any", on_change=_narrow, args=(name, key))


def _narrow(name: str, key: str) -> None:
    state.narrow(name, st.session_state[key])
