"""A section, a slide or a span of lines as well-set text, from what was stored of it."""

from __future__ import annotations

from pathlib import PurePosixPath

import streamlit as st

from rag.records import Part
from rag.types import LocationKind
from ui import render
from ui.opened import Opened, show_turning

LANGUAGES = {
    ".py": "python",
    ".c": "c",
    ".h": "c",
    ".cpp": "cpp",
    ".cu": "cpp",
    ".java": "java",
    ".js": "javascript",
    ".rs": "rust",
    ".sh": "bash",
}
"""Endings of files shown as code, and how to colour them."""
KIND_NAMES = {
    LocationKind.PAGE: "page",
    LocationKind.SLIDE: "slide",
    LocationKind.CELL: "cell",
    LocationKind.HEADING: "section",
    LocationKind.LINE: "lines",
    LocationKind.TIME: "part",
}


def show_text(opened: Opened) -> None:
    """The cited place of the document, or the one that the reader has turned to."""
    part = opened.part
    show_turns(opened)
    if part.location.heading and part.location.kind is not LocationKind.SLIDE:
        st.caption(render.label(" › ".join(part.location.heading), 300))
    with st.container(border=True, key="source-text"):
        language = language_of(opened.passage.source) if part.location.kind is LocationKind.LINE else None
        if language is None:
            st.markdown(opened.set(part))
        else:
            _show_code(opened, part, language)


def show_turns(opened: Opened) -> None:
    """Buttons that turn to the part of the document before and after."""
    parts, here = opened.parts, opened.here
    kind = KIND_NAMES[parts[here].location.kind]
    show_turning(opened, kind, here, 0, len(parts) - 1, f"{where(parts[here], kind)} · {here + 1} of {len(parts)}")


def where(part: Part, kind: str) -> str:
    """A part's place in words, as Markdown: `Slide 4`, `Lines 61–120`; of a section, whose headings stand below, `Section`."""
    label = kind if part.location.kind is LocationKind.HEADING else part.location.label
    return render.label(f"{label[:1].upper()}{label[1:]}")


def language_of(source: str) -> str | None:
    """The language that a file is shown as code in; None for prose."""
    return LANGUAGES.get(PurePosixPath(source).suffix.lower())


def _show_code(opened: Opened, part: Part, language: str) -> None:
    """Lines of a program under their numbers in the file, those that are cited named."""
    text, first = opened.text_of(part), part.location.number or 1
    span = opened.span_in(part)
    if span:
        start, end = first + text.count("\n", 0, span[0]), first + text.count("\n", 0, max(span[1] - 1, span[0]))
        st.markdown(f"Cited: line {start}" if start == end else f"Cited: lines {start} to {end}")
    if first == 1:
        st.code(text, language=language, line_numbers=True, wrap_lines=True)
    else:  # Streamlit counts from 1 only
        st.code(number_lines(text, first), language=language, wrap_lines=True)


def number_lines(text: str, first: int) -> str:
    """Lines with their numbers in front, the first having the number `first`."""
    lines = text.split("\n")
    width = len(str(first + len(lines) - 1))
    return "\n".join(f"{first + index:>{width}}  {line}" for index, line in enumerate(lines))
