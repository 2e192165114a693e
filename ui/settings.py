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
from ui import errors

_CHANGES = "chosen_settings"
AS_SERVED = "as it is set up"
SERVERS_OWN = frozenset({"large-server"})
"""Presets for whoever runs Lectern."""
MOST_TOKENS = 1000


def for_session(engine: Engine) -> Engine:
    """The engine as this visitor has set it; the models stay the ones that are loaded."""
    changes = st.session_state.get(_CHANGES)
    if not changes:
        return engine
    config = engine.config.adjusted(**changes)
    return replace(engine, config=config, chat_model=None if config.generator == NONE else engine.chat_model)


def show_settings(served: Config) -> None:
    """A popover with the knobs of answering. What cannot be is told and not taken."""
    current = served.adjusted(**st.session_state.get(_CHANGES, {}))
    with st.popover("Settings", icon=":material/tune:", width="stretch"), st.form("settings", border=False):
        st.caption("For your next answers, in this session.")
        preset = st.selectbox("Preset", [AS_SERVED, *(name for name in preset_names() if name not in SERVERS_OWN)], key="set-preset")
        asked = _knobs(current)
        if st.form_submit_button("Use these", width="stretch"):
            _take(served, current, asked, "" if preset == AS_SERVED else preset)


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
        served.adjusted(**changes)
    except ConfigError as e:
        errors.show_error(e)
    else:
        st.session_state[_CHANGES] = changes
        st.rerun()
