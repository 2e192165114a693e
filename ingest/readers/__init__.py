"""Readers turn the bytes of one file into a Document. A new format is one module with `read(data, source)` and one line here.

Readers know nothing of folders, courses or the store, and never run or fetch what a document names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from ingest.readers import docx, html, markdown, notebook, pdf, pptx, subtitles, tex, text
from rag.errors import UnreadableDocument
from rag.types import Document

Reader = Callable[[bytes, str], Document]

READERS: dict[str, Reader] = {
    ".pdf": pdf.read,
    ".pptx": pptx.read,
    ".docx": docx.read,
    ".ipynb": notebook.read,
    ".html": html.read,
    ".htm": html.read,
    ".xhtml": html.read,
    ".md": markdown.read,
    ".mdx": markdown.read,
    ".mkd": markdown.read,
    ".markdown": markdown.read,
    ".tex": tex.read,
    ".txt": text.read,
    ".text": text.read,
    ".log": text.read,
    ".srt": subtitles.read,
    ".vtt": subtitles.read,
}

FORMATS = tuple(READERS)
READERS_VERSION = 1
"""Goes up when a reader makes something else of the same bytes, so that the next run reads again what is already there."""

_SUCCESSORS = {".ppt": ".pptx", ".pps": ".pptx", ".doc": ".docx", ".rtf": ".docx", ".odt": ".docx", ".odp": ".pptx"}


def read_document(data: bytes, source: str) -> Document:
    """The document that a file's bytes hold, by the suffix of its name.

    Raises:
        UnreadableDocument: the format is not read, or the file is empty, damaged, encrypted or without text.
    """
    suffix = PurePosixPath(source).suffix.lower()
    if suffix in _SUCCESSORS:
        raise UnreadableDocument(f"{source} is in the format {suffix}, which is not read: save it as {_SUCCESSORS[suffix]} or PDF")
    if suffix not in READERS:
        raise UnreadableDocument(f"{source} is in the format {suffix or '(none)'}, which is not read; read are {' '.join(FORMATS)}")
    if not data.strip():
        raise UnreadableDocument(f"{source} is empty")
    return READERS[suffix](data, source)
