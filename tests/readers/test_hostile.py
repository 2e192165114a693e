"""Files built to harm their reader: each is refused, or read in bounded time, and never fails in another way."""

from __future__ import annotations

import contextlib
import json
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import docx
import pptx
import pytest
from handmade_pdf import PdfMaker, Words
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import pdf as pdf_reader
from ingest.readers import read_document
from rag.errors import UnreadableDocument

SECONDS = 5.0  # generous for a busy machine; each takes well under one
DEEP = 100_000


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def refusal(data: bytes, source: str) -> str:
    """Why a file is refused, in one line, within bounded time."""
    with bounded(), pytest.raises(UnreadableDocument) as caught:
        read_document(data, source)
    reason = str(caught.value)
    assert reason.startswith(source)
    assert "\n" not in reason
    return reason.removeprefix(source).strip()


def word_file() -> bytes:
    document = docx.Document()
    document.add_heading("Grading", 1)
    document.add_paragraph("Homework counts 40 %.")
    stream = BytesIO()
    document.save(stream)
    return stream.getvalue()


def deck() -> bytes:
    presentation = pptx.Presentation()
    presentation.slides.add_slide(presentation.slide_layouts[5]).shapes.title.text = "Sorting"
    stream = BytesIO()
    presentation.save(stream)
    return stream.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None) -> bytes:
    """The package with its parts changed, and with more of them."""
    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, content in (extra or {}).items():
            new.writestr(name, content)
    return stream.getvalue()


def unchanged(name: str, content: bytes) -> bytes:
    return content


def in_document(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content.replace(old, new, 1) if name == "word/document.xml" else content


class TestZipFormats:
    def test_bomb_of_one_part(self) -> None:
        data = repacked(word_file(), unchanged, {"word/media/image1.png": bytes(150 << 20)})
        assert refusal(data, "a.docx").startswith("is compressed more than 200 times, as only a zip bomb is: open it in its own program")

    def test_bomb_of_xml(self) -> None:
        data = repacked(word_file(), unchanged, {"word/extra.xml": b"<a/>" * (18 << 20)})
        assert refusal(data, "a.docx") == "unpacks to 72 MiB of XML, more than the 64 MiB that are read: split it"

    def test_bomb_of_many_parts(self) -> None:
        noise = bytes(range(256)) * 40
        data = repacked(word_file(), unchanged, {f"word/media/{number}.bin": noise * 100 for number in range(210)})
        assert refusal(data, "a.docx").startswith("unpacks to 215 MB, more than the 200 MB that are read: take out films or split it")

    def test_zip_in_a_zip_is_not_opened(self) -> None:
        inner = repacked(word_file(), unchanged, {"bomb.xml": bytes(1 << 20)})
        with bounded():
            assert read_document(repacked(word_file(), unchanged, {"word/embeddings/inner.docx": inner}), "a.docx").title == "Grading"

    def test_too_many_parts(self) -> None:
        data = repacked(word_file(), unchanged, {f"x/{number}": b"" for number in range(10_001)})
        assert "files, more than the 10,000 that are read" in refusal(data, "a.docx")

    @pytest.mark.parametrize("name", ["../../outside.xml", "/etc/passwd", "C:\\x.xml", "word\\..\\..\\x"])
    def test_names_that_lead_out(self, name: str) -> None:
        assert "a path out of the package" in refusal(repacked(word_file(), unchanged, {name: b"x"}), "a.docx")

    def test_parts_that_overlap(self) -> None:
        """Two entries of the table of contents for the same bytes: how a zip of kilobytes unpacks to petabytes."""
        data = repacked(word_file(), unchanged)
        with zipfile.ZipFile(BytesIO(data)) as package:
            start = package.start_dir
            count = len(package.infolist())
        directory, end = data[start : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
        counts, size = struct.pack("<HH", 2 * count, 2 * count), struct.pack("<I", 2 * len(directory))
        forged = data[:start] + directory * 2 + end[:8] + counts + size + end[16:]
        assert refusal(forged, "a.docx").startswith("holds files that overlap, as only a zip bomb does")

    def test_a_declared_size_that_lies_is_damage(self) -> None:
        """zipfile reads no more than the table of contents declares, and then misses the checksum."""
        data = bytearray(repacked(word_file(), unchanged))
        place = data.rindex(b"word/document.xml") - 46
        data[place + 24 : place + 28] = struct.pack("<I", 100)
        assert refusal(bytes(data), "a.docx").startswith("is damaged or no")

    def test_an_encrypted_part(self) -> None:
        data = bytearray(word_file())
        place = data.rindex(b"word/document.xml") - 46
        data[place + 8] |= 1
        assert refusal(bytes(data), "a.docx") == "has encrypted parts: save it without a password as .docx"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_entity_bomb(self, encoding: str) -> None:
        entities = '<!ENTITY a "ha">' + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
        bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE d [{entities}]><d>&j;</d>'.encode(encoding)
        data = repacked(word_file(), lambda name, content: bomb if name == "word/document.xml" else content)
        assert refusal(data, "a.docx").startswith("declares a DOCTYPE or entities in word/document.xml, which may be an attack")

    def test_entity_bomb_behind_a_long_comment_is_not_expanded(self) -> None:
        head = b"?><!--" + b"x" * 10_000 + b'--><!DOCTYPE d [<!ENTITY a "' + b"ha" * 1000 + b'">]>'
        data = repacked(word_file(), in_document(b"?>", head))
        data = repacked(data, in_document(b"counts", b"&a;" * 1000))
        with bounded(), contextlib.suppress(UnreadableDocument):
            assert "haha" not in read_document(data, "a.docx").text

    def test_external_entity_is_not_fetched(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret.txt"
        secret.write_text("SECRET")
        head = b"?><!--" + b"x" * 10_000 + f'--><!DOCTYPE d [<!ENTITY a SYSTEM "{secret.as_uri()}">]>'.encode()
        data = repacked(repacked(word_file(), in_document(b"?>", head)), in_document(b"counts", b"&a;"))
        with contextlib.suppress(UnreadableDocument):
            assert "SECRET" not in read_document(data, "a.docx").text

    def test_deep_xml(self) -> None:
        data = repacked(word_file(), in_document(b"<w:body>", b"<w:body>" + b"<w:sdt><w:sdtContent>" * 5000))
        assert refusal(data, "a.docx").startswith("is damaged or no")

    def test_too_many_slides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ingest.readers.pptx.SLIDES", 0)
        assert refusal(deck(), "a.pptx") == "has 1 slides, of which 0 would be read: split it"


def raw_pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1, without a cross-reference table."""
    body = b"\n".join(b"%d 0 obj %s endobj" % (number, content) for number, content in enumerate(objects, start=1))
    return b"%PDF-1.4\n" + body + b"\ntrailer << /Root 1 0 R >>\n%%EOF\n"


class TestPdf:
    def test_a_tree_of_100_000_pages(self) -> None:
        kids = b" ".join(b"3 0 R" for _ in range(DEEP))
        data = raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 100000 /Kids [%s] >>" % kids, b"<< /Type /Page >>")
        assert refusal(data, "a.pdf") == "has 100,000 pages, of which 2,000 would be read: split it"

    def test_more_pages_than_are_read(self, pdf: PdfMaker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pdf_reader, "PAGES", 1)
        assert refusal(pdf.make([[Words(72, 700, "one")], []]), "a.pdf") == "has 2 pages, of which 1 would be read: split it"

    def test_a_count_that_lies(self) -> None:
        data = raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1500 /Kids [3 0 R] >>", b"<< /Type /Page >>")
        assert refusal(data, "a.pdf").endswith("they are empty or damaged")

    @pytest.mark.parametrize("kid", [b"2 0 R", b"3 0 R"], ids=["its own child", "a ring of two"])
    def test_a_page_tree_that_is_a_ring(self, kid: bytes) -> None:
        inner = b"<< /Type /Pages /Count 5 /Parent 2 0 R /Kids [2 0 R] >>"
        data = raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 5 /Kids [%s] >>" % kid, inner)
        assert refusal(data, "a.pdf")

    @pytest.mark.parametrize("box", ["0 0 1000000 1000000", "0 0 10000000 1", "0 0 0.001 0.001", "0 0 -5 -5"])
    def test_a_page_of_absurd_size(self, pdf: PdfMaker, box: str) -> None:
        """White words make the reader draw the page: the drawing is bounded, whatever the page's size."""
        data = pdf.make([[Words(0, 0, "white", colour="1 1 1"), Words(0, 0, "black")]], media_box=box)
        with bounded(), contextlib.suppress(UnreadableDocument):
            assert read_document(data, "a.pdf").pages == 1

    def test_deep_arrays(self) -> None:
        data = raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"[" * DEEP)
        assert refusal(data, "a.pdf")

    def test_outline_that_is_a_ring(self) -> None:
        data = raw_pdf(
            b"<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>",
            b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            b"<< /Type /Page /MediaBox [0 0 9 9] >>",
            b"<< /First 5 0 R /Last 5 0 R >>",
            b"<< /Title (a) /Next 5 0 R /First 5 0 R >>",
        )
        assert refusal(data, "a.pdf").endswith("they are empty or damaged")


@pytest.mark.parametrize(
    ("data", "source", "reason"),
    [
        (b"<div>" * DEEP + b"x", "a.html", "nests its elements too deeply to be a page for people: save the page as PDF"),
        (b"<ul><li>" * DEEP + b"x", "a.html", "nests its elements too deeply to be a page for people: save the page as PDF"),
        (b"{" * DEEP + b"x", "a.tex", "opens more than 200 braces inside each other: check that every brace is closed"),
        (b"\\footnote{" * DEEP + b"x", "a.tex", "opens more than 200 braces inside each other: check that every brace is closed"),
        (b"[" * DEEP, "a.ipynb", "is no notebook, its JSON is damaged (nested too deeply): save it again in Jupyter"),
        (b'{"cells":' * DEEP, "a.ipynb", "is no notebook, its JSON is damaged (nested too deeply): save it again in Jupyter"),
    ],
    ids=["divs", "lists", "braces", "footnotes", "JSON arrays", "JSON objects"],
)
def test_deep_nesting(data: bytes, source: str, reason: str) -> None:
    assert refusal(data, source) == reason


@pytest.mark.parametrize(
    ("piece", "source"),
    [
        (b"<b>x", "a.html"),
        (b"<p><font>x</p>", "a.html"),
        (b"<!--", "a.html"),
        (b"<script>", "a.html"),
        (b"<tr><td rowspan=9999 colspan=9999>x", "a.html"),
        (b"\\[", "a.tex"),
        (b"\\begin{verbatim}", "a.tex"),
        (b"\\begin{lstlisting}[x", "a.tex"),
        (b"\\verb|a", "a.tex"),
        (b"\\title[", "a.tex"),
        (b"\\begin{equation}", "a.tex"),
        (b"> ", "a.md"),
        (b"[", "a.md"),
        (b"**a_", "a.md"),
        (b"{\\", "a.srt"),
        (b"<v a", "a.vtt"),
        (b"<v ", "a.vtt"),
    ],
)
def test_a_beginning_without_an_end_takes_no_more_than_linear_time(piece: bytes, source: str) -> None:
    head = b"00:00:01,000 --> 00:00:02,000\n" if source.endswith(("srt", "vtt")) else b"<table>" if b"<tr>" in piece else b""
    with bounded(), contextlib.suppress(UnreadableDocument):
        read_document(head + piece * 20_000, source)


SMALL = {
    "a.pdf": PdfMaker().make(
        [[Words(72, 700, "Sorting puts elements into order.")], [Words(72, 700, "White", colour="1 1 1")]], title="Sorting"
    ),
    "a.docx": word_file(),
    "a.pptx": deck(),
    "a.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": ["# Sorting\n", "puts in order"]}]}).encode(),
    "a.html": "<h1>Sorting</h1><ol><li>one</ol><table><tr><td rowspan=2>a<td>b<tr><td>c</table><p hidden>é</p>".encode(),
    "a.tex": rb"\documentclass{article}\begin{document}\section{Sorting} $x^2$ \verb|a| \footnote{b}\end{document}",
    "a.md": b"---\ntitle: Sorting\n---\n# Sorting\n\n- one\n\n```\ncode\n```\n",
    "a.srt": b"1\n00:00:01,000 --> 00:00:02,000\n<v Ada>Sorting</v>\n",
    "a.txt": "Sorting – “order”".encode("cp1252"),
}


@pytest.mark.parametrize("source", SMALL)
def test_truncated_files_are_read_or_refused(source: str) -> None:
    data = SMALL[source]
    for cut in sorted({len(data) * part // 24 for part in range(24)}):
        with contextlib.suppress(UnreadableDocument):
            read_document(data[:cut], source)


@pytest.mark.parametrize("source", SMALL)
@settings(max_examples=25, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6))
def test_mutated_files_are_read_or_refused(source: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(SMALL[source])
    for place, new in changes:
        start = place % len(data)
        data[start : start + len(new)] = new
    with contextlib.suppress(UnreadableDocument):
        read_document(bytes(data), source)


@pytest.mark.parametrize("source", ["a.docx", "a.pptx"])
@settings(max_examples=25, deadline=None)
@given(place=st.integers(0, 1 << 20), new=st.sampled_from([b"", b"<", b'"', b"-1", b"999999999999", b"</w:p>", b"\xff", b"A" * 50]))
def test_mutated_parts_are_read_or_refused(source: str, place: int, new: bytes) -> None:
    """As above, behind the zip's checksums: the XML itself is changed, in the part that matters most."""
    part = {"a.docx": "word/document.xml", "a.pptx": "ppt/slides/slide1.xml"}[source]

    def change(name: str, content: bytes) -> bytes:
        start = place % len(content)
        return content[:start] + new + content[start + len(new) :] if name == part else content

    with contextlib.suppress(UnreadableDocument):
        read_document(repacked(SMALL[source], change), source)


def test_a_stream_of_bytes_is_all_a_reader_gets() -> None:
    """A file name that leads elsewhere is only a name: nothing is opened by it."""
    assert read_document(b"Some words here.", "../../etc/passwd.txt").title == "passwd"
