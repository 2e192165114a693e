"""The settings of a visitor: how the next answers are written. They last as long as the session and change nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from rag.config import NONE, Config
from rag.engine import Engine
from rag.errors import ConfigError
from rag.presets import length_names, preset_names
from rag.prompts import AUTO, LANGUAGES, language_name
from ui import errors, render, state
from ui.access import Visitor

_CHANGES = "chosen_settings"
AS_SERVED = "as it is set up"
SERVERS_OWN = frozenset({"large-server"})
"""Presets for whoever runs Lectern."""
MOST_TOKENS = 1000
SERVED, QUOTES, SERVER = "written as it is set up", "quoted from the materials", "written by a server"


def for_session(engine: Engine) -> Engine:
    """The engine as this visitor has set it. A generator in this process stays the one that is loaded; a server is another."""
    changes = st.session_state.get(_CHANGES)
    if not changes:
        return engine
    config = engine.config.adjusted(**changes)
    if config.base_url != engine.config.base_url:
        return replace(engine, config=config, chat_model=state.connect(config))
    return replace(engine, config=config, chat_model=None if config.generator == NONE else engine.chat_model)


def show_settings(served: Config, visitor: Visitor) -> None:
    """A popover with the knobs of answering. What cannot be is told and not taken."""
    current = served.adjusted(**st.session_state.get(_CHANGES, {}))
    with st.popover("Settings", icon=":material/tune:", width="stretch"), st.form("settings", border=False):
        st.caption("For your next answers, in this session.")
        preset = st.selectbox("Preset", [AS_SERVED, *(name for name in preset_names() if name not in SERVERS_OWN)], key="set-preset")
        asked = _writer(served, current, visitor) | _knobs(current)
        if st.form_submit_button("Use these", width="stretch"):
            _take(served, current, asked, "" if preset == AS_SERVED else preset)


def _writer(served: Config, current: Config, visitor: Visitor) -> dict[str, Any]:
    """Who writes the answers. A server is the staff's to choose: it is sent questions and passages."""
    choices = [SERVED, QUOTES, *([SERVER] if visitor.staff else [])]
    now = QUOTES if current.generator == NONE else SERVED if current.base_url == served.base_url else SERVER
    writer = st.selectbox("Answers are", choices, choices.index(now), key="set-writer")
    address = model = ""
    if visitor.staff:
        address = st.text_input("Server, if chosen above", current.base_url, key="set-base_url", placeholder="http://127.0.0.1:8000/v1")
        model = st.text_input("Model there", "" if now != SERVER else current.generator, key="set-generator")
    if writer == SERVER:
        # Without the key that the config may name: that is for the config's server alone.
        return {"base_url": address.strip(), "generator": model.strip(), "api_key_variable": ""}
    names = ("base_url", "generator", "api_key_variable")
    return {name: getattr(served, name) for name in names} | ({"generator": NONE} if writer == QUOTES else {})


def _knobs(current: Config) -> dict[str, Any]:
    """The settings that the widgets show, by name."""

    def choose(label: str, name: str, among: list[str], shown: Callable[[str], str] = str) -> str:
        now = getattr(current, name)
        return st.selectbox(label, among, among.index(now) if now in among else 0, key=f"set-{name}", format_func=shown)

    def number(label: str, name: str, low: float, high: float, step: float) -> float:
        now = getattr(current, name)
        return st.number_input(label, low, high, min(max(now, low), high), step, key=f"set-{name}")

    return {
        "length": choose("Length", "length", length_names()),
        "language": choose("Language of the answers", "language", [AUTO, *LANGUAGES], _language_shown),
        "temperature": number("Temperature (0 is greedy)", "temperature", 0.0, 2.0, 0.1),
        "top_p": number("Top p", "top_p", 0.0, 1.0, 0.05),
        "top_k": number("Top k (0 for all)", "top_k", 0, 1000, 1),
        "repetition_penalty": number("Repetition penalty", "repetition_penalty", 0.5, 2.0, 0.05),
        "num_beams": number("Beams", "num_beams", 1, 4, 1),
        "max_new_tokens": number("Most new tokens", "max_new_tokens", 1, MOST_TOKENS, 10),
        "seed": number("Seed", "seed", 0, 2**31 - 1, 1),
    }


def _language_shown(code: str) -> str:
    return "the question's" if code == AUTO else language_name(code)


def _take(served: Config, current: Config, asked: dict[str, Any], preset: str) -> None:
    """Keeps what differs from what is set now; over a preset, if one was chosen, in place of what was set before."""
    changed = {name: value for name, value in asked.items() if value != getattr(current, name)}
    changes = ({"preset": preset} if preset else st.session_state.get(_CHANGES, {})) | changed
    try:
        config = served.adjusted(**changes)
        if config.base_url != served.base_url:
            state.connect(config)
    except ConfigError as e:
        errors.log(e)
        st.error(render.rich(str(e)))
    else:
        st.session_state[_CHANGES] = changes
        st.rerun()
