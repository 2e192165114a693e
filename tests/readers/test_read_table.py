import pytest

from ingest.chunk import chunk_document
from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind


def lines(data: str, name: str = "grades.csv") -> list[str]:
    return read_document(data.encode(), name).text.split("\n")


def test_records_carry_the_header() -> None:
    document = read_document(b"Name,Points,Remark\r\nAda,10,\r\nBob,7,late work\r\n", "data/grades.csv")
    assert document.text == "Name | Points | Remark\nName: Ada | Points: 10\nName: Bob | Points: 7 | Remark: late work"
    assert [section.location for section in document.sections] == [Location(LocationKind.LINE, 1, 3)]
    assert document.title == "grades"


def test_line_numbers_agree_with_the_file() -> None:
    data = '\nid,text\n1,"a\nb\n\nc"\n\n2,"say ""hi"""\n'
    document = read_document(data.encode(), "a.csv")
    assert document.text == 'id | text\nid: 1 | text: a b c\n\n\n\n\nid: 2 | text: say "hi"'
    assert document.sections[0].location == Location(LocationKind.LINE, 2, 8)
    chunks = chunk_document(document, lambda texts: [len(text.split()) for text in texts], 8)
    assert [(chunk.text, chunk.location.number) for chunk in chunks] == [
        ("id | text", 2),
        ("id: 1 | text: a b c", 3),
        ('id: 2 | text: say "hi"', 8),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "Name;Points\nAda;1,5\nBob;2,5\n"),
        ("a.csv", "Name\tPoints\nAda\t1,5\nBob\t2,5\n"),
        ("a.tsv", "Name\tPoints\nAda\t1,5\nBob\t2,5\n"),
        ("a.csv", "Name|Points\nAda|1,5\nBob|2,5\n"),
        ("a.csv", '"Name","Points"\n"Ada","1,5"\n"Bob","2,5"\n'),
    ],
    ids=["semicolon", "tab", "tsv", "bar", "quoted"],
)
def test_delimiters(name: str, data: str) -> None:
    assert lines(data, name) == ["Name | Points", "Name: Ada | Points: 1,5", "Name: Bob | Points: 2,5"]


def test_a_declared_delimiter_takes_a_line() -> None:
    document = read_document(b"sep=;\nName;Points\nAda, A.;1\n", "a.csv")
    assert document.text == "Name | Points\nName: Ada, A. | Points: 1"
    assert document.sections[0].location == Location(LocationKind.LINE, 2, 3)


@pytest.mark.parametrize(
    "first",
    ["Haus,house", "1,2", "Ada,10", "Name,Name", "a,", f"Name,{'x' * 100}"],
    ids=["words", "numbers", "value", "twice", "gap", "long"],
)
def test_without_a_header_values_stand_bare(first: str) -> None:
    assert lines(f"{first}\nBaum,tree\nBach,brook\n")[1:] == ["Baum | tree", "Bach | brook"]


@pytest.mark.parametrize(
    ("header", "row", "line"),
    [
        ("Begriff,Bedeutung", "Kante,verbindet zwei Knoten im Graphen", "Begriff: Kante | Bedeutung: verbindet zwei Knoten im Graphen"),
        ("term,definition", "edge,a link", "term: edge | definition: a link"),
        (",Points", "Ada,3", "Ada | Points: 3"),
        ("Room,Day,", "12,Monday,", "Room: 12 | Day: Monday"),
        ("Date,Topic", "2026-09-03,Trees,extra", "Date: 2026-09-03 | Topic: Trees | extra"),
    ],
    ids=["a word over sentences", "usual names", "nameless index", "trailing delimiter", "more cells than names"],
)
def test_headers(header: str, row: str, line: str) -> None:
    assert lines(f"{header}\n{row}\n")[1] == line


def test_a_quote_that_never_closes_is_a_character() -> None:
    assert lines('id,size\n1,"a\nb"\n2,"5 inch\n3,big\n') == [
        "id | size",
        "id: 1 | size: a b",
        "",
        'id: 2 | size: "5 inch',
        "id: 3 | size: big",
    ]


def test_huge_cells_are_read() -> None:
    text = "word " * 100_000
    assert lines(f'id,text\n1,"{text}"\n')[1] == f"id: 1 | text: {text.strip()}"


def test_older_encodings() -> None:
    data = "Name;Fach\nJörg Müller;Übungen für Anfänger und Fortgeschrittene\n".encode("cp1252")
    assert read_document(data, "a.csv").text.split("\n")[1].startswith("Name: Jörg Müller")


def test_one_column() -> None:
    assert lines("topic\ntrees\n") == ["topic", "topic: trees"]


def test_only_delimiters() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.csv holds no values, only delimiters or blank lines"):
        read_document(b",,\n\n,,\n", "a.csv")
