"""What outlives one run of the page: the store and the engine for all visitors, the URL and a waiting question for one.

The URL says where a visitor is (`course`, `conversation`, `source`), so that a reload or a shared link shows the same.
"""

from __future__ import annotations

import streamlit as st

from rag.answer import Engine
from rag.config import Config
from rag.store import Store
from rag.types import Answer

COURSE = "course"
CONVERSATION = "conversation"
SOURCE = "source"
_WAITING = "waiting_question"
_PROMPTS = "prompts"
PROMPTS_KEPT = 20


@st.cache_resource(show_spinner=False)
def open_store(config: Config) -> Store:
    """The catalogue, without any model."""
    return Store.open(config.store)


@st.cache_resource(show_spinner=False)
def load_engine(config: Config) -> Engine:
    """The models and the index; takes seconds the first time."""
    return Engine.from_config(config)


def keep_prompt(conversation_id: str, position: int, answer: Answer) -> None:
    """Keeps the prompt of an answer for this session only: it holds passages that the answer does not cite."""
    kept = st.session_state.setdefault(_PROMPTS, {})
    kept[conversation_id, position] = answer
    st.session_state[_PROMPTS] = dict(list(kept.items())[-PROMPTS_KEPT:])


def kept_prompt(conversation_id: str, position: int) -> Answer | None:
    """The answer whose prompt was kept, by the position of its message."""
    return st.session_state.get(_PROMPTS, {}).get((conversation_id, position))


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


def wait_for_answer(question: str) -> None:
    """Keeps a question for the coming run of the page: an example was clicked."""
    st.session_state[_WAITING] = question


def take_waiting_question() -> str | None:
    return st.session_state.pop(_WAITING, None)
