"""The chat page: choose a course, ask, read the answer as it comes, open what it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from rag import conversations
from rag.answer import stream_answer
from rag.config import BUNDLED
from rag.conversations import Conversation, Message
from rag.engine import Engine
from rag.errors import LecternError
from rag.events import Draft, Found, Written
from rag.records import Course
from rag.store import Store
from rag.types import Answer, Mode, Scope, Sentence, Source, Turn, Waiting
from ui import errors, frame, latency, render, settings, sources, state
from ui.access import Visitor
from ui.frame import Frame

EXAMPLES = 3
AVATARS = {"user": ":material/person:", "assistant": ":material/menu_book:"}


def show_page(shown: Frame) -> None:
    """The whole page."""
    config, store, visitor = shown.config, shown.place.store, shown.visitor
    conversation = _conversation_in_url(store, visitor)
    name = conversation.course if conversation else shown.course
    engine_line = _show_sidebar(shown, conversation)
    course = store.course(name)
    st.header(render.label(course.title or course.name), anchor=False)
    missing = state.parameter(state.CONVERSATION) is not None and conversation is None
    if missing:
        st.warning("That conversation has been deleted. You can start a new one below.")
    messages = conversations.messages(store, conversation) if conversation else []
    _show_messages(messages)
    asked = st.chat_input("Ask about this course", key="question", max_chars=config.question_characters, submit_mode="stop")
    question = asked or state.take_waiting_question()
    place = st.container()
    if not messages and question is None:
        with place:
            _show_welcome(store, course)
    with place, st.spinner("Loading the models…"):
        engine = shown.place.open_engine()
    engine_line.caption(describe_engine(engine))
    with st.sidebar:
        settings.show_settings(engine.config)
    engine = settings.for_session(engine)
    if question:
        with place:
            _answer(question, course, engine, store, conversation, visitor)
    sources.show_opened_source(store, course.name, _cited(messages))


def _conversation_in_url(store: Store, visitor: Visitor) -> Conversation | None:
    wanted = state.parameter(state.CONVERSATION)
    return conversations.find(store, wanted, visitor.owner) if wanted else None


def _cited(messages: Sequence[Message]) -> list[Source]:
    return [source for message in messages if message.answer for source in message.answer.sources]


# --- beside


def _show_sidebar(shown: Frame, conversation: Conversation | None) -> DeltaGenerator:
    """Course, conversations, what answers; returns the place for the last, which is known once the models are loaded."""
    store, name = shown.place.store, shown.course
    frame.choose_course(shown)
    with st.sidebar:
        st.button("New conversation", icon=":material/edit_square:", key="new", width="stretch", on_click=state.go_to_course, args=(name,))
        _list_conversations(store, name, shown.visitor, conversation)
        if conversation is not None:
            _offer_deletion(store, conversation)
        st.divider()
        return st.empty()


def _list_conversations(store: Store, course: str, visitor: Visitor, current: Conversation | None) -> None:
    earlier = conversations.list_conversations(store, course, visitor.owner)
    if not earlier:
        return
    st.caption("Conversations")
    with st.container(gap=None, key="conversations"):
        for one in earlier:
            st.button(
                render.label(one.title),
                key=f"conversation-{one.id}",
                type="secondary" if current and one.id == current.id else "tertiary",
                on_click=state.go_to_conversation,
                args=(course, one.id),
                width="stretch",
            )


def _offer_deletion(store: Store, conversation: Conversation) -> None:
    with st.popover("Delete this conversation", icon=":material/delete:", width="stretch"):
        st.write("Its questions and answers will be gone.")
        st.button("Delete it", key="delete", on_click=_delete, args=(store, conversation))


def _delete(store: Store, conversation: Conversation) -> None:
    try:
        conversations.delete(store, conversation.id)
    except LecternError as e:
        errors.show_error(e)
    else:
        state.go_to_course(conversation.course)


def describe_engine(engine: Engine) -> str:
    """What answers, in one line."""
    if engine.chat_model is None:
        return "No generator is loaded: answers are quoted from the materials."
    if host := urlsplit(engine.config.base_url).netloc:
        name = f"{engine.config.generator} at {host}, where questions and passages are sent,"
    else:
        name = "SmolLM2, on this machine" if engine.config.generator == BUNDLED else engine.config.generator
    return f"Answers are written by {render.label(name)} and checked against the materials. It can be wrong: open the sources."


# --- the conversation


def _show_welcome(store: Store, course: Course) -> None:
    """What the page is for, and a few questions to begin with."""
    st.markdown(
        "Ask about the lectures, labs, assignments or rules. Every sentence of an answer carries the number of the passage it stands on; "
        "open it to see the very page. When the materials do not say, Lectern says so."
    )
    with st.container(horizontal=True, key="examples"):
        for number, question in enumerate(example_questions([document.title for document in store.documents(course.name, at=None)])):
            st.button(render.label(question), key=f"example-{number}", on_click=state.wait_for_answer, args=(question,))


def example_questions(titles: Sequence[str]) -> list[str]:
    """Questions made of titles, spread over the course: `Lecture 2: Tokenization` becomes `Explain “Tokenization”.`"""
    named = [title for title in titles if ":" in title]
    topics = list(dict.fromkeys(title.rsplit(":", 1)[-1].strip() for title in (named if len(named) >= EXAMPLES else titles)))
    count = min(EXAMPLES, len(topics))
    return [f"Explain “{topics[(2 * index + 1) * len(topics) // (2 * count)]}”." for index in range(count)]


def _show_messages(messages: Sequence[Message]) -> None:
    for number, message in enumerate(messages):
        with _bubble(message.role):
            if message.answer is None:
                st.markdown(render.rich(message.content))
            else:
                _show_body(message.answer)
                _show_foundation(message.answer, str(number))
                _show_prompt(message.answer)


def _bubble(role: str) -> DeltaGenerator:
    return st.chat_message(role, avatar=AVATARS[role])


def _show_body(answer: Answer) -> None:
    """The words of a finished answer."""
    if answer.abstained:
        st.info(render.rich(answer.text), icon=":material/info:")
    else:
        st.markdown(render.sentences(answer.sentences, answer.mode))


def _show_foundation(answer: Answer, key: str) -> None:
    """What stands under an answer: its kind, notices, sources and how long it took."""
    if answer.mode is Mode.EXTRACTIVE and not answer.abstained:
        st.caption("Quoted from the materials")
    if answer.cached:
        st.caption("From the cache: an earlier answer to the same question")
    for notice in answer.notices:
        st.caption(render.label(notice, 300))
    if answer.sources:
        with st.container(border=True, gap="xsmall", key=f"sources-{key}"):
            st.markdown("**Nearest passages**" if answer.abstained else "**Sources**")
            sources.show_sources(answer.sources, key)
    _show_dropped(answer.dropped)
    latency.show_latency(answer.latency, answer.completion_tokens, key)


def _show_prompt(answer: Answer) -> None:
    """The very messages that the generator was given, as the characters they are made of: they hold texts of documents."""
    if not answer.prompt:
        return
    with st.expander("Prompt", icon=":material/data_object:"):
        parts = [f"{part} {tokens} tokens" for part, tokens in answer.prompt_parts.items()]
        reused = [f"{answer.reused_tokens} of them read for an earlier question"] if answer.reused_tokens else []
        st.caption(render.label(" · ".join(parts + reused)))
        for turn in answer.prompt:
            st.caption(render.label(turn.role))
            st.code(turn.content, language=None, wrap_lines=True)


def _show_dropped(dropped: Sequence[Sentence]) -> None:
    """What the generator wrote and the materials do not hold, for whoever wants to know."""
    if dropped:
        with st.expander("Left out: the materials do not hold this", icon=":material/block:"):
            for sentence in dropped:
                st.markdown(render.rich(sentence.text, "gray"))


def _answer(question: str, course: Course, engine: Engine, store: Store, conversation: Conversation | None, visitor: Visitor) -> None:
    """Answers on the page while it is written, then keeps the exchange. Stopping the script closes the stream, and nothing is kept."""
    with _bubble("user"):
        st.markdown(render.rich(question))
    history = conversations.turns(conversations.messages(store, conversation)) if conversation else []
    revision = engine.searcher.store.revision()
    with _bubble("assistant"):
        try:
            answer = _stream(question, Scope(course.name), engine, history)
        finally:
            engine.searcher.store.close()
    if conversation is None or conversations.find(store, conversation.id, visitor.owner) is None:  # deleted in another tab meanwhile
        conversation = conversations.start(store, course.name, question, visitor.owner)
    conversations.add_exchange(store, conversation.id, answer, revision)
    state.go_to_conversation(course.name, conversation.id)
    st.rerun()


def _stream(question: str, scope: Scope, engine: Engine, history: Sequence[Turn]) -> Answer:
    """Shows an answer growing in one place, and returns it."""
    text, status = st.empty(), st.empty()
    status.caption("Searching the materials…")
    written: tuple[Sentence, ...] = ()
    drafting = False
    with closing(stream_answer(question, scope, engine, history, state.asker())) as events:
        for event in events:
            match event:
                case Waiting():
                    status.caption(in_line(event))
                case Found(hits):
                    read = [hit.passage.source for hit in hits[: engine.config.sources]]
                    status.caption(reading(read))
                case Draft(draft):
                    if not drafting:
                        drafting = True
                        status.caption("Gray words are being written and not yet checked against the materials.")
                    text.markdown(render.sentences(written, Mode.GENERATED, draft))
                case Written(sentences):
                    written = sentences
                    text.markdown(render.sentences(written, Mode.GENERATED))
                case Answer():
                    status.empty()
                    return event
    raise AssertionError("the stream ended without an answer")


def in_line(waiting: Waiting) -> str:
    """`Waiting for a turn: 3rd in line, about 6 s`."""
    n = waiting.position
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    expected = "" if waiting.expected_s is None else f", about {max(1, round(waiting.expected_s))} s"
    return f"Waiting for a turn: {n}{ending} in line{expected}"


def reading(read: Sequence[str]) -> str:
    """`Reading 4 passages: a.pdf, b.md`."""
    names = ", ".join(dict.fromkeys(read))
    return f"Reading {len(read)} passage{'' if len(read) == 1 else 's'}: {render.label(names)}" if read else "Reading…"
