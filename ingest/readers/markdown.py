"""Markdown, kept as it is written: formulas, tables and code fences are worth more to a reader than a rendering.

Headings come from markdown-it-py's tokens, so a `#` inside a code fence is none. Extensions (MDX components, Pandoc footnotes) are text.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

from ingest.readers._common import Part, decode, one_line, sections_of, stem
from rag.errors import UnreadableDocument
from rag.types import Document

HEADING_CHARACTERS = 2000  # a longer one is a paragraph with a mark too many, and slow to take apart
_INLINE = MarkdownIt("commonmark")
_BLOCKS = MarkdownIt("commonmark").disable(["inline"])  # what stands inside paragraphs is not needed, and takes most of the time

FACTS = ("title", "material", "week", "lecture", "date", "due", "visible", "language")

_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_FACT = re.compile(r"(\w+)[ \t]*:[ \t](.*)")
_ATTRIBUTES = re.compile(r"\s*(?:\{[#.][^}]*\}|\[\[[^\]]*\]\])\s*$")  # Pandoc's {#id .class}, Docusaurus's [[id]]


class Heading(NamedTuple):
    """A heading and the lines it takes, `start` to `end` (exclusive), counted from 0."""

    start: int
    end: int
    level: int
    title: str


def read(data: bytes, source: str) -> Document:
    """One Section a heading; the front matter's course facts beside them."""
    facts, text = _split_front_matter(decode(data, source))
    lines = text.split("\n")
    headings = find_headings(text)
    bounds = [heading.start for heading in headings] + [len(lines)]
    parts = [Part(0, "", "", "\n".join(lines[: bounds[0]]))]
    for heading, end in zip(headings, bounds[1:], strict=True):
        line, body = "\n".join(lines[heading.start : heading.end]), "\n".join(lines[heading.end : end])
        parts.append(Part(heading.level, heading.title, line, body))
    sections = sections_of(parts)
    if not sections:
        raise UnreadableDocument(f"{source} holds no text")
    title = facts.get("title") or next((heading.title for heading in headings if heading.title), stem(source))
    return Document(title, sections, facts)


def find_headings(text: str) -> list[Heading]:
    """The headings at the top level of a Markdown text: none inside lists, quotes or code."""
    references: dict[str, Any] = {}
    tokens = _BLOCKS.parse(text, references)
    return [
        Heading(token.map[0], token.map[1], int(token.tag[1]), _plain(inline.content, references))
        for token, inline in pairwise(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]


def _plain(heading: str, references: dict[str, Any]) -> str:
    """A heading's words without its markup."""
    if len(heading) > HEADING_CHARACTERS:
        return one_line(heading)
    (inline,) = _INLINE.parseInline(heading, references)
    words = "".join(" " if child.type == "softbreak" else child.content for child in inline.children or () if child.type != "html_inline")
    return _ATTRIBUTES.sub("", one_line(words))


def _split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """The facts named at the top of the file between `---` lines, and the rest. Simple `key: value` lines only, no YAML."""
    match = _FRONT_MATTER.match(text)
    if not match:
        return {}, text
    pairs = [pair for line in (match[1] or "").split("\n") if (pair := _FACT.fullmatch(line))]
    facts = {pair[1].lower(): pair[2].strip().strip("\"'") for pair in pairs}
    return {key: facts[key] for key in FACTS if facts.get(key)}, text[match.end() :]
