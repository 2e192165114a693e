import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind


def test_lines_are_kept_and_counted_without_blank_ends() -> None:
    document = read_document(b"\r\nOffice Hours\r\n\r\nMonday 3 pm  \r\nroom 12\r\n\r\n", "hours.txt")
    assert document.text == "Office Hours\n\nMonday 3 pm\nroom 12"
    assert [section.location for section in document.sections] == [Location(LocationKind.LINE, 2, 5)]
    assert document.title == "Office Hours"


def test_two_or_more_headings_make_sections() -> None:
    document = read_document(b"CS 101\n\n# Grading\nFive labs.\n\n## Late days ##\nThree.\n# Exam\nIn May.\n", "syllabus.txt")
    assert [(section.text, section.location) for section in document.sections] == [
        ("CS 101", Location(LocationKind.LINE, 1, 1)),
        ("# Grading\nFive labs.", Location(LocationKind.LINE, 3, 4, ("Grading",))),
        ("## Late days ##\nThree.", Location(LocationKind.LINE, 6, 7, ("Grading", "Late days"))),
        ("# Exam\nIn May.", Location(LocationKind.LINE, 8, 9, ("Exam",))),
    ]


def test_one_heading_alone_may_be_a_comment() -> None:
    document = read_document(b"# install first\npip install lectern\n", "steps.txt")
    assert document.sections[0].location == Location(LocationKind.LINE, 1, 2)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""),
        ("utf-32-be", b""),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16-le with mark", "utf-16-be with mark", "utf-16-le", "utf-32-be"],
)
def test_unicode_encodings(encoding: str, mark: bytes) -> None:
    text = "Übung: schätze den Fehler ab."
    assert read_document(mark + text.encode(encoding), "a.txt").text == text


def test_older_encodings_are_guessed() -> None:
    text = "Die Prüfung findet am Dienstag statt. Für die Übungen gibt es Punkte, die größtenteils zählen."
    assert read_document(text.encode("cp1252"), "a.txt").text == text
    text = "Лекция о сортировке: быстрая сортировка делит список на две части и сортирует каждую из них."
    assert read_document(text.encode("cp1251"), "a.txt").text == text


@pytest.mark.parametrize(
    ("first", "title"),
    [
        ("Lecture 3: Trees", "Lecture 3: Trees"),
        ("- Hello and welcome back.", "talk"),
        ("so today we will look at trees", "talk"),
        ("x" * 80, "talk"),
        ("Welcome everybody, this is a sentence.", "talk"),
    ],
)
def test_title_is_the_first_line_only_if_it_looks_like_one(first: str, title: str) -> None:
    assert read_document(f"{first}\nand then some more\n".encode(), "week1/talk.txt").title == title


def test_binary_rubbish_is_refused() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.txt (holds control characters|is in no known text encoding)"):
        read_document(bytes(range(256)) * 20, "a.txt")


def test_only_characters_that_cannot_be_shown() -> None:
    with pytest.raises(UnreadableDocument, match="no text"):
        read_document(b"\xef\xbb\xbf\n\n", "a.txt")
