import zipfile
from io import BytesIO
from pathlib import Path
from random import Random

import pytest

from ingest.readers import epub, read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
XHTML = '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'
NAVIGATION = (
    f'{XHTML}<body><nav epub:type="landmarks"><a href="two.xhtml">Start</a></nav>'
    '<nav epub:type="toc"><ol><li><a href="text/one.xhtml">Sorting</a></li>'
    '<li><a href="text/chapter%202.xhtml#top">Trees &nbsp; &amp; Graphs</a></li></ol></nav></body></html>'
)
ONE = (
    f'{XHTML}<head><title/><script src="x.js"/></head><body><article><header><h1>Sorting</h1></header><p>Put in order.</p></article>'
    '<article><h2>Quick<span epub:type="pagebreak" title="9"/>sort</h2><p>A pivot<br/>divides.</p>'
    "<table><tr><td>Best</td><td>n log n</td></tr></table></article><aside><p>Aside.</p></aside></body></html>"
)
TWO = f'{XHTML}<body><p class="title">TREES</p><p>No cycles: <a id="p"/>none.</p></body></html>'
COVER = f'{XHTML}<body><img src="cover.png" alt=""/></body></html>'


def package(spine: str = "", title: str = "Algorithms, Gently") -> str:
    items = "".join(
        f'<item id="{name}" href="{address}" media-type="application/xhtml+xml" {more}/>'
        for name, address, more in (
            ("two", "text/chapter%202.xhtml", ""),
            ("one", "text/one.xhtml", ""),
            ("cover", "cover.xhtml", ""),
            ("gone", "gone.xhtml", ""),
            ("out", "../../../secret.xhtml", ""),
            ("nav", "nav.xhtml", 'properties="nav"'),
        )
    )
    references = spine or "".join(f'<itemref idref="{name}"/>' for name in ("cover", "nav", "one", "two", "one", "none"))
    return (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
        f"<manifest>{items}</manifest><spine>{references}</spine></package>"
    )


def book(**changes: str | None) -> bytes:
    """A book; changes name members with `__` for `/` and `_` for `.`, with other contents or none."""
    members: dict[str, str | None] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": package(),
        "OEBPS/nav.xhtml": NAVIGATION,
        "OEBPS/text/one.xhtml": ONE,
        "OEBPS/text/chapter 2.xhtml": TWO,
        "OEBPS/cover.xhtml": COVER,
    }
    members |= {name.replace("__", "/").replace("_", ".").replace("META.INF", "META-INF"): text for name, text in changes.items()}
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            if text is not None:
                archive.writestr(name, text)
    return stream.getvalue()


def test_chapters_in_the_order_of_the_spine() -> None:
    document = read_document(book(), "books/algorithms.epub")
    assert [(section.text, section.location) for section in document.sections] == [
        ("Sorting\n\nPut in order.", Location(LocationKind.HEADING, heading=("Sorting",))),
        (
            "Quicksort\n\nA pivot\ndivides.\n\nBest | n log n\n\nAside.",
            Location(LocationKind.HEADING, heading=("Sorting", "Quicksort")),
        ),
        ("TREES\n\nNo cycles: none.", Location(LocationKind.HEADING, heading=("Trees & Graphs",))),
    ]
    assert document.title == "Algorithms, Gently"
    assert document.notices == ("1 of 3 chapters hold no text (images?): OEBPS/cover.xhtml",)


def test_contents_of_epub_2() -> None:
    points = "".join(
        f'<navPoint><navLabel><text>{label}</text></navLabel><content src="{address}"/></navPoint>'
        for label, address in (("Part II", "text/chapter%202.xhtml"), ("Later", "text/chapter%202.xhtml#later"))
    )
    ncx = f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{points}</navMap></ncx>'
    opf = package('<itemref idref="two"/>').replace("nav.xhtml", "toc.ncx").replace("application/xhtml+xml", "application/x-dtbncx+xml")
    document = read_document(book(OEBPS__book_opf=opf.replace('properties="nav"', ""), OEBPS__toc_ncx=ncx), "a.epub")
    assert [section.location.heading for section in document.sections] == [("Part II",)]


def test_prefixes_and_formulas() -> None:
    page = (
        '<?xml version="1.0" encoding="iso-8859-1"?><h:html xmlns:h="http://www.w3.org/1999/xhtml"><h:body><h:h2>\xdcbung</h:h2>'
        '<h:p>So <m:math xmlns:m="http://www.w3.org/1998/Math/MathML" alttext="x^2"><m:mi>x</m:mi></m:math>.</h:p></h:body></h:html>'
    )
    stream = BytesIO(book(OEBPS__text__one_xhtml=None))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("OEBPS/text/one.xhtml", page.encode("latin-1"))
    assert read_document(stream.getvalue(), "a.epub").sections[0].text == "Übung\n\nSo $x^2$."


def test_a_missing_chapter_is_noticed_and_none_is_looked_for_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.xhtml").write_text("<p>SECRET</p>")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    spine = "".join(f'<itemref idref="{name}"/>' for name in ("out", "gone", "two"))
    document = read_document(book(OEBPS__book_opf=package(spine)), "a.epub")
    assert document.text == "TREES\n\nNo cycles: none."
    assert document.notices == ("2 of 3 chapters are missing in the file: ../../secret.xhtml, OEBPS/gone.xhtml",)


def test_without_a_title_the_first_heading_is_one() -> None:
    assert read_document(book(OEBPS__book_opf=package(title="")), "a.epub").title == "Sorting"


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    doctype = f'<?xml version="1.0"?><!DOCTYPE p [<!ENTITY x SYSTEM "{secret.as_uri()}"><!ENTITY y "inside">]>'
    opf = package(title="A&x;&y;B&#233; C").replace('<?xml version="1.0"?>', doctype)
    document = read_document(book(OEBPS__book_opf=opf), "a.epub")
    assert document.title == "A&x;&y;Bé C"
    assert "SECRET" not in document.text


def encryption(*names: str) -> str:
    entries = "".join(
        '<enc:EncryptedData><enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'
        f'<enc:CipherData><enc:CipherReference URI="{name}"/></enc:CipherData></enc:EncryptedData>'
        for name in names
    )
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" xmlns:enc="http://www.w3.org/2001/04/xmlenc#">'
        f"{entries}</encryption>"
    )


def test_encrypted_chapters_are_refused_and_encrypted_fonts_no_matter() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.epub is encrypted \(DRM\).*add a copy without copy protection"):
        read_document(book(META_INF__encryption_xml=encryption("OEBPS/text/chapter%202.xhtml")), "a.epub")
    assert len(read_document(book(META_INF__encryption_xml=encryption("OEBPS/serif.otf")), "a.epub").sections) == 3


DAMAGED: dict[str, tuple[dict[str, str | None], str]] = {
    "no container": ({"META_INF__container_xml": None}, r"a\.epub is a zip but no EPUB book: it has no META-INF/container\.xml"),
    "no package document": ({"OEBPS__book_opf": None}, r"names the package document OEBPS/book\.opf, which is not in it"),
    "an empty container": ({"META_INF__container_xml": "<x/>"}, "names the package document None"),
    "no spine": ({"OEBPS__book_opf": "<package/>"}, r"package document OEBPS/book\.opf lists no chapters"),
    "no XML": ({"OEBPS__book_opf": "Hello"}, r"a\.epub is damaged"),
    "pictures": ({"OEBPS__book_opf": package('<itemref idref="cover"/>')}, r"no text in its 1 chapters \(pictures only\?\)"),
}


@pytest.mark.parametrize(("changes", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_books_say_what_is_wrong(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(UnreadableDocument, match=message):
        read_document(book(**changes), "a.epub")


def test_a_torn_file() -> None:
    data = book()
    with pytest.raises(UnreadableDocument, match=r"a\.epub is damaged or no \.epub file"):
        read_document(data[: len(data) // 2], "a.epub")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epub, "XML_BYTES", 1 << 20)
    with pytest.raises(UnreadableDocument, match="unpacks to 2 MiB of text, more than the 1 MiB that are read"):
        read_document(book(OEBPS__text__one_xhtml=Random(1).randbytes(1 << 20).hex()), "a.epub")
