r"""Text of readers, models and documents as Markdown for Streamlit: the one place where it is made safe.

What gets through is text, `code`, **bold**, headings as bold lines, and formulas. Everything else stands as the characters it is made of:
HTML, images, links, Streamlit's own `:red[…]` and `:material/…:`, emoji codes. Every ASCII punctuation mark is escaped. That is not
enough by itself: some rules of Streamlit's page run on the parsed text, after escapes are gone (links from `https://…`, `www.…` and mail
addresses; icons and emoji from `:name:`). Those are broken by an invisible word joiner.

Pure functions of strings; no Streamlit here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlsplit

from rag.export import SUPPORT
from rag.types import Mode, Sentence, Support

JOINER = "\u2060"
MARK_COLOURS = {Support.WEAK: "orange", Support.UNSUPPORTED: "red"}
"""Of the words that say how well a sentence stands on the materials. One that they hold has the number of its source."""

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028-\u202e\u2066-\u2069]")
_LATE_RULES = re.compile(r":(?=[\w+-]+:)|https?:(?=//)|www(?=\.)|@(?=[\w-])", re.IGNORECASE)
_LINK = re.compile(r"(!?)\[([^\[\]\n]*)\]\(\s*<?([^()\s<>]*)>?[^()\n]*\)")
_PIECE = re.compile(
    r"(?<!`)`(?P<code>[^`\n]+)`(?!`)"
    r"|\$\$(?P<block>[^$`]+?)\$\$"
    r"|\\\[(?P<bracket>[^$`]+?)\\\]"
    r"|\\\((?P<round>[^$`\n]+?)\\\)"
    r"|(?<![\\$\w])\$(?P<inline>(?!\s)[^$`\n]*?[^\s$`\\])\$(?![\w$])"
)
_LIST_ITEM = re.compile(r"^\s*(?:[-*•▪◦–]|(\d{1,3})[.)])\s+")
_HEADING = re.compile(r"\s*#{1,6}\s+(?=\S)")
_BOLD = re.compile(r"\*\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*\*")

_TEX_WORDS = re.compile(r"\\[a-zA-Z]+(?:\{[a-zA-Z ]*\})?")
_TEX_FORBIDDEN = re.compile(
    r"\\(?:href|url|include|html|def|gdef|edef|xdef|let|future|global|(?:re|provide)?newcommand|rule|raisebox|[hmk]?kern|[hm]?skip|[hmv]space)"
    r"|www\.|@",
    re.IGNORECASE,
)
_TEX_SPACES = re.compile(r"(?<=:)(?=[\w/])|(?<=!)(?=\[)|(?<=\])(?=[(\[:])")
LONGEST_FORMULA = 1000


class Kind(Enum):
    TEXT = auto()
    CODE = auto()
    FORMULA = auto()
    DISPLAY = auto()


class Piece(NamedTuple):
    """A run of a text: `start` and `end` are its place in the text, `content` what is between the marks."""

    kind: Kind
    content: str
    start: int
    end: int


def escape(text: str) -> str:
    """One line of text that Markdown shows as it is."""
    text = _CONTROLS.sub("", re.sub(r"\s*[\r\n]\s*", " ", text))
    return _PUNCTUATION.sub(r"\\\g<0>", _LATE_RULES.sub(lambda found: found[0] + JOINER, text))


def label(text: str, longest: int = 200) -> str:
    """A text on a button, in a title or in a caption: one line, no markup at all, cut at `longest` characters."""
    line = " ".join(text.split())
    return escape(line if len(line) <= longest else line[: longest - 1].rstrip() + "…")


def rich(text: str, colour: str = "") -> str:
    """A text with its formulas, code, bold words and line breaks; `colour` is a name Streamlit knows, such as `gray`."""
    return _from_pieces(pieces(_links_as_text(text)), colour)


def marked(text: str, quote: str) -> str:
    """A document's text with the first place of `quote` highlighted; without a highlight when the quote is not in it."""
    return marked_at(text, find_quote(text, quote))


def marked_at(text: str, span: tuple[int, int] | None, colour: str = "yellow-background") -> str:
    """A document's text with the characters of `span` highlighted."""
    parts = pieces(text)
    if span is None:
        return _from_pieces(parts)
    return _join([_piece(part, colour if inside else "") for part, inside in _split_at(parts, *span)])


def find_quote(text: str, quote: str) -> tuple[int, int] | None:
    """Where the words of `quote` stand in `text`, whatever the white space between them."""
    words = quote.split()
    found = re.search(r"\s+".join(map(re.escape, words)), text) if words else None
    return found.span() if found else None


def sentences(written: Sequence[Sentence], mode: Mode, draft: str = "", links: Mapping[int, str] | None = None) -> str:
    """An answer: its sentences with the numbers of their sources, then the sentence being written, muted.

    Sentences of a generated answer run on; list items and texts of several lines stand by themselves, and so do quotations.

    Args:
        links: where the number of a source leads: addresses made by `ui.state.link`, of this page alone.
    """
    quotes = [mode is Mode.EXTRACTIVE or one.quoted for one in written]
    shown = [
        (_sentence(one, quoted, links or {}), quoted or _is_item(one.text) or "\n" in one.text)
        for one, quoted in zip(written, quotes, strict=True)
    ]
    if draft.strip():
        shown.append((_bullet(draft) + rich(_LIST_ITEM.sub("", draft, count=1), "gray"), _is_item(draft)))
    blocks: list[str] = []
    alone_before = True
    for text, alone in shown:
        if alone or alone_before:
            blocks.append(text)
        else:
            blocks[-1] += f" {text}"
        alone_before = alone
    return "\n\n".join(blocks)


def markers(numbers: Sequence[int], links: Mapping[int, str]) -> str:
    """`[1] [3]`, set apart from brackets that a text may hold: links where they lead somewhere."""
    return " ".join(f"[\\[{n}\\]]({links[n]})" if n in links else f":primary[\\[{n}\\]]" for n in numbers)


def _sentence(sentence: Sentence, quoted: bool, links: Mapping[int, str]) -> str:
    words = re.sub(r"\n\s*\n", "\n", sentence.text)
    text = rich(words if quoted else _LIST_ITEM.sub("", words, count=1))
    mark = ""
    if sentence.support in MARK_COLOURS:
        mark = f" :{MARK_COLOURS[sentence.support]}[*{escape(f'({SUPPORT[sentence.support]})')}*]"
    number = f" {markers(sentence.citations, links)}" if sentence.citations else ""
    shown = f"{text}{mark}{number}"
    return "\n".join(f"> {line}" for line in shown.split("\n")) if quoted else _bullet(sentence.text) + shown


def _is_item(text: str) -> bool:
    return _LIST_ITEM.match(text) is not None


def _bullet(text: str) -> str:
    """The Markdown of a list item's beginning: `- `, `3. `, or nothing."""
    item = _LIST_ITEM.match(text)
    if item is None:
        return ""
    return f"{item[1]}. " if item[1] else "- "


# --- pieces


def pieces(text: str) -> list[Piece]:
    """A text cut into plain runs, code and formulas, in order, nothing left out."""
    found: list[Piece] = []
    place = 0
    for match in _PIECE.finditer(text):
        piece = _special(match)
        if piece is None:
            continue
        if match.start() > place:
            found.append(Piece(Kind.TEXT, text[place : match.start()], place, match.start()))
        found.append(piece)
        place = match.end()
    if place < len(text):
        found.append(Piece(Kind.TEXT, text[place:], place, len(text)))
    return found


def _special(match: re.Match[str]) -> Piece | None:
    """The code or formula that was found, unless it only looks like one."""
    assert match.lastgroup is not None
    content = match[match.lastgroup]
    if match.lastgroup == "code":
        return Piece(Kind.CODE, content, *match.span())
    if _TEX_FORBIDDEN.search(content) or len(content) > LONGEST_FORMULA or not content.strip() or content.endswith("\\"):
        return None
    if match.lastgroup in ("inline", "block") and not is_formula(content.strip()):
        return None
    return Piece(Kind.DISPLAY if match.lastgroup in ("block", "bracket") else Kind.FORMULA, content, *match.span())


def is_formula(content: str) -> bool:
    """Whether what stands between two dollar signs is mathematics rather than the text between two prices."""
    prose = re.findall(r"[^\W\d_]{2,}", _TEX_WORDS.sub(" ", content))
    if content[0].isdigit() and prose:
        return False
    return len(prose) < 2 or bool(re.search(r"[\\^_=+*/<>|]", content))


def _split_at(parts: Sequence[Piece], start: int, end: int) -> Iterator[tuple[Piece, bool]]:
    """The pieces, text cut where the span begins and ends, each with whether it lies in the span."""
    for part in parts:
        if part.kind is not Kind.TEXT:
            yield part, start <= part.start < end
            continue
        cuts = sorted({part.start, part.end, *(cut for cut in (start, end) if part.start < cut < part.end)})
        for left, right in pairwise(cuts):
            yield Piece(Kind.TEXT, part.content[left - part.start : right - part.start], left, right), start <= left < end


def _from_pieces(parts: Sequence[Piece], colour: str = "") -> str:
    return _join([_piece(part, colour) for part in parts])


def _join(rendered: Sequence[str]) -> str:
    """Rendered pieces as paragraphs; a line break inside one is kept."""
    paragraphs = re.split(r"\n\s*\n", "".join(rendered).strip())
    return "\n\n".join(paragraph if paragraph.startswith("$$\n") else _hard_breaks(paragraph) for paragraph in paragraphs)


def _hard_breaks(paragraph: str) -> str:
    return "\\\n".join(line.strip() for line in paragraph.split("\n"))


def _piece(piece: Piece, colour: str = "") -> str:
    match piece.kind:
        case Kind.CODE:
            return f"`{_CONTROLS.sub('', piece.content)}`"
        case Kind.FORMULA:
            return f"${_tex(piece.content)}$"
        case Kind.DISPLAY:
            return f"\n\n$$\n{_tex(piece.content)}\n$$\n\n"
        case _:
            return "\n".join(_line(line, colour) for line in re.split(r"\r\n?|\n", piece.content))


def _line(line: str, colour: str) -> str:
    """A line of plain text: a heading as bold, bold words as bold, the rest escaped. White space at the ends stays for the neighbours."""
    stripped = line.strip()
    if not stripped:
        return line
    before, after = line[: len(line) - len(line.lstrip())], line[len(line.rstrip()) :]
    if heading := _HEADING.match(stripped):
        shown = f"**{escape(stripped[heading.end() :].rstrip('#').strip() or stripped)}**"
    else:
        shown = "".join(f"**{escape(part)}**" if index % 2 else escape(part) for index, part in enumerate(_BOLD.split(stripped)))
    return f"{before}{f':{colour}[{shown}]' if colour else shown}{after}"


def _tex(content: str) -> str:
    """A formula in one line that would be harmless even if it were read as Markdown."""
    line = " ".join(re.sub(r"(?<!\\)%[^\n]*", "", _CONTROLS.sub("", content)).split())
    line = line.replace("<", r"\lt ").replace(">", r"\gt ")
    return _TEX_SPACES.sub(" ", line).strip()


def _links_as_text(text: str) -> str:
    """Markdown's links and images as their words, with the host they lead to."""

    def words(match: re.Match[str]) -> str:
        try:
            host = urlsplit(match[3]).hostname or ""
        except ValueError:
            host = ""
        shown = f"image: {match[2]}" if match[1] else match[2]
        return f"{shown} ({host})" if host else match[0]

    return _LINK.sub(words, text)
