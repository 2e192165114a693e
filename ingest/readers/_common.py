"""What several readers share: bytes to characters, titles, rows, and sections under headings.

Knows nothing of any one format.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
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
_SAMPLE_CHARACTERS = 1000  # beyond ASCII, looked at to tell one Latin code page from another
_HIGH_BYTE = re.compile(rb"(?=(.|^)([\x80-\xff])(.|$))", re.DOTALL)
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,100}?encoding=[\"']([\w.:-]+)[\"']")
_NO_DECLARATIONS = ("utf-16", "utf-32", "unicode", "raw", "idna", "punycode")  # were it one, the name could not have been read
_SUPERSETS = {  # what Windows and browsers write under these names has characters that the standards lack
    "shift_jis": "cp932", "shift_jis_2004": "cp932", "shift_jisx0213": "cp932", "euc_kr": "cp949", "gb2312": "gb18030",
    "gbk": "gb18030", "tis-620": "cp874", "tis_620": "cp874",
}  # fmt: skip
_LATIN_CODE_PAGES = ("cp1252", "mac_roman", "cp1250", "iso8859_2", "cp1254", "cp850")
_ALPHABETS = (  # the letters beyond a to z of English, French, German, Spanish, Portuguese, Italian, the North, and so on
    "éïçèñöà", "àâæçèéêëîïôœùûüÿ", "äöüß", "áéíñóúüªº", "àáâãçéêíóôõúüªº", "àèéìíîòóùú", "åäöæøé", "áéíóúýþæöð", "äöüõšž",
    "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "čćđšž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșțşţ", "çğıöşüîâİ",
)  # fmt: skip
_ANYWHERE = frozenset("\xa0°§©®™¥±×÷µ≤≥≠≈†‡¶¿¡¹²³½¼¾√∞")
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
    encoding = _declared_encoding(data) or _latin_code_page(data)
    if encoding is None:
        guess = from_bytes(data[:_SAMPLE_BYTES]).best()
        if guess is None:
            raise UnreadableDocument(f"{source} is in no known text encoding: save it as UTF-8")
        encoding = _SUPERSETS.get(guess.encoding, guess.encoding)
    return data.decode(encoding, errors="replace")


def _declared_encoding(data: bytes) -> str | None:
    """The encoding that an XML declaration names, if the bytes bear it out."""
    declared = _XML_ENCODING.match(data[:200])
    if not declared:
        return None
    try:
        name = codecs.lookup(declared[1].decode("ascii")).name
        if name.startswith(_NO_DECLARATIONS):
            return None
        encoding = _SUPERSETS.get(name, name)
        data.decode(encoding)
    except (LookupError, ValueError):  # LookupError: no such encoding, or none of text
        return None
    return encoding


def _latin_code_page(data: bytes) -> str | None:
    """The one-byte code page in which nearly all bytes above 127 are letters of one language or typography in their places.

    General guessers take a Macintosh or Windows text with a few curly quotes for one from anywhere: of 39 English syllabi in Mac Roman
    charset-normalizer knew none.
    """
    high = data.translate(None, delete=bytes(range(128)))
    if not high or b"\0" in data or len(high) * 3 > len(data):
        return None
    samples = [match.group(1, 2, 3) for match in islice(_HIGH_BYTE.finditer(data), _SAMPLE_CHARACTERS)]
    best, best_fit = None, 0.0
    for encoding in _LATIN_CODE_PAGES:
        contexts = [[byte.decode(encoding, errors="replace") for byte in sample] for sample in samples]
        sums = (sum(_fit(before, character, after, alphabet) for before, character, after in contexts) for alphabet in _ALPHABETS)
        fit = max(sums) / len(contexts)
        if fit > best_fit + 1e-9:
            best, best_fit = encoding, fit
    return best if best_fit > 0.6 else None


def _fit(before: str, character: str, after: str, alphabet: str) -> int:
    """1 for a character that belongs where it stands, -2 for one that does not, 0 for one that may stand anywhere."""
    belongs: bool
    if character in _ANYWHERE:
        return 0
    if character in "ﬁﬂ":
        belongs = before.islower() or after.islower()
    elif character in "’‘":
        belongs = before.isalnum() or after.isalnum()
    elif character in "“„«‹":
        belongs = not before.isalnum() and not after.isspace()
    elif character in "”»›":
        belongs = not before.isspace()
    elif character == "…":
        belongs = not (before.isalpha() and after.isalpha())
    elif character in "£€":
        belongs = before.isspace() and after.isdecimal()
    elif character in "–—•":
        belongs = before.isspace() or not after.isalpha()
    elif character.isupper():
        belongs = character.lower() in alphabet and not before.islower()
    else:
        belongs = character in alphabet and (before.isalpha() or after.isalpha() or before.isspace() == after.isspace())
    return 1 if belongs else -2


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
