import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

SRT = """1
00:00:01,000 --> 00:00:04,000
<i>Welcome</i> to the

2
00:00:04,000 --> 00:00:07,500
course on sorting.

3
00:00:50,000 --> 00:00:55,000
Let us begin.

4
01:00:00,000 --> 01:00:02,000
Goodbye &amp; thanks.
"""


def test_cues_are_joined_at_sentence_ends() -> None:
    document = read_document(SRT.encode(), "week1/talk.srt")
    assert [(section.text, section.location) for section in document.sections] == [
        ("Welcome to the course on sorting.", Location(LocationKind.TIME, 1)),
        ("Let us begin.", Location(LocationKind.TIME, 50)),
        ("Goodbye & thanks.", Location(LocationKind.TIME, 3600)),
    ]
    assert document.title == "talk"


def test_webvtt_speakers_notes_and_settings() -> None:
    vtt = """WEBVTT

NOTE made by hand
00:01.000 --> 00:02.000

STYLE
::cue { color: red }

intro
00:01.500 --> 00:03.000 align:start position:10%
<v Ada>Hello <c.loud>there</c>.

00:03.000 --> 00:04.000
<v Ada>How are you?

00:04.000 --> 00:05.000
<v.first Bob>Fine.
"""
    document = read_document(vtt.encode(), "a.vtt")
    assert [(section.text, section.location.number) for section in document.sections] == [("Ada: Hello there. How are you?\nBob: Fine.", 1)]


def test_rolling_captions_say_each_line_once() -> None:
    vtt = """WEBVTT

00:00.000 --> 00:02.000
we look at trees

00:02.000 --> 00:04.000
we look at trees
and at their height

00:04.000 --> 00:06.000
and at their height
today
"""
    assert read_document(vtt.encode(), "a.vtt").text == "we look at trees and at their height today"


def test_captions_without_full_stops_are_cut_all_the_same() -> None:
    cues = "\n\n".join(f"00:{second // 60:02}:{second % 60:02},000 --> 00:59:59,000\nword{second}" for second in range(0, 200, 10))
    starts = [section.location.number for section in read_document(cues.encode(), "a.srt").sections]
    assert starts == [0, 90, 180]


def test_no_cues() -> None:
    with pytest.raises(UnreadableDocument, match="no subtitle cues: expected lines such as"):
        read_document(b"Just text\n", "a.srt")
