"""The visitor's conversations in the sidebar: begin, find, open, rename, take along, delete."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import streamlit as st

from rag import conversations
from rag.conversations import Conversation, Message
from rag.export import conversation_to_json, conversation_to_markdown
from rag.store import Store
from ui import errors, render, state
from ui.frame import Frame

SEARCH_FROM = 5
"""Conversations from which on they can be searched."""
LISTED = 50
LONGEST_WORDS = 100
_SEARCH = "conversation_words"


def show_conversations(shown: Frame, current: Conversation | None, messages: Sequence[Message]) -> None:
    """Everything about conversations, `messages` those of the current one; to be called in the sidebar."""
    store, course, owner = shown.place.store, shown.course, shown.visitor.owner
    st.button("New conversation", icon=":material/edit_square:", key="new", width="stretch", on_click=state.go_to_course, args=(course,))
    if current is not None:
        _show_current(store, current, messages, shown.chosen.title)
    words = st.session_state.get(_SEARCH, "")
    found = conversations.list_conversations(store, course, owner, words, LISTED + 1)
    if not found and not words:
        return
    st.caption("Conversations")
    if words or len(found) >= SEARCH_FROM:
        st.text_input(
            "Search conversations", key=_SEARCH, max_chars=LONGEST_WORDS, placeholder="Search conversations", label_visibility="collapsed"
        )
    if not found:
        st.caption("None of your conversations holds these words.")
    with st.container(gap=None, key="conversations"):
        for one in found[:LISTED]:
            st.button(
                render.label(one.title),
                key=f"conversation-{one.id}",
                type="secondary" if current and one.id == current.id else "tertiary",
                on_click=state.go_to_conversation,
                args=(course, one.id),
                width="stretch",
                wrap=False,
            )
    if len(found) > LISTED:
        st.caption(f"The newest {LISTED}; a search finds the others.")


def _show_current(store: Store, conversation: Conversation, messages: Sequence[Message], course_title: str) -> None:
    with st.popover("This conversation", icon=":material/more_horiz:", width="stretch"):
        key = f"title-{conversation.id}"
        st.session_state[key] = conversation.title  # it may have been renamed in another tab
        st.text_input(
            "Title",
            key=key,
            max_chars=conversations.TITLE_CHARACTERS,
            on_change=_rename,
            args=(store, conversation.id, key),
        )
        name = re.sub(r"[^\w-]+", "-", conversation.title).strip("-") or "conversation"
        st.download_button(
            "Export as Markdown",
            lambda: conversation_to_markdown(conversation, messages, course_title),
            f"{name}.md",
            "text/markdown",
            key="export-markdown",
            on_click="ignore",
            width="stretch",
        )
        st.download_button(
            "Export as JSON",
            lambda: json.dumps(conversation_to_json(conversation, messages, course_title), ensure_ascii=False, indent=1),
            f"{name}.json",
            "application/json",
            key="export-json",
            on_click="ignore",
            width="stretch",
        )
        st.caption("Deleting takes its questions, answers and your thumbs away for good.")
        st.button(
            "Delete it",
            key="delete",
            icon=":material/delete:",
            on_click=_delete,
            args=(store, conversation),
            width="stretch",
        )


@errors.told
def _rename(store: Store, conversation_id: str, key: str) -> None:
    conversations.rename(store, conversation_id, st.session_state[key])


@errors.told
def _delete(store: Store, conversation: Conversation) -> None:
    conversations.delete(store, conversation.id)
    state.go_to_course(conversation.course)
