"""HTML pages: what a reader sees of the content, without the site around it.

The encoding is what the bytes' mark or <meta> says. Formulas stay LaTeX where the page carries it (MathML annotations, alttext, TeX
scripts, KaTeX). Nothing is fetched and no script runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from ingest.readers._common import Block, Part, choose_title, clean, decode, join_blocks, one_line, sections_of, table_row
from ingest.readers._hidden import HiddenText
from rag.errors import UnreadableDocument
from rag.types import Document

_CONTENT = ("main", "[role=main]", "article")
_DROPPED = frozenset({
    "script", "style", "noscript", "template", "nav", "header", "footer", "aside", "svg", "canvas", "iframe", "object", "embed",
    "audio", "video", "form", "button", "select", "input", "textarea", "head", "title", "dialog",
})  # fmt: skip
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd", "label",
    "mark", "math", "output", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt",
    "u", "var", "wbr", "-text",
})  # fmt: skip
DEEPEST = 1000  # elements; browsers stop at 512
STYLE_CHARACTERS = 2000
REPEATED_CHARACTERS = 80  # a merged cell that is longer is a text, not a label
WIDEST_SPAN = 60

# Elements that never hold much, or that close by themselves where the next one begins.
_NEVER_DEEP = frozenset(
    b"p li td th tr dt dd option optgroup thead tbody tfoot colgroup rb rt rp rtc html head body area base br col embed hr img input link"
    b" meta param source track wbr".split()
)
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
_HIDDEN_STYLE = re.compile(
    r"(?:^|;)\s{0,9}(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden"
    r"|(?:font-size|opacity)\s{0,9}:\s{0,9}0(?:\.0{1,9})?(?:px|pt|em|rem|%)?)\s{0,9}(?:!\s{0,9}important\s{0,9})?(?:;|$)",
    re.IGNORECASE,
)
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
    number: int | None = None  # of the list item before, in a numbered list
    hidden: HiddenText = field(default_factory=HiddenText)

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
        raise UnreadableDocument(f"{source} nests its elements too deeply to be a page for people: save the page as PDF") from error
    page.end_part()
    sections = sections_of(page.parts)
    notices = page.hidden.notices()
    if not sections:
        unseen = f", only hidden text ({notices[0]})" if notices else ""
        raise UnreadableDocument(f"{source} holds no text outside of scripts and navigation{unseen}: save the page as PDF")
    first = next((part.heading for part in page.parts if part.level == 1), "")
    return Document(choose_title((title, first), source), sections, notices=notices)


def _parse(data: bytes, source: str) -> LexborHTMLParser:
    """The page's tree. A page that names no encoding is decoded as plain text is, not as the UTF-8 the parser would assume."""
    if _nesting(data) > DEEPEST:
        raise UnreadableDocument(f"{source} nests its elements too deeply to be a page for people: save the page as PDF")
    declared = data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or _META_CHARSET.search(data[:1024])
    return LexborHTMLParser(data, encoding=True) if declared else LexborHTMLParser(decode(data, source))


def _nesting(data: bytes) -> int:
    """About how many elements are open at the deepest place, told from the tags alone: parsing takes the square of it."""
    depth = deepest = position = 0
    while match := _TAG.search(data, position):
        position = match.end()
        closing, name = match[1], match[2].lower()
        if name in (b"script", b"style") and not closing:
            end = data.find(b"</" + match[2], position)
            position = len(data) if end < 0 else end + 1
        elif name not in _NEVER_DEEP:
            depth = max(0, depth - 1) if closing else depth + 1
            deepest = max(deepest, depth)
    return deepest


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
    elif tag in _DROPPED or tag.startswith(("-", "!")) or attributes.get("aria-hidden") == "true":
        pass
    elif "hidden" in attributes or _HIDDEN_STYLE.search((attributes.get("style") or "")[:STYLE_CHARACTERS]):
        _leave_out(node, attributes.get("class") or "", page)
    elif tag == "br":
        page.words.append("\n")
    elif tag in _INLINE:
        _walk(node, page)
    else:
        page.end_block()
        _visit_block(node, tag, page)
        page.end_block()


def _leave_out(node: LexborNode, names: str, page: _Page) -> None:
    """Note what an element hides; but a formula that Wikipedia hides beside its picture is the only text of it, and stays."""
    if "mwe-math" in names:
        page.words += [_latex(formula) for formula in node.css("math")]
        return
    place = f"under {page.heading[:80]}" if page.heading else "at the beginning"
    page.hidden.add("{n} characters in hidden elements", place, clean(node.text(separator=" ")))


def _visit_block(node: LexborNode, tag: str, page: _Page) -> None:
    if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
        heading = one_line(_text(node, page)).rstrip("¶#🔗 ")
        if heading:
            page.end_part(int(tag[1]), heading)
    elif tag == "pre":
        page.blocks.append(Block(clean(node.text()).strip("\n")))
    elif tag == "table" and not node.css("table table, h1, h2, h3, pre"):
        page.blocks += [Block(row, tight=True) for row in _rows(node, page)]
    elif tag in ("ol", "ul", "menu"):
        outer_number, start = page.number, node.attributes.get("start") or "1"
        page.number = None if tag != "ol" else int(start) - 1 if start.isdecimal() and len(start) < 7 else 0
        _walk(node, page)
        page.end_block()
        page.number = outer_number
    elif tag == "li":
        outer = page.bullet
        depth = len(outer) - len(outer.lstrip())
        page.number = None if page.number is None else page.number + 1
        page.bullet = " " * (depth or len(outer)) + ("- " if page.number is None else f"{page.number}. ")
        _walk(node, page)
        page.end_block()
        page.bullet = outer
    else:
        _walk(node, page)


def _rows(table: LexborNode, page: _Page) -> Iterator[str]:
    """The caption and the rows of a table; a short cell that reaches over rows stands in each of them."""
    reaching: dict[int, tuple[int, str]] = {}  # by column: rows to come, text
    for row in table.css("caption, tr"):
        if row.tag == "caption":
            yield one_line(_text(row, page))
            continue
        texts: list[str] = []
        column = 0
        for cell in (cell for cell in row.iter() if cell.tag in ("td", "th")):
            column = _fill(texts, reaching, column)
            text = _text(cell, page)
            texts.append(text)
            if (rows := _span(cell, "rowspan")) > 1:
                reaching[column] = (rows - 1, text if len(text) <= REPEATED_CHARACTERS else "")
            column += _span(cell, "colspan")
        _fill(texts, reaching, column)
        yield table_row(texts)


def _fill(texts: list[str], reaching: dict[int, tuple[int, str]], column: int) -> int:
    """Put the cells from the rows above that stand at this column; the next free column."""
    while column in reaching:
        rows, text = reaching.pop(column)
        texts.append(text)
        if rows > 1:
            reaching[column] = (rows - 1, text)
        column += 1
    return column


def _span(cell: LexborNode, name: str) -> int:
    value = cell.attributes.get(name) or "1"
    return min(max(int(value), 1), WIDEST_SPAN) if value.isdecimal() and len(value) < 6 else 1


def _text(node: LexborNode, around: _Page) -> str:
    """All the text beneath a node, read like a page of its own."""
    page = _Page(hidden=around.hidden)
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
