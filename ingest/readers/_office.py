"""What the Office formats share: a zip of XML parts, opened with the faults that real files have named in words.

python-docx and python-pptx let through whatever zipfile, lxml and their own lookups raise on a damaged package; OPENING_ERRORS is what
broken, truncated, encrypted and forged files were seen to raise.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import pairwise
from typing import Any

from lxml import etree

from ingest.readers._common import clean, one_line, table_row
from ingest.readers._formula import latex
from rag.errors import UnreadableDocument

SAVE_AGAIN = "open it in its own program and save it again"
ENTRIES = 10_000
UNPACKED_BYTES = 200 * 10**6
XML_BYTES = 1 << 26  # unpacked; lxml takes up to ten times that, and a reader has 1 GiB
RATIO = 200  # unpacked to packed; the highest in 350 real and odd office files is 51

_HEADER_BYTES = 30  # of a member, before its name
_ENCRYPTED = 0x1
_BEGINNING = 1 << 12
_STRANGE_NAME = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|\0")
_STRICT = {
    b"http://purl.oclc.org/ooxml/wordprocessingml/main": b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    b"http://purl.oclc.org/ooxml/presentationml/main": b"http://schemas.openxmlformats.org/presentationml/2006/main",
    b"http://purl.oclc.org/ooxml/drawingml/": b"http://schemas.openxmlformats.org/drawingml/2006/",
    b"http://purl.oclc.org/ooxml/officeDocument/": b"http://schemas.openxmlformats.org/officeDocument/2006/",
}

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

REPEATED_CHARACTERS = 80  # a merged cell that is longer is a text, not a label
CHART_SERIES = 20
CHART_POINTS = 100

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_RUNS = frozenset({f"{_W}r", f"{_A}r"})
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_TEXT = frozenset({f"{_W}t", f"{_A}t", f"{_M}t"})
_BREAKS = {f"{_W}br": "\n", f"{_W}cr": "\n", f"{_A}br": "\n", f"{_W}tab": "\t", f"{_W}noBreakHyphen": "-"}
_SKIPPED = frozenset({_FALLBACK, f"{_W}del", f"{_W}moveFrom", f"{_W}txbxContent", f"{_W}pPr", f"{_A}pPr"})


def open_package(data: bytes, source: str, modern: str, doctypes: bool = False) -> BytesIO:
    """The file as a stream, once it is clear that it is a zip of bearable size without traps. `modern` is the suffix it should have.

    Args:
        doctypes: whether its parts may have a DOCTYPE, as those of old OpenDocument and EPUB files do; entities are refused anyway.

    Raises:
        UnreadableDocument: encrypted, damaged, in the old binary format, or built like an attack; nothing has been unpacked by then.
    """
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise UnreadableDocument(f"{source} is encrypted or in the old binary format: save it without a password as {modern}")
    try:
        with zipfile.ZipFile(BytesIO(data)) as package:
            fault = _find_fault(package.infolist(), modern) or _find_entities(package, modern, doctypes)
            if not fault:
                return _as_transitional(package, data)
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no {modern} file ({one_line(str(error))}): {SAVE_AGAIN} as {modern}") from error
    raise UnreadableDocument(f"{source} {fault}")


def _find_fault(members: list[zipfile.ZipInfo], modern: str) -> str:
    """What the table of contents says that no office program writes, in words after the file's name; nothing when all is well."""
    unpacked = sum(member.file_size for member in members)
    xml = sum(member.file_size for member in members if _is_xml(member))
    strange = next((member.filename for member in members if _STRANGE_NAME.search(member.orig_filename)), None)
    again = f"{SAVE_AGAIN} as {modern}"
    if len(members) > ENTRIES:
        return f"holds {len(members):,} files, more than the {ENTRIES:,} that are read: {again}"
    if any(member.flag_bits & _ENCRYPTED for member in members):
        return f"has encrypted parts: save it without a password as {modern}"
    if strange is not None:
        return f"holds a file named {one_line(strange)[:80]!r}, a path out of the package: {again}"
    if xml > XML_BYTES:
        return f"unpacks to {xml >> 20:,} MiB of XML, more than the {XML_BYTES >> 20} MiB that are read: split it"
    if unpacked > UNPACKED_BYTES:
        return f"unpacks to {unpacked // 10**6:,} MB, more than the {UNPACKED_BYTES // 10**6} MB that are read: take out films or split it"
    if any(member.file_size > RATIO * max(member.compress_size, 1 << 12) for member in members):
        return f"is compressed more than {RATIO} times, as only a zip bomb is: {again}"
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        return f"is compressed in a way that its format does not know: {again}"
    return f"holds files that overlap, as only a zip bomb does: {again}" if _overlap(members) else ""


def _is_xml(member: zipfile.ZipInfo) -> bool:
    return member.filename.lower().endswith((".xml", ".rels"))


def _overlap(members: list[zipfile.ZipInfo]) -> bool:
    """Whether two members share bytes of the file; Python looks itself only from 3.11.8 on."""
    spans = sorted((member.header_offset, member.header_offset + _HEADER_BYTES + member.compress_size) for member in members)
    return any(before[1] > after[0] for before, after in pairwise(spans))


def _find_entities(package: zipfile.ZipFile, modern: str, doctypes: bool) -> str:
    """The fault of a part that declares entities, or a DOCTYPE where the format forbids it; a look at each part's beginning."""
    forbidden = (b"<!ENTITY",) if doctypes else (b"<!DOCTYPE", b"<!ENTITY")
    for member in filter(_is_xml, package.infolist()):
        with package.open(member) as part:
            beginning = part.read(_BEGINNING).replace(b"\0", b"")  # UTF-16 is ASCII with zeros between, as far as this goes
        if any(declaration in beginning for declaration in forbidden):
            name = one_line(member.filename)[:80]
            return f"declares a DOCTYPE or entities in {name}, which may be an attack: {SAVE_AGAIN} as {modern}"
    return ""


def _as_transitional(package: zipfile.ZipFile, data: bytes) -> BytesIO:
    """The package itself; one saved as `Strict Open XML` with the namespaces of the usual kind, the only ones that the libraries know."""
    if "_rels/.rels" not in package.namelist() or b"http://purl.oclc.org/ooxml/" not in package.read("_rels/.rels"):
        return BytesIO(data)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as copy:
        for member in package.infolist():
            content = package.read(member)
            for strict, transitional in _STRICT.items() if _is_xml(member) else ():
                content = content.replace(strict, transitional)
            copy.writestr(member.filename, content)
    stream.seek(0)
    return stream


def paragraph_text(paragraph: Any, is_hidden: Callable[[Any], bool] = lambda run: False) -> str:
    """A paragraph's words with their indentation: text, breaks, formulas; no deleted text and no text boxes that hang on it.

    Runs for which `is_hidden` holds are left out.
    """
    return clean("".join(_pieces(paragraph, is_hidden))).strip("\n").rstrip()


def run_text(run: Any) -> str:
    """The words of one run."""
    return "".join(_pieces(run, lambda inner: False))


def _pieces(element: Any, is_hidden: Callable[[Any], bool]) -> Iterator[str]:
    for child in element:
        if child.tag in _TEXT:
            yield child.text or ""
        elif child.tag in _BREAKS:
            yield _BREAKS[child.tag]
        elif child.tag == f"{_M}oMath":
            formula = " ".join(latex(child).split())
            yield f"${formula}$" if formula else ""
        elif child.tag in _RUNS and is_hidden(child):
            continue
        elif child.tag not in _SKIPPED:
            yield from _pieces(child, is_hidden)


def repeat_merged(cells: Iterable[tuple[int, str, bool]], above: dict[int, str]) -> list[str]:
    """A row's texts, from (column, text, goes on from the row above): a short cell that reaches over rows stands in each of them."""
    texts: list[str] = []
    for column, text, merged in cells:
        if not merged:
            above[column] = text if len(text) <= REPEATED_CHARACTERS else ""
        texts.append(above.get(column, "") if merged and not text.strip() else text)
    return texts


def chart_rows(chart: Any) -> list[str]:
    """A chart's data as table rows: the names of its series, then each category with its values; nothing for a chart without any."""
    series = list(chart.iter(f"{_C}ser"))[:CHART_SERIES]
    names = [" ".join(_points(one.find(f"{_C}tx")).values()) for one in series]
    values = [_points(next(one.iterchildren(f"{_C}val", f"{_C}yVal"), None)) for one in series]
    labels = [_points(next(one.iterchildren(f"{_C}cat", f"{_C}xVal"), None)) for one in series]
    label = max(labels, key=len, default={})
    places = sorted({place for one in values for place in one})[:CHART_POINTS]
    rows = [table_row([label.get(place, ""), *(one.get(place, "") for one in values)]) for place in places]
    return [row for row in (table_row(["", *names]), *rows) if row]


def _points(source: Any) -> dict[int, str]:
    """The cached points of a series' names, categories or values, by their place."""
    if source is None:
        return {}
    points = [(point.get("idx") or "0", point.findtext(f"{_C}v") or "") for point in source.iter(f"{_C}pt")]
    return {int(place): text for place, text in points if place.isdecimal() and len(place) < 7}
