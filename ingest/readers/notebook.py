"""Jupyter notebooks of nbformat 3 and 4, read as the JSON they are. Nothing is executed; pictures and widgets are dropped."""

from __future__ import annotations

import json
import re
from typing import Any

from ingest.readers._common import clean, decode, one_line, stem
from ingest.readers.markdown import find_headings
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

OUTPUT_CHARACTERS = 2000  # of one cell: a training log of megabytes would drown the lecture

KINDS = {"markdown": "markdown", "heading": "markdown", "code": "code"}
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_INLINE_DATA = re.compile(r"!\[[^\]]*\]\((?:data:|attachment:)[^)]*\)|data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+")


def read(data: bytes, source: str) -> Document:
    """One Section a cell that holds text, numbered over all cells."""
    cells = load_cells(data, source)
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    title = ""
    for number, cell in enumerate(cells, start=1):
        kind = KINDS.get(str(cell.get("cell_type")), "raw")
        text = _cell_text(cell, kind)
        for heading in find_headings(text) if kind == "markdown" else ():
            path = [step for step in path if step[0] < heading.level] + [(heading.level, heading.title)]
            title = title or heading.title
        if text.strip():
            headings = tuple(heading for _, heading in path if heading)
            sections.append(Section(text.strip("\n"), Location(LocationKind.CELL, number, heading=headings, cell=kind)))
    if not sections:
        raise UnreadableDocument(f"{source} is a notebook without text in its {len(cells)} cells")
    return Document(title or stem(source), tuple(sections))


def load_cells(data: bytes, source: str) -> list[dict[str, Any]]:
    """The cells as the JSON they are, in order."""
    try:
        notebook = json.loads(decode(data, source), strict=False)
    except RecursionError as error:
        raise UnreadableDocument(f"{source} is no notebook, its JSON is damaged (nested too deeply): save it again in Jupyter") from error
    except ValueError as error:
        raise UnreadableDocument(
            f"{source} is no notebook, its JSON is damaged ({one_line(str(error))}): save it again in Jupyter"
        ) from error
    if isinstance(notebook, dict) and isinstance(notebook.get("worksheets"), list):  # nbformat 3
        sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets for cell in items(sheet.get("cells"))]
    elif isinstance(notebook, dict) and isinstance(notebook.get("cells"), list):
        cells = items(notebook["cells"])
    else:
        raise UnreadableDocument(f"{source} is JSON but no notebook: it has neither `cells` nor `worksheets`")
    return cells


def _cell_text(cell: dict[str, Any], kind: str) -> str:
    """What the cell says: its source, and for code what it printed."""
    text = text_of(cell.get("source", cell.get("input")))
    if kind != "code":
        text = _INLINE_DATA.sub("", text)
    if cell.get("cell_type") == "heading":  # nbformat 3
        level = cell.get("level")
        return f"{'#' * level if isinstance(level, int) and 1 <= level <= 6 else '#'} {one_line(text)}"
    output = "\n".join(filter(None, (_output_text(output) for output in items(cell.get("outputs"))))) if kind == "code" else ""
    if len(output) > OUTPUT_CHARACTERS:
        output = f"{output[:OUTPUT_CHARACTERS].rstrip()}\n… (output cut: {len(output) - OUTPUT_CHARACTERS} more characters)"
    return "\n\n".join(filter(None, (text.strip("\n"), output and f"Output:\n{output}")))


def _output_text(output: dict[str, Any]) -> str:
    """An output's words: what was printed, the plain or LaTeX form of a value, the name and message of an error."""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{text_of(output.get('ename'))}: {text_of(output.get('evalue'))}".strip(": \n")
    bundle = output.get("data")
    forms = bundle if isinstance(bundle, dict) else output  # nbformat 3 keeps them in the output itself
    latex = text_of(forms.get("text/latex", forms.get("latex")))
    plain = text_of(forms.get("text/plain", forms.get("text")))
    return COLOURS.sub("", latex or plain).strip("\n")


def text_of(value: object) -> str:
    """A multi-line string of the format: one string, or a list of lines."""
    lines = value if isinstance(value, list) else [value]
    return clean("".join(line for line in lines if isinstance(line, str)))


def items(value: object) -> list[dict[str, Any]]:
    """The objects in what should be a list of them."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
