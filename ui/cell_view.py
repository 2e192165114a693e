"""A notebook cell with its kind, its number and its outputs; pictures are decoded and written anew before they reach the page."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import streamlit as st
from PIL import Image

from ingest.notebook_cell import Cell, Output, read_cell
from ui import render, typeset
from ui.opened import Opened, remembered
from ui.text_view import show_turns

LARGEST_PIXELS = 24_000_000
LONGEST_SIDE = 2000
"""Pixels; a larger picture is made smaller."""
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for damaged and forged pictures."""


def show_cell(opened: Opened, data: bytes) -> None:
    """The cited cell of the notebook in `data`, or the one that the reader has turned to.

    Raises:
        UnreadableDocument: as for `read_cell`.
    """
    part = opened.part
    number = part.location.number or 1
    cell = remembered(opened.store, data, number, lambda: read_cell(data, opened.passage.source, number))
    show_turns(opened)
    if part.location.heading:
        st.caption(render.label(" › ".join(part.location.heading), 300))
    cited = opened.words.partition("\n\nOutput:\n")[0] if opened.span_in(part) else ""
    with st.container(border=True, key="source-text"):
        _show_source(cell, cited)
        for number, output in enumerate(cell.outputs, start=1):
            _show_output(output, number, part.location.number or 1)


def _show_source(cell: Cell, cited: str) -> None:
    if cell.kind == "markdown":
        st.markdown(typeset.set_text(cell.text, render.find_quote(cell.text, cited), flows=True))
        return
    if cited:
        _name_lines(cell, cited)
    st.code(cell.text, language="python" if cell.kind == "code" else None, line_numbers=cell.kind == "code", wrap_lines=True)


def _name_lines(cell: Cell, cited: str) -> None:
    """Which lines of a cell are cited; when none of them is, its outputs are."""
    found = render.find_quote(cell.text, cited)
    if found is None:
        st.markdown("Cited: what the cell put out")
        return
    start, end = (1 + cell.text.count("\n", 0, place) for place in (found[0], found[1] - 1))
    st.markdown(f"Cited: line {start}" if start == end else f"Cited: lines {start} to {end}")


def _show_output(output: Output, number: int, cell: int) -> None:
    if output.left_out:
        st.caption(render.label(f"Output {number}: {output.left_out}, not shown here"))
    elif output.picture:
        picture = safe_picture(output.picture)
        if picture is None:
            st.caption(f"Output {number}: a picture that is damaged or too large to be shown")
        else:
            st.caption(f"Output {number}")
            st.image(picture, alt=f"Output {number} of cell {cell}, a picture")
    else:
        st.caption(f"Output {number}")
        st.code(output.text, language=None, wrap_lines=True)


def safe_picture(data: bytes) -> bytes | None:
    """A PNG or JPEG written anew as PNG, at most LONGEST_SIDE wide and high; None when it is none, damaged, or unpacks to too much."""
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > LARGEST_PIXELS:
                return None
            picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except _DAMAGED:
        return None
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    output = BytesIO()
    picture.save(output, format="PNG")
    return output.getvalue()
