"""What outlives one run of the page: the store and the engine for all visitors, the URL and a waiting question for one.

The URL says where a visitor is (`course`, `conversation`, `answer`, `source`) and what the chat is narrowed to, so that a reload or a
shared link shows the same.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import NoReturn
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

import streamlit as st
from langchain_core.language_models import BaseChatModel

from rag.config import ACCESS, Config
from rag.engine import Engine
from rag.generate import load_chat_model
from rag.store import Store
from ui.indexing import Indexer

COURSE = "course"
CONVERSATION = "conversation"
SOURCE = "source"
ANSWER = "answer"
PATH, MATERIAL, WEEK = FILTERS = ("path", "material", "week")
"""What the chat is narrowed to."""
ASK, MATERIALS = "ask", "materials"
"""Addresses of pages."""
_loaded: WeakValueDictionary[Config, Engine] = WeakValueDictionary()
_DEFAULTS = Config()
_OF_PAGE = (*ACCESS, "upload_mb", "own_files", "own_files_mb", "own_files_sessions")
"""Settings that the page reads afresh at each run."""
_CLIENT = (
    *("base_url", "generator", "api_key_variable"),
    *("connect_timeout_s", "timeout_s", "token_timeout_s", "server_retries", "breaker_failures", "breaker_open_s"),
)
"""Settings that the client of a generator's server depends on."""
_WAITING = "waiting_question"
_ANSWERED = "answered_question"
_ASKER = "asker"


def _directory(config: Config) -> str:
    return str(config.store.resolve())


def _of_models(config: Config) -> Config:
    """The settings without those that change nothing of what is loaded: who may enter, how much may be added."""
    return config.replace(**{name: getattr(_DEFAULTS, name) for name in _OF_PAGE})


def _named(config: Config) -> dict[str, object]:
    return asdict(_of_models(config))


@st.cache_resource(show_spinner=False, hash_funcs={Config: _directory})
def open_store(config: Config) -> Store:
    """The catalogue, without any model."""
    return Store.open(config.store)


@st.cache_resource(show_spinner=False, max_entries=1, hash_funcs={Config: _named})
def load_engine(config: Config) -> Engine:
    """The models and the index; takes seconds the first time, and the generator goes on loading behind the page.

    With other settings another takes its place, and the former goes with the last answer that it is writing.
    """
    engine = Engine.from_config(_of_models(config))
    engine.load_in_background()
    _loaded[_of_models(config)] = engine
    return engine


def engine_if_loaded(config: Config) -> Engine | None:
    """The shared engine, if a visitor has had it loaded already."""
    return _loaded.get(_of_models(config))


@dataclass(frozen=True, slots=True)
class Request:
    """A question for the coming run of the page.

    `in_place_of` is the message of an earlier one that it replaces, with all that followed; `again`: the same words, for another answer;
    `conversation` is where it was asked.
    """

    question: str
    in_place_of: int | None = None
    again: bool = False
    conversation: str | None = None


def connect(config: Config) -> BaseChatModel | None:
    """A generator's server that a visitor has chosen. Whatever else he sets, its client stays, and knows whether the server failed.

    Raises:
        ConfigError: its address is none.
    """
    return _connect(Config(**{name: getattr(config, name) for name in _CLIENT}))


@st.cache_resource(show_spinner=False, max_entries=8)
def _connect(config: Config) -> BaseChatModel | None:
    return load_chat_model(config)


@st.cache_resource(show_spinner=False, hash_funcs={Config: _directory})
def indexer(config: Config) -> Indexer:
    """What indexes the shared catalogue."""
    return Indexer()


def parameter(name: str) -> str | None:
    return st.query_params.get(name)


def link(**parameters: str | int) -> str:
    """An address of this page, relative: `?course=optics&source=12.1`."""
    return f"?{urlencode(parameters, quote_via=quote)}"


def go_to_course(course: str) -> None:
    st.query_params.from_dict({COURSE: course})


def go_to_conversation(course: str, conversation_id: str) -> None:
    """Shows a conversation; what the chat is narrowed to stays."""
    kept = {name: value for name in FILTERS if (value := parameter(name))}
    st.query_params.from_dict({COURSE: course, CONVERSATION: conversation_id} | kept)


def narrow(name: str, value: str | int | None) -> None:
    """Narrows the chat by one of FILTERS; None takes that filter away."""
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = str(value)


def clear_filters() -> None:
    for name in FILTERS:
        st.query_params.pop(name, None)


def go_to_page(url_path: str, **parameters: str) -> NoReturn:
    """Goes on with another page of the app, in the same session."""
    st.switch_page(st.Page(_nothing, url_path=url_path, default=url_path == ASK), query_params=parameters)


def _nothing() -> None:
    """Stands for a page that is known by its address."""


def open_source(chunk_id: int, number: int) -> None:
    """Opens a passage for the words that citation `number` rests on."""
    open_place(opened(chunk_id, number))


def opened(chunk_id: int, number: int) -> str:
    """A passage and the number it is cited under, as they stand in the URL: `12.1`."""
    return f"{chunk_id}.{number}"


def open_place(place: str) -> None:
    st.query_params[SOURCE] = place


def close_source() -> None:
    st.query_params.pop(SOURCE, None)


def ask(question: str, in_place_of: int | None = None, again: bool = False) -> None:
    """Keeps a question for the coming run of the page: a button was pressed."""
    st.session_state[_WAITING] = Request(question, in_place_of, again, parameter(CONVERSATION))


def search_only_in(source: str) -> None:
    """Narrows the chat to one document, and closes what is open; a conversation goes on."""
    clear_filters()
    narrow(PATH, source)
    close_source()


def link_to_source(course: str, chunk_id: int, number: str) -> str:
    """The address that opens a passage for anybody of the course: no conversation is in it."""
    page = (st.context.url or "").partition("?")[0].rstrip("/")
    return f"{page}/" + link(course=course, source=f"{chunk_id}.{number}" if number else chunk_id)


def take_request() -> Request | None:
    """The question that waits; none where another conversation has been opened meanwhile."""
    request = st.session_state.pop(_WAITING, None)
    return request if request is not None and request.conversation == parameter(CONVERSATION) else None


def begin(request: Request) -> None:
    """Notes that a question is being answered."""
    st.session_state[_ANSWERED] = request


def finish() -> Request | None:
    """Notes that nothing is being answered any more; returns what was."""
    return st.session_state.pop(_ANSWERED, None)


def asker() -> str:
    """Names this visitor's session, and nothing about the visitor: sessions take turns at the generator."""
    return st.session_state.setdefault(_ASKER, uuid.uuid4().hex)
