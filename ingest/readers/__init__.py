"""Readers turn the bytes of one file into a Document. A new format is one module with `read(data, source)` and one line here.

Readers know nothing of folders, courses or the store, and never run or fetch what a document names. Whoever makes a reader get something
else from the same bytes counts READERS_VERSION in `ingest/sync.py` up.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePosixPath

from ingest.readers import code
from ingest.readers._hidden import strip_hidden
from rag.errors import UnreadableDocument
from rag.types import Document

Reader = Callable[[bytes, str], Document]

READERS: dict[str, str] = {
    ".pdf": "pdf",
    ".pptx": "pptx",
    ".docx": "docx",
    ".odp": "odf",
    ".otp": "odf",
    ".odt": "odf",
    ".ott": "odf",
    ".rtf": "rtf",
    ".epub": "epub",
    ".ipynb": "notebook",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".mdx": "markdown",
    ".mkd": "markdown",
    ".markdown": "markdown",
    ".rmd": "markdown",
    ".qmd": "markdown",
    ".tex": "tex",
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".srt": "subtitles",
    ".vtt": "subtitles",
    ".csv": "table",
    ".tsv": "table",
    **dict.fromkeys(code.SUFFIXES, "code"),
}
"""Suffix → module. A module is loaded at the first file of its format."""

FORMATS = tuple(READERS)
READ = "PDF, PowerPoint, Word, OpenDocument, EPUB, RTF, notebook, web page, Markdown, TeX, text, subtitles, CSV, source code"

_SUCCESSORS = {
    **dict.fromkeys((".ppt", ".pps"), ".pptx"),
    ".doc": ".docx",
    **dict.fromkeys((".xls", ".xlsx", ".ods"), ".csv"),
    **dict.fromkeys((".mobi", ".azw3"), ".epub"),
}


def read_document(data: bytes, source: str) -> Document:
    """The document that a file's bytes hold, by the suffix of its name.

    Raises:
        UnreadableDocument: the format is not read, or the file is empty, damaged, encrypted or without text.
    """
    suffix = require_format(source)
    if not data.strip():
        raise UnreadableDocument(f"{source} is empty")
    return strip_hidden(load_reader(suffix)(data, source), source)


def require_format(source: str) -> str:
    """The suffix of a file's name.

    Raises:
        UnreadableDocument: its format is not read.
    """
    suffix = suffix_of(source)
    if suffix in _SUCCESSORS:
        raise UnreadableDocument(f"{source} is in the format {suffix}, which is not read: save it as {_SUCCESSORS[suffix]} or PDF")
    if suffix not in READERS:
        raise UnreadableDocument(f"{source} is in the format {suffix or '(none)'}, which is not read: save it in one that is ({READ})")
    return suffix


def load_reader(suffix: str) -> Reader:
    """The reader of a format that is read."""
    return import_module(f"ingest.readers.{READERS[suffix]}").read


def suffix_of(source: str) -> str:
    return PurePosixPath(source).suffix.lower()
