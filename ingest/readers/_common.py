"""What several readers share: bytes to characters, titles, rows, and sections under headings.

Knows nothing of any one format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from charset_normalizer import from_bytes

from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind, Section

TITLE_CHARACTERS = 150  # a longer line is a paragraph, not a title

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_SAMPLE_BYTES = 1 << 16  # charset-normalizer takes seconds on megabytes; 64 KiB tell as much
_NO_TITLES = frozenset({"contents", "table of contents", "abstract", "inhaltsverzeichnis", "untitled", "title", "no title"})
_WORD = re.compile(r"\w+")
_FILE_NAME = re.compile(r"\.(docx?|pptx?|pdf|tex|dvi|odt|pages|indd|rtf|txt|html?)$", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\0-\x08\x0e-\x1f\x7f\ud800-\udfff\u2060\ufeff\ufffe\uffff]")
_LINE_ENDS = re.compile(r"\r\n?")
_ODD_BREAKS = re.compile(r"[\x0b\x0c\x85\u2028\u2029]")  # str.splitlines knows them, editors that count lines do not


def clean(text: str) -> str:
    """`text` with newlines as `\\n` and without control characters, lone surrogates, joiners and byte order marks."""
    return _UNPRINTABLE.sub("", _ODD_BREAKS.sub(" ", _LINE_ENDS.sub("\n", text)))


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


def stem(source: str) -> str:
    """The file's name without folder and suffix: the title of last resort."""
    return PurePosixPath(source).stem


def choose_title(candidates: Iterable[str], source: str) -> str:
    """The first candidate that can stand for a document in a list of sources; the file's name when none can."""
    titles = (one_line(candidate) for candidate in candidates)
    return next((title for title in titles if 2 < len(title) <= TITLE_CHARACTERS and title.lower() not in _NO_TITLES), stem(source))


def is_title(title: str, opening: str) -> bool:
    """Whether a title from a file's metadata names this file: no program's default, and its words stand in the opening text.

    Metadata outlives many rounds of save-as: a title that the reader cannot see on the first page belongs to another document.
    """
    words = _WORD.findall(title.lower())
    seen = set(_WORD.findall(opening.lower()))
    return 0 < len(title) <= TITLE_CHARACTERS and not _FILE_NAME.search(title) and 2 * sum(word in seen for word in words) > len(words)


def decode(data: bytes, source: str) -> str:
    """The file's characters, whatever its encoding: byte order mark, UTF-8, UTF-16 and UTF-32 without a mark, then a guess.

    Raises:
        UnreadableDocument: these bytes are no text.
    """
    text = _decode_marked(data)
    if text is None:
        text = _decode_guessed(data, source)
    # Real text has almost no control characters; a program or an image renamed to .txt is full of them.
    if len(_UNPRINTABLE.findall(text)) > len(text) // 20:
        raise UnreadableDocument(f"{source} holds control characters, not text: it may be a binary file under a wrong name")
    return clean(text)


def _decode_marked(data: bytes) -> str | None:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    # Without a mark, plain text in UTF-16 or UTF-32 betrays itself by zeros at fixed places.
    zeros = [data[:4096][place::4].count(0) * 8 > len(data[:4096]) for place in range(4)]
    wide: dict[tuple[int, ...], str] = {
        (0, 1, 1, 1): "utf-32-le",
        (1, 1, 1, 0): "utf-32-be",
        (0, 1, 0, 1): "utf-16-le",
        (1, 0, 1, 0): "utf-16-be",
    }
    encoding = wide.get(tuple(map(int, zeros)), "iso2022_jp" if b"\x1b$" in data[:4096] else "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _decode_guessed(data: bytes, source: str) -> str:
    guess = from_bytes(data[:_SAMPLE_BYTES]).best()
    if guess is None:
        raise UnreadableDocument(f"{source} is in no known text encoding: save it as UTF-8")
    return data.decode(guess.encoding, errors="replace")


def table_row(cells: Iterable[str]) -> str:
    """One table row as one line, `a | b | c`; nothing if every cell is empty."""
    texts = [one_line(cell) for cell in cells]
    return " | ".join(texts) if any(texts) else ""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph; or, when `tight`, a list item or table row that keeps close to its likes."""

    text: str
    tight: bool = False


def join_blocks(blocks: Sequence[Block]) -> str:
    """The blocks as text: a blank line between them, a newline between tight ones that follow each other."""
    pieces: list[str] = []
    before: Block | None = None
    for block in blocks:
        if not block.text.strip():
            continue
        if before:
            pieces.append("\n" if before.tight and block.tight else "\n\n")
        pieces.append(block.text)
        before = block
    return "".join(pieces)


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and what stands beneath it. `level` is 1 and deeper, 0 before the first heading; `line` is the heading as it is written."""

    level: int
    heading: str
    line: str
    body: str


def sections_of(parts: Sequence[Part]) -> tuple[Section, ...]:
    """Sections at HEADING locations, each with the path of headings it stands under and the heading's own line in front.

    A heading followed at once by a deeper one goes to the front of that one's section: alone it would be found for its words and answer
    nothing.
    """
    sections: list[Section] = []
    path: list[Part] = []
    texts: list[str] = []
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        path = [step for step in path if step.level < part.level] + ([part] if part.level else [])
        texts += [text.strip("\n") for text in (part.line, part.body) if text.strip()]
        if not part.body.strip() and following and following.level > part.level:
            continue
        if texts:
            heading = tuple(step.heading for step in path if step.heading)
            sections.append(Section("\n\n".join(texts), Location(LocationKind.HEADING, heading=heading)))
        texts = []
    return tuple(sections)
