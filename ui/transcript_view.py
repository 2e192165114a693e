"""What is said in a recording at the cited time, cue by cue, with what is said before and after."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby

import streamlit as st

from ingest.readers.subtitles import Cue, read_cues
from rag.types import Location, LocationKind
from ui import render
from ui.opened import Opened, remembered
from ui.text_view import show_turns

AROUND = 2
"""Cues shown before and after the part that was read as one."""


def show_transcript(opened: Opened, data: bytes) -> None:
    """The cues of the cited part of a transcript, or of the one that the reader has turned to.

    Raises:
        UnreadableDocument: the file is no text.
    """
    cues = remembered(opened.store, data, 0, lambda: join_lines(read_cues(data, opened.passage.source)))
    part = opened.part
    show_turns(opened)
    begin = bisect_left([int(cue.start) for cue in cues], part.location.number or 0)
    after = opened.parts[opened.here + 1 :]
    following = after[0].location.number if after else None
    end = bisect_left([int(cue.start) for cue in cues], following) if following is not None else len(cues)
    cited = opened.words if opened.span_in(part) else ""
    with st.container(border=True, key="source-text"):
        st.markdown(set_cues(cues, begin, end, cited))


def join_lines(cues: Sequence[Cue]) -> list[Cue]:
    """The cues with those of the same moment as one: the reader makes one of each line."""
    return [Cue(start, " ".join(cue.text for cue in lines)) for start, lines in groupby(cues, key=lambda cue: cue.start)]


def set_cues(cues: Sequence[Cue], begin: int, end: int, cited: str) -> str:
    """The cues from `begin` to `end` and AROUND more on both sides, each in a line with its time, the cited words highlighted."""
    spans = spread([cue.text for cue in cues[begin:end]], cited)
    lines = []
    for index in range(max(begin - AROUND, 0), min(end + AROUND, len(cues))):
        span = spans[index - begin] if begin <= index < end else None
        time = Location(LocationKind.TIME, int(cues[index].start)).label
        lines.append(f"**{render.label(time)}** {render.marked_at(' '.join(cues[index].text.split()), span)}")
    return "\n\n".join(lines)


def spread(texts: Sequence[str], words: str) -> list[tuple[int, int] | None]:
    """Where `words` stand in each of the texts, when they stand in them one after the other, white space aside."""
    lines = [" ".join(text.split()) for text in texts]
    found = render.find_quote(" ".join(lines), words)
    spans: list[tuple[int, int] | None] = []
    at = 0
    for line in lines:
        start, end = (max(found[0] - at, 0), min(found[1] - at, len(line))) if found else (0, 0)
        spans.append((start, end) if start < end else None)
        at += len(line) + 1
    return spans
