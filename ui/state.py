"""What outlives one run of the page: the store and the engine for all visitors, the URL and a waiting question for one.

The URL says where a visitor is (`course`, `conversation`, `source`), so that a reload or a shared link shows the same.
"""

from __future__ import annotations

import uuid
from typing import NoReturn

import streamlit as st

from rag.config import Config
from rag.engine import Engine
from rag.store import Store
from ui.indexing import Indexer

COURSE = "course"
CONVERSATION = "conversation"
SOURCE = "source"
PATH = "path"
ASK, MATERIALS = "ask", "materials"
"""Addresses of pages."""
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


@st.cache_resource(show_spinner=False)
def indexer(config: Config) -> Indexer:
    """What indexes the shared catalogue."""
    return Indexer()


def parameter(name: str) -> str | None:
    return st.query_params.get(name)


def go_to_course(course: str) -> None:
    st.query_params.from_dict({COURSE: course})


def go_to_conversation(course: str, conversation_id: str) -> None:
    st.query_params.from_dict({COURSE: course, CONVERSATION: conversation_id})


def go_to_page(url_path: str, **parameters: str) -> NoReturn:
    """Goes on with another page of the app, in the same session."""
    st.switch_page(st.Page(_nothing, url_path=url_path, default=url_path == ASK), query_params=parameters)


def _nothing() -> None:
    """Stands for a page that is known by its address."""


def open_source(chunk_id: int, number: int) -> None:
    """Opens a passage for the words that citation `number` rests on."""
    st.query_params[SOURCE] = f"{chunk_id}.{number}"


def close_source() -> None:
    st.query_params.pop(SOURCE, None)


def wait_for_answer(question: str) -> None:
    """Keeps a question for the coming run of the page: an example was clicked."""
    st.session_state[_WAITING] = question


def take_waiting_question() -> str | None:
    return st.session_state.pop(_WAITING, None)


def asker() -> str:
    """Names this visitor's session, and nothing about the visitor: sessions take turns at the generator."""
    return st.session_state.setdefault(_ASKER, uuid.uuid4().hex)
