"""The chat page: ask, read the answer as it comes, open what it stands on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import streamlit as st

from rag import conversations
from rag.answer import stream_answer
from rag.config import BUNDLED
from rag.conversations import Conversation, Message
from rag.engine import Engine
from rag.events import Draft, Found, Written
from rag.followups import suggest_first_questions, suggest_followups
from rag.remote import host_of
from rag.store import Store
from rag.types import Answer, Mode, Scope, Sentence, Source, Turn, Waiting
from ui import components, conversation_list, exchange, filters, frame, render, settings, sources, state
from ui.frame import Frame
from ui.state import Request

TEMPERATURE_AGAIN = 0.7
"""What a question asked again is generated with where the setting is greedy: that would write the very same."""


@dataclass(frozen=True, slots=True)
class _Chat:
    """What the parts of this page share. `conversation` is None until the first answer is kept."""

    shown: Frame
    conversation: Conversation | None
    messages: Sequence[Message]
    scope: Scope

    @property
    def store(self) -> Store:
        return self.shown.place.store

    def before(self, message_id: int | None) -> list[Turn]:
        """The messages as history for the next question: those before one that is replaced."""
        return conversations.turns([message for message in self.messages if message_id is None or message.id < message_id])


def show_page(shown: Frame) -> None:
    """The whole page; what needs no model is drawn before the models are loaded."""
    chat = _open_chat(shown)
    frame.choose_course(shown)
    with st.sidebar:
        filters.show_filters(shown, chat.scope)
        knobs = st.container()
        conversation_list.show_conversations(shown, chat.conversation, chat.messages)
        engine_line = st.empty()
    st.header(frame.course_title(shown), anchor=False)
    if chat.conversation is None and state.parameter(state.CONVERSATION) is not None:
        st.warning("That conversation is not here: it has been deleted, or it is another reader's. You can start a new one below.")
    filters.show_narrowed(chat.scope)
    request = _asked(shown)
    if chat.conversation is not None:
        replaced = request.in_place_of if request else None
        exchange.show_messages(chat.messages, chat.conversation, chat.store, replaced, shown.config.question_characters)
    place = st.container()
    if not chat.messages and request is None:
        with place:
            _show_welcome(chat)
    with place, st.spinner("Loading the models. You can ask already…", show_time=True):
        engine = shown.place.open_engine()
    with knobs:
        settings.show_settings(engine.config, shown.visitor)
    engine = settings.for_session(engine, shown.visitor)
    engine_line.caption(describe_engine(engine))
    with place:
        if request is not None:
            _answer(request, chat, engine)
        else:
            _tell_of_stopped(chat)
            if chat.messages:
                _offer_followups(chat, engine)
    if chat.conversation is not None:
        cited = exchange.cited_places(chat.messages, chat.conversation)
        components.show_citations(cited, state.parameter(state.ANSWER), state.open_place)
    sources.show_opened_source(chat.store, shown.course, _cited(chat.messages), shown.place.may_change(shown.visitor), shown.place.own)


def _open_chat(shown: Frame) -> _Chat:
    store, wanted = shown.place.store, state.parameter(state.CONVERSATION)
    conversation = conversations.find(store, wanted, shown.visitor.owner) if wanted else None
    if conversation is not None and conversation.course != shown.course:
        conversation = None
    return _Chat(
        shown, conversation, conversations.messages(store, conversation) if conversation else [], filters.chosen_scope(shown.course)
    )


def _asked(shown: Frame) -> Request | None:
    longest = shown.config.question_characters
    asked = st.chat_input("Ask about this course", key="question", max_chars=longest, submit_mode="stop")
    return Request(asked, conversation=state.parameter(state.CONVERSATION)) if asked else state.take_request()


def _cited(messages: Sequence[Message]) -> list[Source]:
    return [source for message in messages if message.answer for source in message.answer.sources]


def describe_engine(engine: Engine) -> str:
    """What answers, in one line."""
    if engine.chat_model is None:
        return "No generator is loaded: answers are quoted from the materials."
    if host := host_of(engine.config.base_url):
        name = f"{engine.config.generator} at {host}, where questions and passages are sent,"
    else:
        name = "SmolLM2, on this machine" if engine.config.generator == BUNDLED else engine.config.generator
    return f"Answers are written by {render.label(name)} and checked against the materials. It can be wrong: open the sources."


# --- what to ask


def _show_welcome(chat: _Chat) -> None:
    """What the page is for, and a few questions to begin with."""
    st.markdown(
        "Ask about the lectures, labs, assignments or rules. Every sentence of an answer carries the number of the passage it stands on; "
        "open it to see the very page. When the materials do not say, Lectern says so."
    )
    _show_questions(_first_questions(chat.store, *_state_of(chat)), "example")


def _state_of(chat: _Chat) -> tuple[str, int, Scope]:
    """Of what suggestions are made: while it is the same, so are they.

    The directory names the store: a visitor's own files lie in one that nobody else may see.
    """
    return str(chat.store.directory), chat.store.revision(), chat.store.settle(chat.scope)


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _first_questions(_store: Store, directory: str, revision: int, scope: Scope) -> list[str]:
    """Kept for a minute: in a course of thousands of documents they take up to .3 s, at every run of the page."""
    return suggest_first_questions(_store, scope)


@st.cache_data(ttl=60, max_entries=256, show_spinner=False)
def _followups(_chat: _Chat, message: int, directory: str, revision: int, scope: Scope) -> list[str]:
    """After the last message, which has an answer. Kept as the first questions are; messages keep their numbers for ever."""
    last = _chat.messages[-1].answer
    assert last is not None
    return suggest_followups(last, _chat.before(None), scope, _chat.store)


def _offer_followups(chat: _Chat, engine: Engine) -> None:
    """Questions that may come next. Their passages are looked for while the answer is read."""
    message = chat.messages[-1]
    if message.answer is None:
        return
    questions = _followups(chat, message.id, *_state_of(chat))
    if questions:
        st.caption("You might ask next")
        _show_questions(questions, "followup")
        engine.prepare(questions, chat.scope, chat.before(None), state.asker())


def _show_questions(questions: Sequence[str], key: str) -> None:
    with st.container(horizontal=True, key=f"{key}s"):
        for number, question in enumerate(questions):
            st.button(render.label(question), key=f"{key}-{number}", on_click=state.ask, args=(question,), wrap=True)


# --- answering


def _answer(request: Request, chat: _Chat, engine: Engine) -> None:
    """Answers on the page while it is written, then keeps the exchange. Stopping the script closes the stream, and nothing is kept."""
    question = request.question
    with exchange.bubble("user"):
        st.markdown(render.rich(question))
    revision = engine.searcher.store.revision()
    state.begin(request)
    with exchange.bubble("assistant"):
        try:
            answer = _stream(question, chat, _another(engine) if request.again else engine, chat.before(request.in_place_of))
        finally:
            engine.searcher.store.close()
    replaced = None if request.in_place_of is None else (request.in_place_of, chat.messages[-1].id)
    place = chat.conversation or (chat.shown.course, chat.shown.visitor.owner)
    conversation = conversations.keep_exchange(chat.store, place, answer, revision, replaced)
    state.finish()
    state.go_to_conversation(chat.shown.course, conversation.id)
    st.rerun()


def _tell_of_stopped(chat: _Chat) -> None:
    """Says of an answer that was stopped or failed that nothing of it was kept, once."""
    stopped = state.finish()
    if stopped is not None and stopped.conversation == state.parameter(state.CONVERSATION):
        with st.container(horizontal=True, vertical_alignment="center", key="stopped"):
            st.caption(f"Not finished, and nothing of it was kept: {render.label(stopped.question, 80)}", width="content")
            args = (stopped.question, stopped.in_place_of, stopped.again)
            st.button("Ask it again", key="ask-stopped", icon=":material/refresh:", type="tertiary", on_click=state.ask, args=args)


def _another(engine: Engine) -> Engine:
    """The engine set to write something else than before, where it writes."""
    changes = {"seed": random.randrange(2**31), "temperature": engine.config.temperature or TEMPERATURE_AGAIN}
    return replace(engine, config=engine.config.adjusted(**changes))


def _stream(question: str, chat: _Chat, engine: Engine, history: Sequence[Turn]) -> Answer:
    """Shows an answer growing in one place, and returns it."""
    text, status = st.empty(), st.empty()
    status.caption("Searching the materials…")
    written: tuple[Sentence, ...] = ()
    links: dict[int, str] = {}
    drafting = False
    with closing(stream_answer(question, chat.scope, engine, history, state.asker())) as events:
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
                        status.caption("Gray words are not yet checked against the materials.")
                    text.markdown(render.sentences(written, Mode.GENERATED, draft, links))
                case Written(sentences, cited):
                    written, links = sentences, exchange.source_links(chat.shown.course, cited)
                    text.markdown(render.sentences(written, Mode.GENERATED, links=links))
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
