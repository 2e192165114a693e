"""What the Office formats share: a zip of XML parts, opened with the faults that real files have named in words.

python-docx and python-pptx let through whatever zipfile, lxml and their own lookups raise on a damaged package; OPENING_ERRORS is what
broken, truncated, encrypted and forged files were seen to raise.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from lxml import etree

from ingest.readers._common import clean
from rag.errors import UnreadableDocument

XML_BYTES = 1 << 28  # unpacked; lxml takes about ten times that, so more is a bomb to this machine whatever was meant

OPENING_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    etree.LxmlError,
    KeyError,  # a part that another one refers to is missing
    ValueError,  # of another content type: a spreadsheet named .docx
    AttributeError,  # an element or attribute that the format requires is missing
    EOFError,
    NotImplementedError,  # a compression method that zipfile lacks
    RuntimeError,  # an encrypted zip member; too deep a nesting
)

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_TEXT = frozenset({f"{_W}t", f"{_A}t", f"{_M}t"})
_BREAKS = {f"{_W}br": "\n", f"{_W}cr": "\n", f"{_A}br": "\n", f"{_W}tab": "\t", f"{_W}noBreakHyphen": "-"}
_SKIPPED = frozenset({_FALLBACK, f"{_W}del", f"{_W}moveFrom", f"{_W}txbxContent", f"{_W}pPr", f"{_A}pPr"})


def open_package(data: bytes, source: str, modern: str) -> BytesIO:
    """The file as a stream, once it is clear that it is a zip of bearable size. `modern` is the suffix it should have."""
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise UnreadableDocument(f"{source} is encrypted or in the old binary format: save it without a password as {modern}")
    try:
        with zipfile.ZipFile(BytesIO(data)) as package:
            unpacked = sum(member.file_size for member in package.infolist() if member.filename.lower().endswith((".xml", ".rels")))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnreadableDocument(f"{source} is damaged or no {modern} file: {error}") from error
    if unpacked > XML_BYTES:
        raise UnreadableDocument(f"{source} unpacks to {unpacked >> 20} MiB of XML, more than the {XML_BYTES >> 20} MiB that are read")
    return BytesIO(data)


def paragraph_text(paragraph: Any) -> str:
    """A paragraph's words with their indentation: text, breaks, formulas; no deleted text and no text boxes that hang on it."""
    return clean("".join(_pieces(paragraph))).strip("\n").rstrip()


def _pieces(element: Any) -> Iterator[str]:
    for child in element:
        if child.tag in _TEXT:
            yield child.text or ""
        elif child.tag in _BREAKS:
            yield _BREAKS[child.tag]
        elif child.tag not in _SKIPPED:
            yield from _pieces(child)
