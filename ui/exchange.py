"""Questions and their answers as they stand in a conversation, with what can be done about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from rag import conversations
from rag.conversations import Conversation, Feedback, Message
from rag.export import answer_to_text
from rag.store import Store
from rag.types import Answer, Mode, Sentence, Source
from ui import components, errors, latency, render, sources, state

AVATARS = {"user": ":material/person:", "assistant": ":material/menu_book:"}
SHOWN_AT_FIRST = 20
"""Messages of a long conversation that are drawn before somebody asks for the earlier ones."""
NOTE_CHARACTERS = 500
_EDITED = "edited_message"
_ALL = "all_messages_of"


def show_messages(messages: Sequence[Message], conversation: Conversation, store: Store, replaced: int | None, longest: int) -> None:
    """A conversation.

    Args:
        longest: characters that a question may have.
        replaced: the message that is being asked again: it and what follows is not shown, and goes when the new answer is there.
    """
    kept = [message for message in messages if replaced is None or message.id < replaced]
    first = 0 if st.session_state.get(_ALL) == conversation.id else _first_shown(kept)
    if first:
        st.button(f"Show {first // 2} earlier questions", key="earlier", on_click=_show_all, args=(conversation.id,), type="tertiary")
    question: Message | None = None
    for message in kept[first:]:
        if message.role == "user":
            question = message
            _show_question(message, longest)
        else:
            _show_answer(message, question, conversation, store)


def _first_shown(messages: Sequence[Message]) -> int:
    """Where the messages begin that are drawn at first: the last ones, and from the question on whose answer the URL names."""
    first = max(0, len(messages) - SHOWN_AT_FIRST)
    named = [number for number, message in enumerate(messages) if str(message.id) == state.parameter(state.ANSWER)]
    return min([first, *(max(0, number - 1) for number in named)])


def bubble(role: str) -> DeltaGenerator:
    return st.chat_message(role, avatar=AVATARS[role])


def source_links(course: str, cited: Sequence[Source], conversation_id: str = "") -> dict[int, str]:
    """By the number of a source, the address that opens it."""
    at = {"course": course} | ({"conversation": conversation_id} if conversation_id else {})
    return {source.n: state.link(**at, source=state.opened(source.passage.chunk_id, source.n)) for source in cited}


def cited_places(messages: Sequence[Message], conversation: Conversation) -> dict[str, Mapping[str, str]]:
    """What `components.show_citations` is told of the sources of a conversation. The newest answer's words stand for an address."""
    places: dict[str, Mapping[str, str]] = {}
    for message in messages:
        if message.answer is None:
            continue
        links = source_links(conversation.course, message.answer.sources, conversation.id)
        for source in message.answer.sources:
            passage = source.passage
            places[links[source.n]] = {
                "number": str(source.n),
                "place": f"{passage.source} · {passage.chunk.location.label}",
                "quote": sources.quoted(source),
                "opens": state.opened(passage.chunk_id, source.n),
            }
    return places


def show_body(answer: Answer, links: Mapping[int, str]) -> None:
    """The words of a finished answer."""
    if answer.abstained:
        st.info(render.rich(answer.text), icon=":material/info:")
    else:
        st.markdown(render.sentences(answer.sentences, answer.mode, links=links))


# --- a question


def _show_question(message: Message, longest: int) -> None:
    with bubble("user"):
        if st.session_state.get(_EDITED) == message.id:
            _show_editor(message, longest)
        else:
            st.markdown(render.rich(message.content))


def _show_editor(message: Message, longest: int) -> None:
    with st.form(f"edit-{message.id}", border=False):
        changed = st.text_area("Your question", message.content, key=f"edited-{message.id}", max_chars=longest)
        with st.container(horizontal=True):
            if st.form_submit_button("Ask this instead") and changed.strip():
                st.session_state.pop(_EDITED, None)
                state.ask(changed, message.id)
                st.rerun()
            st.form_submit_button("Cancel", on_click=st.session_state.pop, args=(_EDITED, None))


def _show_all(conversation_id: str) -> None:
    st.session_state[_ALL] = conversation_id


def _edit(message_id: int) -> None:
    st.session_state[_EDITED] = message_id


# --- an answer


def _show_answer(message: Message, question: Message | None, conversation: Conversation, store: Store) -> None:
    with st.container(key=f"answer-{message.id}"), bubble("assistant"):
        if message.answer is None:
            st.markdown(render.rich(message.content))
            return
        answer, key = message.answer, str(message.id)
        show_body(answer, source_links(conversation.course, answer.sources, conversation.id))
        _show_foundation(answer, key)
        link = state.link(course=conversation.course, conversation=conversation.id, answer=message.id)
        summary = latency.summary(answer.latency, answer.completion_tokens, answer.cached)
        components.show_foot(summary, latency.stage_rows(answer.latency), answer_to_text(answer), link, f"foot-{key}")
        _show_actions(message, question, conversation, store)
        _show_details(answer, key)


def _show_foundation(answer: Answer, key: str) -> None:
    """What an answer stands on: its kind, notices, sources."""
    if answer.mode is Mode.EXTRACTIVE and not answer.abstained:
        st.caption("Quoted from the materials")
    for notice in answer.notices:
        st.caption(render.label(notice, 300))
    if answer.sources:
        with st.container(border=True, gap="xsmall", key=f"sources-{key}"):
            st.markdown("**Nearest passages**" if answer.abstained else "**Sources**")
            sources.show_sources(answer.sources, key)


def _show_actions(message: Message, question: Message | None, conversation: Conversation, store: Store) -> None:
    """Thumbs and a note, asking again, changing the question."""
    given = message.feedback
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"actions-{message.id}"):
        st.feedback(
            "thumbs",
            key=f"rating-{message.id}",
            default=None if given is None else int(given.rating > 0),
            on_change=_rate,
            args=(store, conversation, message),
        )
        if question is not None:
            st.button(
                "Ask again",
                key=f"again-{message.id}",
                icon=":material/refresh:",
                type="tertiary",
                on_click=state.ask,
                args=(question.content, question.id, True),
            )
            st.button(
                "Edit question",
                key=f"edit-question-{message.id}",
                icon=":material/edit:",
                type="tertiary",
                on_click=_edit,
                args=(question.id,),
            )
    if given is not None:
        st.text_input(
            "A note on this answer, for the course staff (optional)",
            given.note,
            key=f"note-{message.id}",
            max_chars=NOTE_CHARACTERS,
            on_change=_rate,
            args=(store, conversation, message),
        )


@errors.told
def _rate(store: Store, conversation: Conversation, message: Message) -> None:
    chosen = st.session_state[f"rating-{message.id}"]
    note = st.session_state.get(f"note-{message.id}", "")
    conversations.give_feedback(store, conversation, message.id, None if chosen is None else Feedback(1 if chosen else -1, note))


def _show_details(answer: Answer, key: str) -> None:
    """For whoever wants to know: what was left out, and the very prompt. Drawn only when opened."""
    if answer.dropped:
        with st.expander(
            "Left out: the materials do not hold this", icon=":material/block:", key=f"dropped-{key}", on_change="rerun"
        ) as left:
            if left.open:
                _show_dropped(answer.dropped)
    if answer.prompt:
        with st.expander("Prompt", icon=":material/data_object:", key=f"prompt-{key}", type="compact", on_change="rerun") as prompt:
            if prompt.open:
                _show_prompt(answer)


def _show_dropped(dropped: Sequence[Sentence]) -> None:
    for sentence in dropped:
        st.markdown(render.rich(sentence.text, "gray"))


def _show_prompt(answer: Answer) -> None:
    """The messages that the generator was given, as the characters they are made of: they hold texts of documents."""
    parts = [f"{part} {tokens} tokens" for part, tokens in answer.prompt_parts.items()]
    reused = [f"{answer.reused_tokens} of them read for an earlier question"] if answer.reused_tokens else []
    st.caption(render.label(" · ".join(parts + reused)))
    for turn in answer.prompt:
        st.caption(render.label(turn.role))
        st.code(turn.content, language=None, wrap_lines=True)
