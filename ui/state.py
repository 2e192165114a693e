"""What outlives one run of the page: the store and the engine for all visitors, the URL and a waiting question for one.

The URL says where a visitor is (`course`, `conversation`, `source`), so that a reload or a shared link shows the same.
"""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

import streamlit as st

from rag.config import Config
from rag.engine import Engine
from rag.store import Store

COURSE = "course"
CONVERSATION = "conversation"
SOURCE = "source"
PATH = "path"
_WAITING = "waiting_question"
_ASKER = "asker"


@st.cache_resource(show_spinner=False)
def open_store(config: Config) -> Store:
    """The catalogue, without any model."""
    return Store.open(config.store)


@st.cache_resource(show_spinner=False)
def load_engine(config: Config) -> Engine:
    """The models and the index; takes seconds the first time, and the generator goes on loading behind the page."""
    engine = Engine.from_config(config)
    engine.load_in_background()
    return engine


def parameter(name: str) -> str | None:
    return st.query_params.get(name)


def go_to_course(course: str) -> None:
    st.query_params.from_dict({COURSE: course})


def go_to_conversation(course: str, conversation_id: str) -> None:
    st.query_params.from_dict({COURSE: course, CONVERSATION: conversation_id})


def open_source(chunk_id: int, number: int) -> None:
    """Opens a passage for the words that citation `number` rests on."""
    st.query_params[SOURCE] = f"{chunk_id}.{number}"


def close_source() -> None:
    st.query_params.pop(SOURCE, None)


def search_only_in(course: str, source: str) -> None:
    """Narrows the chat to one document, and closes what is open; a conversation goes on."""
    conversation = parameter(CONVERSATION)
    st.query_params.from_dict({COURSE: course, **({CONVERSATION: conversation} if conversation else {}), PATH: source})


def link_to_source(course: str, chunk_id: int, number: str) -> str:
    """The address that opens a passage for anybody of the course: no conversation is in it."""
    page = (st.context.url or "").partition("?")[0]
    return f"{page}?{urlencode({COURSE: course, SOURCE: f'{chunk_id}.{number}' if number else str(chunk_id)})}"


def wait_for_answer(question: str) -> None:
    """Keeps a question for the coming run of the page: an example was clicked."""
    st.session_state[_WAITING] = question


def take_waiting_question() -> str | None:
    return st.session_state.pop(_WAITING, None)


def asker() -> str:
    """Names this visitor's session, and nothing about the visitor: sessions take turns at the generator."""
    return st.session_state.setdefault(_ASKER, uuid.uuid4().hex)
