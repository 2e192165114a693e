"""One cell of a notebook as a person sees it: its kind, its source and its outputs, pictures among them. Nothing is executed.

What an output offers as HTML is given as the words in it; drawings, widgets and scripts are named and left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.readers import html
from ingest.readers._hidden import strip_text
from ingest.readers.notebook import COLOURS, KINDS, items, load_cells, text_of
from rag.errors import UnreadableDocument

NOTEBOOK_BYTES = 32 << 20
"""A larger one is mostly pictures; its JSON would take ten times that in memory."""
OUTPUTS = 50
OUTPUT_CHARACTERS = 20_000
PICTURE_BYTES = 8 << 20

_PICTURES = ("image/png", "image/jpeg")
_WORDS = ("text/latex", "latex", "text/plain", "text")
_NAMES = {"image/svg+xml": "a drawing (SVG)", "application/javascript": "a script", "text/html": "a web page without words"}


@dataclass(frozen=True, slots=True)
class Output:
    """What one output shows: `picture` as the bytes of a PNG or JPEG file, not yet looked at, or else `text`.

    `left_out` names in words what is there and not shown.
    """

    text: str = ""
    picture: bytes = b""
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """`kind` is `markdown`, `code` or `raw`; `executed` the number that Jupyter gave it when it ran."""

    kind: str
    text: str
    outputs: tuple[Output, ...] = ()
    executed: int | None = None


def read_cell(data: bytes, source: str, number: int) -> Cell:
    """The cell with this number, counted from 1 over all cells.

    Raises:
        UnreadableDocument: the file is no notebook, has no such cell, or is too large to be read for a page.
    """
    if len(data) > NOTEBOOK_BYTES:
        raise UnreadableDocument(
            f"{source} has {len(data) >> 20} MiB; cells are shown of up to {NOTEBOOK_BYTES >> 20} MiB: clear its outputs"
        )
    cells = load_cells(data, source)
    if not 1 <= number <= len(cells):
        raise UnreadableDocument(f"{source} has no cell {number}: its cells are 1 to {len(cells)}")
    cell = cells[number - 1]
    kind = KINDS.get(str(cell.get("cell_type")), "raw")
    executed = cell.get("execution_count", cell.get("prompt_number"))
    outputs = tuple(_outputs(cell, source)) if kind == "code" else ()
    text = strip_text(text_of(cell.get("source", cell.get("input")))).strip("\n")
    return Cell(kind, text, outputs, executed if type(executed) is int else None)


def _outputs(cell: Mapping[str, Any], source: str) -> Iterator[Output]:
    """The outputs, those that print one after the other joined, as Jupyter shows them."""
    found = items(cell.get("outputs"))
    printed = ""
    for output in found[:OUTPUTS]:
        if output.get("output_type") == "stream":
            printed += text_of(output.get("text"))
            continue
        if printed.strip():
            yield Output(_cut(printed))
        printed = ""
        yield _output(output, source)
    if printed.strip():
        yield Output(_cut(printed))
    if len(found) > OUTPUTS:
        yield Output(left_out=f"{len(found) - OUTPUTS} more outputs")


def _output(output: Mapping[str, Any], source: str) -> Output:
    if output.get("output_type") in ("error", "pyerr"):
        return Output(_cut(f"{text_of(output.get('ename'))}: {text_of(output.get('evalue'))}".strip(": \n")))
    bundle = output.get("data")
    forms: Mapping[str, Any] = bundle if isinstance(bundle, dict) else output  # nbformat 3 keeps them in the output itself
    for name in _PICTURES:
        picture = _decode(forms.get(name, forms.get(name.partition("/")[2])))
        if picture:
            return Output(picture=picture)
    for name in _WORDS:
        words = text_of(forms.get(name))
        if words.strip():
            return Output(_cut(words))
    words = _words_of_html(text_of(forms.get("text/html", forms.get("html"))), source)
    if words:
        return Output(_cut(words))
    names = [str(name) for name in forms if name not in ("output_type", "metadata", "execution_count")]
    return Output(left_out=next((_NAMES[name] for name in names if name in _NAMES), "an output of a kind that is not shown"))


def _decode(value: object) -> bytes:
    """The bytes of a picture in base64; none when it is no base64 or too large."""
    text = text_of(value)
    if len(text) > PICTURE_BYTES * 4 // 3 + 4096:  # line ends among them
        return b""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        return b""


def _words_of_html(page: str, source: str) -> str:
    if not page.strip() or len(page) > 10 * OUTPUT_CHARACTERS:
        return ""
    try:
        return html.read(page.encode("utf-8", "replace"), source).text
    except UnreadableDocument:
        return ""


def _cut(text: str) -> str:
    text = strip_text(COLOURS.sub("", text)).strip("\n")
    if len(text) <= OUTPUT_CHARACTERS:
        return text
    return f"{text[:OUTPUT_CHARACTERS].rstrip()}\n… (cut: {len(text) - OUTPUT_CHARACTERS:,} more characters)"
