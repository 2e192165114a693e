"""The two parts of the page that Streamlit has not got: citations that show their quote, and the foot of an answer. See the `.js` beside.

Their markup and scripts are fixed texts of ours. What readers, models and documents say reaches them as data, shown as text nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
READING = "reading"


def _text(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


_reading = st.components.v2.component(
    "lectern_reading", html=_text("reading.html"), css=_text("reading.css"), js=_text("reading.js"), isolate_styles=False
)
_foot = st.components.v2.component("lectern_foot", html='<div class="foot"></div>', css=_text("foot.css"), js=_text("foot.js"))


def show_citations(cited: Mapping[str, Mapping[str, str]], answer: str | None, on_open: Callable[[str], None]) -> None:
    """Makes the links of citations show their quotes and open their sources in the page.

    Args:
        cited: by address of a link: `number`, `place`, `quote`, and `opens`, what `on_open` is told at a click.
        answer: the id of the message to bring into view, once.
    """

    def opened() -> None:
        on_open(st.session_state[READING]["opened"])

    _reading(key=READING, data={"sources": cited, "answer": answer}, on_opened_change=opened, height="content")


def show_foot(summary: str, stages: list[dict[str, Any]], copied: str, link: str, key: str) -> None:
    """How long an answer took, and buttons that copy it with its sources, or a link to it (none where that is empty)."""
    _foot(key=key, data={"summary": summary, "stages": stages, "copy": copied, "link": link})
