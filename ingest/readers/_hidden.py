"""Text that a person does not see: characters without a shape, taken out of every document, and the notices that say what was left out.

A prompt must hold only what its reader could have read. What a format hides by layout (white on white, off the page) its own reader finds
and counts in a HiddenText; characters are the same everywhere and go here. Joiners stay where scripts and emoji need them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ingest.readers._common import stem
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

EXCERPT_CHARACTERS = 40
LARGEST_LIST = 8  # notices of one document; a page of white words has thousands of runs

_ZERO_WIDTH = "\u200b-\u200d\u180e\u034f\u115f\u1160\u3164\uffa0\u2060-\u2064\u206a-\u206f\ufeff"
_DIRECTIONS = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_TAGS = "\U000e0000-\U000e007f"
_SUSPECT = re.compile(f"[{_ZERO_WIDTH}{_DIRECTIONS}{_SELECTORS}{_TAGS}]")
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f")  # England, Scotland, Wales …
_TAG_RUN = re.compile(f"[{_TAGS}]+")
_SELECTOR_RUN = re.compile(f"[{_SELECTORS}]{{2,}}")
_LONE_SELECTOR = re.compile(
    "(?<=[A-Za-z\u00c0-\u024f\\s])[\ufe00-\ufe0f]|(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
)
_ZERO_WIDTH_RUN = re.compile(f"[{_ZERO_WIDTH}]+")
_SPLIT_WORD = re.compile(f"\\w+(?:[{_ZERO_WIDTH}]+\\w+)+")
_OVERRIDE = re.compile("[\u202d\u202e]([^\u202c\n]*)")
_EMBEDDING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MARK = re.compile("[\u200e\u200f\u061c]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe]")
# Scripts whose letters a joiner or non-joiner shapes, and emoji, which it makes one of several.
_JOINED = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\u1a20-\u1b7f\ua840-\uabff\ufb50-\ufdff\ufe70-\ufefe"
_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_JOINER = re.compile(
    f"(?<=[{_JOINED}])[\u200c\u200d]|(?<=[{_EMOJI}])\u200d(?=[{_EMOJI}])|(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b"
)
_SPLIT_WORDS = 3  # fewer are line-break hints of a web page, which are taken out without a word
_LONG_RUN = 4  # zero-width characters in a row: no typographer needs them, hidden bits do

_PREPOSITIONS = {LocationKind.HEADING: "under", LocationKind.CELL: "in", LocationKind.LINE: "in", LocationKind.TIME: "at"}


@dataclass
class HiddenText:
    """What has been left out because nobody would see it: per kind and place, its characters and its beginning."""

    found: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, kind: str, place: str, text: str) -> None:
        """Note a piece; blanks are none. `kind` holds `{n}` for their number (`{n} white characters`), `place` is `on page 3`."""
        words = " ".join(text.split())
        if words:
            before = self.found.get((kind, place))
            self.found[kind, place] = f"{before} {words}" if before else words

    def notices(self) -> tuple[str, ...]:
        notices = [
            f"hidden text left out: {kind.format(n=f'{len(text):,}')} {place} ({_excerpt(text)})"
            for (kind, place), text in self.found.items()
        ]
        more = len(notices) - LARGEST_LIST
        return (*notices[:LARGEST_LIST], f"hidden text left out in {more} more places") if more > 0 else tuple(notices)


def strip_hidden(document: Document, source: str) -> Document:
    """The document without characters that have no shape, and with a notice for those that may carry words.

    Raises:
        UnreadableDocument: nothing else was in it.
    """
    if not _SUSPECT.search(document.title) and not any(_is_suspect(section) for section in document.sections):
        return document
    hidden = HiddenText()
    sections = [_strip_section(section, hidden) for section in document.sections]
    kept = tuple(section for section in sections if section.text.strip())
    if not kept:
        raise UnreadableDocument(f"{source} holds no text but hidden characters: write it again in its own program")
    facts = {key: strip_text(value) for key, value in document.facts.items()}
    title = strip_text(document.title).strip() or stem(source)
    return replace(document, title=title, sections=kept, facts=facts, notices=(*document.notices, *hidden.notices()))


def strip_text(text: str, note: Callable[[str, str], None] = lambda kind, words: None) -> str:
    """`text` without characters that have no shape; `note` gets the kind and the decoded words of those that may carry a message."""
    if text.isascii() or not _SUSPECT.search(text):
        return text
    flags = _FLAG.findall(text)
    text = _FLAG.sub("\ue010", text.replace("\ue010", "")) if flags else text
    for kind, words in _messages(text):
        note(kind, words)
    before = ""
    while text != before:  # what goes may have been all that stood between two others
        before, text = text, _strip_once(text)
    return re.sub("\ue010", lambda match: flags.pop(0), text) if flags else text


def _strip_once(text: str) -> str:
    text = _ZERO_WIDTH_RUN.sub(lambda match: match[0] if _JOINER.match(text, match.start()) and len(match[0]) == 1 else "", text)
    text = _LONE_SELECTOR.sub("", _SELECTOR_RUN.sub("", _TAG_RUN.sub("", text)))
    return _EMBEDDING.sub("", text) if _RIGHT_TO_LEFT.search(text) else _EMBEDDING.sub("", _MARK.sub("", text))


def _messages(text: str) -> Iterator[tuple[str, str]]:
    """Kind and decoded words of each thing in `text` that may carry a message past its reader."""
    for match in _TAG_RUN.finditer(text):
        yield "{n} tag characters", "".join(chr(ord(character) - 0xE0000) for character in match[0])
    for match in _SELECTOR_RUN.finditer(text):
        yield "{n} variation selectors", bytes(map(_selector_byte, match[0])).decode("utf-8", errors="replace")
    for match in _ZERO_WIDTH_RUN.finditer(text):
        if len(match[0]) >= _LONG_RUN:
            yield "{n} zero-width characters", "\u00b7" * len(match[0])
    split = [match[0] for match in _SPLIT_WORD.finditer(text) if not re.search(f"[{_JOINED}\u0e00-\u0eff{_EMOJI}]", match[0])]
    if len(split) >= _SPLIT_WORDS:
        yield "zero-width characters inside words of {n} letters", " ".join(_ZERO_WIDTH_RUN.sub("", word) for word in split)
    if not _RIGHT_TO_LEFT.search(text):
        for match in _OVERRIDE.finditer(text):
            yield "direction controls that reverse {n} characters", match[1] or match[0]


def _selector_byte(character: str) -> int:
    """The byte that a variation selector stands for where text is smuggled in them: VS1 is 0, VS256 is 255."""
    code = ord(character)
    return code - 0xFE00 if code < 0xE0000 else code - 0xE0100 + 16


def _is_suspect(section: Section) -> bool:
    headings = section.location.heading
    return _SUSPECT.search(section.text) is not None or (bool(headings) and _SUSPECT.search("".join(headings)) is not None)


def _strip_section(section: Section, hidden: HiddenText) -> Section:
    place = place_in_words(section.location)
    text = strip_text(section.text, lambda kind, words: hidden.add(kind, place, words)).strip("\n")
    heading = tuple(strip_text(step).strip() for step in section.location.heading)
    return Section(text, replace(section.location, heading=tuple(step for step in heading if step)))


def place_in_words(location: Location) -> str:
    """The place with its preposition: `on page 3`, `under Grading › Late days`, `at 12:31`."""
    label = strip_text(location.label)
    return f"{_PREPOSITIONS.get(location.kind, 'on')} {label if len(label) <= 80 else f'{label[:79]}…'}"


def _excerpt(text: str) -> str:
    words = "".join(character if character.isprintable() else "\u00b7" for character in text)
    return f'"{words}"' if len(words) <= EXCERPT_CHARACTERS else f'"{words[:EXCERPT_CHARACTERS].rstrip()}…"'
