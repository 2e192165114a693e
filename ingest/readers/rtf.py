"""Rich Text Format, as WordPad, TextEdit and older word processors write it.

striprtf turns the control words into text but drops what a paragraph is. So headings and table cells are marked in the RTF itself before,
with characters that stand in no text. Left out: footnotes, text boxes, pictures, formulas, headers, the addresses of links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from striprtf.striprtf import rtf_to_text

from ingest.readers._common import Block, Part, choose_title, clean, is_title, join_blocks, one_line, sections_of, table_row
from rag.errors import UnreadableDocument
from rag.types import Document

# Private-use characters: a heading of level 1 to 9, a paragraph in a table, the end of a cell, the end of a row.
_HEADING = 0xE000
_IN_TABLE, _CELL, _ROW = "\ue009", "\ue00a", "\ue00b"
_MARKS = {"intbl": _IN_TABLE, "cell": _CELL, "nestcell": _CELL, "row": _ROW}

_TOKEN = re.compile(
    r"(?P<nested>\{\\\*\\nesttableprops\b)|\\(?:(?P<word>[a-zA-Z]+)(?P<number>-?\d+)? ?|(?P<symbol>[^a-zA-Z]))|[{}]|(?P<byte>[\x80-\xff])",
    re.DOTALL,
)
_BINARY = re.compile(rb"(?<!\\)\\bin(\d{1,9}) ?")
_PICTURE = re.compile(r"(?<![0-9a-fA-F\r\n])[0-9a-fA-F\r\n]{1000,}")
_TITLE = re.compile(r"\{\\title\s([^{}]*)\}")
_CODE_PAGE = re.compile(r"\\ansicpg\d+")
_HEADING_LINE = re.compile(rf"[{chr(_HEADING)}-{chr(_HEADING + 8)}]")
_BULLET = re.compile(r"[·•▪◦o§\uf0b7\uf0a7–-]\t\s*")
_NUMBERED = re.compile(r"(\(?[0-9a-zA-Z]{1,4}[.)])\t\s*")
_TYPOGRAPHY = str.maketrans({"\xad": None, "\u2011": "-", "\xa0": " "})

FAULTS = (ValueError, LookupError, TypeError, OverflowError)
"""What striprtf raises on numbers out of range or missing, and on code pages that Python has not."""


def read(data: bytes, source: str) -> Document:
    """One Section a heading (a paragraph with an outline level); the whole text when there is none."""
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{\\rtf"):
        raise UnreadableDocument(f"{source} is no RTF file, which begins with {{\\rtf: it is damaged or has a wrong suffix; save it again")
    rtf = _PICTURE.sub("", _characters(_without_binary(data)))
    try:
        text = _text(_marked(rtf))
        title = _read_title(rtf)
    except FAULTS as error:
        raise UnreadableDocument(f"{source} is damaged ({error}): open it in a word processor and save it as .docx") from error
    parts = _parts(text.replace(_ROW, f"{_ROW}\n").split("\n"))
    sections = sections_of(parts)
    if not sections:
        raise UnreadableDocument(f"{source} holds no text (pictures only?)")
    opening = sections[0].text[:1000]
    headings = [part.heading for part in parts if part.heading]
    titles = (title if is_title(title, opening) else "", *headings[:1], opening.split("\n")[0])
    missing = _open_groups(rtf)
    notices = (f"it breaks off inside {missing} groups: the end may be missing",) if missing else ()
    return Document(choose_title(titles, source), sections, notices=notices)


def _without_binary(data: bytes) -> bytes:
    """The file without the raw bytes of pictures, among which any brace may be."""
    pieces: list[bytes] = []
    position = 0
    while found := _BINARY.search(data, position):
        pieces.append(data[position : found.start()])
        position = found.end() + int(found[1])
    return b"".join([*pieces, data[position:]])


def _characters(data: bytes) -> str:
    """The file's characters. RTF is ASCII; some programs write UTF-8 all the same, others the bytes of their code page."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _marked(rtf: str) -> str:
    """The RTF with marks for headings, cells and rows, and bytes beyond ASCII as the escapes they should have been."""
    return _TOKEN.sub(_mark, rtf)


def _mark(token: re.Match[str]) -> str:
    word, number, symbol = token["word"], token["number"] or "", token["symbol"]
    if token["nested"]:  # the end of a nested row is named only inside this group, of which nothing is shown
        return _shown(_ROW) + token[0]
    if token["byte"]:
        return f"\\'{ord(token['byte']):02x}"
    if word == "outlinelevel" and number.isdecimal() and int(number) <= 8:
        return _shown(chr(_HEADING + int(number)))
    if word in _MARKS:
        return _shown(_MARKS[word])
    # striprtf looks for links by a pattern that takes forever on long lines; the line end hides them from it and means nothing in RTF.
    return "\\*\n" if symbol == "*" else token[0]


def _shown(character: str) -> str:
    return f"{{\\uc1\\u{ord(character)}?}}"


def _text(rtf: str) -> str:
    """The text, with characters beyond the Basic Multilingual Plane joined from the halves in which RTF writes them."""
    text = str(rtf_to_text(rtf, errors="replace"))
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return clean(whole).translate(_TYPOGRAPHY)


def _read_title(rtf: str) -> str:
    """The title among the file's properties."""
    title, code_page = _TITLE.search(rtf), _CODE_PAGE.search(rtf)
    return one_line(_text(f"{{\\rtf1{code_page[0] if code_page else ''} {title[1]}}}")) if title else ""


def _open_groups(rtf: str) -> int:
    """How many groups the file has not closed at its end."""
    braces = [token[0][0] for token in _TOKEN.finditer(rtf) if token[0][0] in "{}"]
    return max(0, braces.count("{") - braces.count("}"))


def _parts(lines: list[str]) -> list[Part]:
    """Paragraphs gathered under their headings."""
    parts: list[Part] = []
    level, heading, blocks = 0, "", list[Block]()
    for line in _joined_rows(lines):
        mark = _HEADING_LINE.search(line)
        if mark and _ROW not in line and (title := one_line(_HEADING_LINE.sub("", line))):
            parts.append(Part(level, heading, heading, join_blocks(blocks)))
            level, heading, blocks = ord(mark[0]) - _HEADING + 1, title, []
        else:
            blocks += _blocks(_HEADING_LINE.sub("", line))
    return [*parts, Part(level, heading, heading, join_blocks(blocks))]


def _joined_rows(lines: list[str]) -> Iterator[str]:
    """The lines, those of one table row as one."""
    row: list[str] = []
    for line in lines:
        if row or _IN_TABLE in line or _CELL in line:
            row.append(line)
        else:
            yield line
        if _ROW in line:
            yield " ".join(row).replace(_IN_TABLE, "")
            row = []
    yield from (line.replace(_IN_TABLE, "") for line in row)  # a row that never ends


def _blocks(line: str) -> Iterator[Block]:
    """What a line holds: table rows, a list item or a paragraph."""
    *rows, text = line.split(_ROW)
    for row in rows:
        yield Block(table_row(row.removesuffix(_CELL).split(_CELL)), tight=True)
    if bullet := _BULLET.match(text.strip()):
        yield Block(f"- {one_line(text.strip()[bullet.end() :])}", tight=True)
    elif number := _NUMBERED.match(text.strip()):
        yield Block(f"{number[1]} {one_line(text.strip()[number.end() :])}", tight=True)
    else:
        yield Block(text.replace(_CELL, " ").strip())
