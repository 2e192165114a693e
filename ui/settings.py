"""The settings of a visitor: how the next answers are written. They last as long as the session and change nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
_KEYS = "set-"
"""How the keys of the form's widgets begin."""
WRITER = ("base_url", "generator", "api_key_variable")
"""What names a server: always chosen together, so that no key goes to the server of another."""
AS_SERVED = "as it is set up"
SERVERS_OWN = frozenset({"large-server"})
"""Presets for whoever runs Lectern."""
MOST_TOKENS = 1000
SERVED, QUOTES, SERVER = "written as it is set up", "quoted from the materials", "written by a server"


def for_session(engine: Engine, visitor: Visitor) -> Engine:
    """The engine as this visitor has set it. A generator in this process stays the one that is loaded; a server is another."""
    changes = _changes(visitor)
    if not changes:
        return engine
    config = engine.config.adjusted(**changes)
    if "base_url" in changes and any(getattr(config, name) != getattr(engine.config, name) for name in WRITER):
        return replace(engine, config=config, chat_model=state.connect(config))
    return replace(engine, config=config, chat_model=None if config.generator == NONE else engine.chat_model)


def _changes(visitor: Visitor) -> dict[str, Any]:
    """What the visitor has chosen. A server counts only while he is of the staff."""
    changes = st.session_state.get(_CHANGES, {})
    return changes if visitor.staff or "base_url" not in changes else _without_writer(changes)


def _without_writer(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name not in WRITER}


def show_settings(served: Config, visitor: Visitor) -> None:
    """A popover with the knobs of answering. What cannot be is told and not taken."""
    changes = _changes(visitor)
    current = served.adjusted(**changes)
    with st.popover("Settings", icon=":material/tune:", width="stretch"), st.form("settings", border=False):
        st.caption("For your next answers, in this session.")
        presets = [AS_SERVED, *(name for name in preset_names() if name not in SERVERS_OWN)]
        preset = st.selectbox("Preset", presets, key=_begin("preset", changes.get("preset", AS_SERVED)))
        writer, knobs = _writer(served, current, changes, visitor), _knobs(current)
        if st.form_submit_button("Use these", width="stretch"):
            changed = {name: value for name, value in knobs.items() if value != getattr(current, name)}
            # Another preset takes the place of all that was set before it; what was changed beside it wins.
            kept = changes if preset == changes.get("preset", AS_SERVED) else {} if preset == AS_SERVED else {"preset": preset}
            _take(served, _without_writer(kept) | changed | writer)


def _begin(name: str, value: Any) -> str:
    """The key of a widget, which shows `value` at first and when the settings were taken. A default would not be shown again."""
    key = f"{_KEYS}{name}"
    st.session_state.setdefault(key, value)
    return key


def _writer(served: Config, current: Config, changes: Mapping[str, Any], visitor: Visitor) -> dict[str, Any]:
    """Who writes the answers: all of WRITER for a server, which is the staff's to choose, as it is sent questions and passages."""
    choices = [SERVED, QUOTES, *([SERVER] if visitor.staff else [])]
    now = SERVER if "base_url" in changes else QUOTES if current.generator == NONE else SERVED
    writer = st.selectbox("Answers are", choices, key=_begin("writer", now))
    address = model = ""
    if visitor.staff:
        key = _begin("base_url", changes.get("base_url", ""))
        address = st.text_input("Server, if chosen above", key=key, placeholder="http://127.0.0.1:8000/v1").strip()
        model = st.text_input("Model there", key=_begin("generator", changes["generator"] if now == SERVER else "")).strip()
    if writer == SERVER:
        # The key that the config may name is for the config's server alone.
        key_variable = served.api_key_variable if address == served.base_url else ""
        return {"base_url": address, "generator": model, "api_key_variable": key_variable}
    if writer == now:  # a preset may have said so: then leaving it leaves that, too
        return {"generator": changes["generator"]} if "generator" in changes else {}
    return {"generator": NONE if writer == QUOTES else served.generator}


def _knobs(current: Config) -> dict[str, Any]:
    """The settings that the widgets show, by name."""

    def choose(label: str, name: str, among: list[str], shown: Callable[[str], str] = str) -> str:
        now = getattr(current, name)
        return st.selectbox(label, among if now in among else [now, *among], key=_begin(name, now), format_func=shown)

    def number(label: str, name: str, low: float, high: float, step: float) -> float:
        now = getattr(current, name)
        return st.number_input(label, min(low, now), max(high, now), step=step, key=_begin(name, now))

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


def _take(served: Config, changes: dict[str, Any]) -> None:
    """Keeps the changes, if they can be."""
    if "base_url" in changes and not (changes["base_url"] and changes["generator"]):
        st.error("Name the server's address and the model there, or choose who else writes the answers.")
        return
    try:
        config = served.adjusted(**changes)
        if "base_url" in changes:
            state.connect(config)
    except ConfigError as e:
        errors.log(e)
        st.error(render.rich(str(e)))
        return
    st.session_state[_CHANGES] = changes
    for key in [key for key in st.session_state if str(key).startswith(_KEYS)]:  # the form shows what holds now
        del st.session_state[key]
    st.rerun()
