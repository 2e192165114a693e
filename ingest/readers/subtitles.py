"""Subtitles (SubRip and WebVTT), joined from cues of a few words into passages of about a minute, cited by time."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from ingest.readers._common import decode, one_line, stem
from ingest.readers._hidden import strip_text
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

SECTION_SECONDS = 45
LONGEST_SECTION_SECONDS = 90  # automatic captions have no full stops; a passage ends all the same

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_SPEAKER = re.compile(r"<v(?:\.[\w.]{1,100})?\s([^<>]{1,200})>")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_SENTENCE_END = re.compile(r"[.!?…。？！][\"'”’)\]]*$")


class Cue(NamedTuple):
    """What is shown from `start`, in seconds."""

    start: float
    text: str


def read(data: bytes, source: str) -> Document:
    """Sections of about 45 seconds that end with a sentence where there are any."""
    cues = _drop_repeats(_parse_cues(decode(data, source)))
    if not cues:
        raise UnreadableDocument(f"{source} holds no subtitle cues: expected lines such as 00:00:01,000 --> 00:00:04,000")
    sections: list[Section] = []
    first = 0
    for number, cue in enumerate(cues):
        following = cues[number + 1] if number + 1 < len(cues) else None
        seconds = following.start - cues[first].start if following else 0
        ended = _SENTENCE_END.search(cue.text) is not None
        if not following or seconds >= LONGEST_SECTION_SECONDS or (seconds >= SECTION_SECONDS and ended):
            sections.append(_section(cues[first : number + 1]))
            first = number + 1
    return Document(stem(source), tuple(sections))


def read_cues(data: bytes, source: str) -> list[Cue]:
    """What is said, in order, each thing once, as it is shown to a person: without characters that have no shape."""
    cues = _drop_repeats(_parse_cues(decode(data, source)))
    return [Cue(cue.start, strip_text(cue.text)) for cue in cues]


def _section(cues: list[Cue]) -> Section:
    text = re.sub(r"\s*\n\s*", "\n", " ".join(cue.text for cue in cues)).strip()
    return Section(text, Location(LocationKind.TIME, int(cues[0].start)))


def _parse_cues(text: str) -> list[Cue]:
    """The cues in file order; notes, styles, numbers and settings are left out. A change of speaker starts a line with `Name:`."""
    cues: list[Cue] = []
    speaker = ""
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.split("\n")
        timing = next((number for number, line in enumerate(lines) if _TIMING.match(line)), None)
        if timing is None or lines[0].startswith("NOTE"):
            continue
        for line in lines[timing + 1 :]:
            named = _SPEAKER.search(line)
            words = one_line(html.unescape(_TAG.sub("", line)))
            if named and words and named[1].strip() != speaker:
                speaker = named[1].strip()
                words = f"\n{speaker}: {words}"
            if words:
                cues.append(Cue(_seconds(lines[timing]), words))
    return cues


def _seconds(line: str) -> float:
    match = _TIMING.match(line)
    assert match is not None, "only called on lines that matched"
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + int(match[3]) + int(match[4].ljust(3, "0")) / 1000


def _drop_repeats(cues: list[Cue]) -> list[Cue]:
    """Rolling captions show each line two or three times as it moves up the screen: the first time counts."""
    kept: list[Cue] = []
    for cue in cues:
        recent = [earlier for earlier in kept[-2:] if cue.start - earlier.start < 10]
        if any(earlier.text == cue.text for earlier in recent):
            continue
        if recent and cue.text.startswith(recent[-1].text + " "):  # the line grows word by word
            kept[-1] = Cue(recent[-1].start, cue.text)
            continue
        kept.append(cue)
    return kept
