"""HTML pages: what a reader sees of the content, without the site around it.

The encoding is what the bytes' mark or <meta> says. Formulas stay LaTeX where the page carries it (MathML annotations, alttext, TeX
scripts, KaTeX). Nothing is fetched and no script runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from ingest.readers._common import Block, Part, choose_title, clean, decode, join_blocks, one_line, sections_of, table_row
from rag.errors import UnreadableDocument
from rag.types import Document

_CONTENT = ("main", "[role=main]", "article")
_DROPPED = frozenset({
    "script", "style", "noscript", "template", "nav", "header", "footer", "aside", "svg", "canvas", "iframe", "object", "embed",
    "audio", "video", "form", "button", "select", "input", "textarea", "head", "title", "dialog",
})  # fmt: skip
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label",
    "mark", "math", "output", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt",
    "u", "var", "wbr", "-text",
})  # fmt: skip
_TEX_SCRIPT = re.compile(r"math/tex(;\s*mode=display)?")
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset", re.IGNORECASE)


@dataclass
class _Page:
    """What the walk has gathered: finished parts, the open part's blocks, and the words of the paragraph being read."""

    parts: list[Part] = field(default_factory=list)
    level: int = 0
    heading: str = ""
    blocks: list[Block] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    bullet: str = ""

    def end_block(self) -> None:
        lines = [one_line(line) for line in "".join(self.words).split("\n")]
        text = "\n".join(line for line in lines if line)
        if text:
            self.blocks.append(Block(self.bullet + text, tight=bool(self.bullet)))
            self.bullet = " " * len(self.bullet)
        self.words = []

    def end_part(self, level: int = 0, heading: str = "") -> None:
        self.end_block()
        self.parts.append(Part(self.level, self.heading, self.heading, join_blocks(self.blocks)))
        self.level, self.heading, self.blocks = level, heading, []


def read(data: bytes, source: str) -> Document:
    """One Section a heading of the page's main content."""
    tree = _parse(data, source)
    title = one_line(node.text()) if (node := tree.css_first("title")) else ""
    page = _Page()
    try:
        _walk(_content(tree), page)
    except RecursionError as error:
        raise UnreadableDocument(f"{source} nests its elements too deeply to be a page for people") from error
    page.end_part()
    sections = sections_of(page.parts)
    if not sections:
        raise UnreadableDocument(f"{source} holds no text outside of scripts and navigation")
    first = next((part.heading for part in page.parts if part.level == 1), "")
    return Document(choose_title((title, first), source), sections)


def _parse(data: bytes, source: str) -> LexborHTMLParser:
    """The page's tree. A page that names no encoding is decoded as plain text is, not as the UTF-8 the parser would assume."""
    declared = data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or _META_CHARSET.search(data[:1024])
    return LexborHTMLParser(data, encoding=True) if declared else LexborHTMLParser(decode(data, source))


def _content(tree: LexborHTMLParser) -> LexborNode:
    """The one element that holds the content, if the page says which; else its body."""
    for selector in _CONTENT:
        found = tree.css(selector)
        if len(found) == 1 and found[0].text(strip=True):
            return found[0]
    body = tree.body or tree.root
    assert body is not None, "the parser adds a body to any input"
    return body


def _walk(node: LexborNode, page: _Page) -> None:
    for child in node.iter(include_text=True):
        _visit(child, child.tag or "", page)


def _visit(node: LexborNode, tag: str, page: _Page) -> None:
    """Add one node's text to the page in the way its tag asks for."""
    attributes = {} if node.is_text_node else node.attributes
    if tag == "-text":
        page.words.append(_BLANKS.sub(" ", clean(node.text_content or "")))
    elif tag == "math" or (tag == "script" and _TEX_SCRIPT.match(attributes.get("type") or "")):
        page.words.append(_latex(node))
    elif tag in _DROPPED or tag.startswith(("-", "!")) or "hidden" in attributes or attributes.get("aria-hidden") == "true":
        pass
    elif tag == "br":
        page.words.append("\n")
    elif tag in _INLINE:
        _walk(node, page)
    else:
        page.end_block()
        _visit_block(node, tag, page)
        page.end_block()


def _visit_block(node: LexborNode, tag: str, page: _Page) -> None:
    if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
        heading = one_line(_text(node)).rstrip("¶#🔗 ")
        if heading:
            page.end_part(int(tag[1]), heading)
    elif tag == "pre":
        page.blocks.append(Block(clean(node.text()).strip("\n")))
    elif tag == "table" and not node.css("table table, h1, h2, h3, pre"):
        rows = [row for row in node.css("caption, tr") if row.tag]
        page.blocks += [Block(_row(row), tight=True) for row in rows]
    elif tag == "li":
        outer = page.bullet
        depth = len(outer) - len(outer.lstrip())
        page.bullet = " " * (depth or len(outer)) + "- "
        _walk(node, page)
        page.end_block()
        page.bullet = outer
    else:
        _walk(node, page)


def _row(row: LexborNode) -> str:
    if row.tag == "caption":
        return one_line(_text(row))
    return table_row(_text(cell) for cell in row.iter() if cell.tag in ("td", "th"))


def _text(node: LexborNode) -> str:
    """All the text beneath a node, read like a page of its own."""
    page = _Page()
    _walk(node, page)
    page.end_part()
    return "\n".join(text for part in page.parts for text in (part.heading, part.body) if text)


def _latex(node: LexborNode) -> str:
    """A formula as LaTeX between dollars; its bare symbols when the page carries no LaTeX for it."""
    if node.tag == "script":
        latex, display = node.text(), "display" in (node.attributes.get("type") or "")
    else:
        annotation = node.css_first('annotation[encoding="application/x-tex"], annotation[encoding="TeX"]')
        latex = annotation.text() if annotation else node.attributes.get("alttext") or ""
        display = node.attributes.get("display") == "block"
    mark = "$$" if display else "$"
    return f"{mark}{one_line(latex)}{mark}" if latex.strip() else " ".join(node.text(separator=" ").split())
