"""EPUB books: the chapters in the order of the spine, each read as the web page that it is.

META-INF/container.xml names the package document (OPF), which lists the chapters. A chapter without headings of its own stands under its
entry in the table of contents. Members are looked up by name in the zip and never written anywhere; what a chapter links is not fetched.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from posixpath import dirname, normpath
from posixpath import join as join_path
from typing import Any
from urllib.parse import unquote

from lxml import etree

from ingest.readers import html
from ingest.readers._common import choose_title, decode, one_line
from ingest.readers._office import OPENING_ERRORS, XML_BYTES, open_package
from rag.errors import UnreadableDocument
from rag.types import Document, Section

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_TYPE = "{http://www.idpf.org/2007/ops}type"
_ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z][A-Za-z0-9]{0,30};")  # &nbsp; and its like, which XML does not know
_PREFIX = re.compile(r"<(/?)[\w-]+:(?=[A-Za-z])")
_EMPTY = re.compile(r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([A-Za-z][\w-]*)([^<>]*?)/>")
_SITE_PARTS = re.compile(r"<(/?)(?:main|article|header|footer|aside)\b")


@dataclass(frozen=True, slots=True)
class Book:
    """What the package document says: the title, the members that are chapters in reading order, their entries in the contents."""

    title: str
    chapters: tuple[str, ...]
    labels: dict[str, str]


def read(data: bytes, source: str) -> Document:
    """One Section a heading of each chapter."""
    stream = open_package(data, source, ".epub", doctypes=True)
    try:
        with zipfile.ZipFile(stream) as package:
            book = _read_book(package, source)
            if _encrypted(package) & set(book.chapters):
                raise UnreadableDocument(f"{source} is encrypted (DRM), says {_ENCRYPTION} in it: add a copy without copy protection")
            pages = {name: package.read(name) for name in _bearable(package, book.chapters, source)}
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no EPUB book: {one_line(str(error))}") from error
    chapters = {name: _read_chapter(pages[name], name, book.labels.get(name, "")) for name in pages}
    sections = tuple(section for chapter in chapters.values() for section in chapter.sections)
    if not sections:
        raise UnreadableDocument(f"{source} holds no text in its {len(book.chapters)} chapters (pictures only?)")
    first = (heading for section in sections for heading in section.location.heading[:1])
    return Document(choose_title((book.title, *first), source), sections, notices=tuple(_notices(book, chapters)))


def _notices(book: Book, chapters: dict[str, Document]) -> Iterator[str]:
    """What of the book is not among the sections."""
    missing = [name for name in book.chapters if name not in chapters]
    empty = [name for name, chapter in chapters.items() if not chapter.sections]
    for names, fault in ((missing, "are missing in the file"), (empty, "hold no text (images?)")):
        if names:
            yield f"{len(names)} of {len(book.chapters)} chapters {fault}: {', '.join(names)}"
    for chapter in chapters.values():
        yield from chapter.notices


def _encrypted(package: zipfile.ZipFile) -> set[str]:
    """The members that are encrypted. Fonts alone are harmless: many publishers scramble them."""
    if _ENCRYPTION not in package.namelist():
        return set()
    return {_resolve("", entry.get("URI") or "") for entry in _elements(_parse(package, _ENCRYPTION), "CipherReference")}


def _read_book(package: zipfile.ZipFile, source: str) -> Book:
    if _CONTAINER not in package.namelist():
        raise UnreadableDocument(f"{source} is a zip but no EPUB book: it has no {_CONTAINER}; save it again from the program it came from")
    root = next((element.get("full-path") for element in _elements(_parse(package, _CONTAINER), "rootfile")), None)
    if not root or root not in package.namelist():
        raise UnreadableDocument(f"{source} is damaged: its {_CONTAINER} names the package document {root}, which is not in it")
    tree = _parse(package, root)
    items = {item.get("id"): item for item in _elements(tree, "item")}
    contents = [item for item in items.values() if "nav" in (item.get("properties") or "").split()]
    tables = [item for item in items.values() if item.get("media-type") == "application/x-dtbncx+xml"]
    labels: dict[str, str] = {}
    for item in [*tables, *contents]:
        labels = _labels(package, _member(root, item)) or labels
    spine = [items[reference.get("idref")] for reference in _elements(tree, "itemref") if reference.get("idref") in items]
    chapters = dict.fromkeys(_member(root, item) for item in spine if item not in contents)
    title = next((one_line("".join(element.itertext())) for element in _elements(tree, "title")), "")
    if not chapters:
        raise UnreadableDocument(f"{source} is damaged: its package document {root} lists no chapters; save it again")
    return Book(title, tuple(chapters), labels)


def _labels(package: zipfile.ZipFile, name: str) -> dict[str, str]:
    """Each chapter's first entry in a table of contents, EPUB 3's page of links or EPUB 2's tree of points."""
    if name not in package.namelist():
        return {}
    labels: dict[str, str] = {}
    tree = _parse(package, name)
    navigations = _elements(tree, "nav")
    contents = [navigation for navigation in navigations if navigation.get(_TYPE) == "toc"] or navigations
    links = [(link.get("href"), link) for navigation in contents[:1] for link in _elements(navigation, "a")]
    for point in _elements(tree, "navPoint"):
        content, label = point.find("{*}content"), point.find("{*}navLabel/{*}text")
        if content is not None and label is not None:
            links.append((content.get("src"), label))
    for target, label in links:
        labels.setdefault(_resolve(name, target or ""), one_line("".join(label.itertext())))
    return labels


def _member(root: str, item: Any) -> str:
    return _resolve(root, item.get("href") or "")


def _resolve(base: str, reference: str) -> str:
    """The name in the zip that a reference from the member `base` means."""
    return normpath(join_path(dirname(base), unquote(reference.split("#")[0])))


def _bearable(package: zipfile.ZipFile, names: tuple[str, ...], source: str) -> Iterator[str]:
    """Those of the members that are in the zip.

    Raises:
        UnreadableDocument: together they unpack to more than is read of any file.
    """
    present = [name for name in names if name in package.namelist()]
    unpacked = sum(package.getinfo(name).file_size for name in present)
    if unpacked > XML_BYTES:
        raise UnreadableDocument(f"{source} unpacks to {unpacked >> 20} MiB of text, more than the {XML_BYTES >> 20} MiB that are read")
    yield from present


def _parse(package: zipfile.ZipFile, name: str) -> Any:
    data = _ENTITY.sub(lambda match: unescape(match[0].decode()).encode("ascii", "xmlcharrefreplace"), package.read(name))
    # recover: a bare & in a list of contents is common and harms nothing.
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, recover=True))


def _elements(tree: Any, name: str) -> list[Any]:
    """The elements of that local name beneath a tree, whatever namespace the book's age gives them."""
    return list(tree.iter(f"{{*}}{name}"))


def _read_chapter(data: bytes, name: str, label: str) -> Document:
    """The chapter as the web page that it is, what has no heading of its own under its `label`; without sections when it holds no text."""
    try:
        page = "\ufeff" + _as_html(decode(data, name))
        chapter = html.read(page.encode(), name)
    except UnreadableDocument:
        return Document(name, ())  # a cover or a plate; the book's notices name it
    return replace(chapter, sections=tuple(_labelled(section, label) for section in chapter.sections)) if label else chapter


def _labelled(section: Section, label: str) -> Section:
    return section if section.location.heading else replace(section, location=replace(section.location, heading=(label,)))


def _as_html(page: str) -> str:
    """The XHTML as HTML: no prefixes, no self-closing tags, which in HTML would not close, and no parts of a site, which a book has not."""
    return _SITE_PARTS.sub(r"<\1div", _EMPTY.sub(r"<\1\2></\1>", _PREFIX.sub(r"<\1", page)))
