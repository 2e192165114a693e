"""Office files drawn as PDF: what the converter may not do, tried with programs that try it, and with LibreOffice where it is installed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from docx import Document
from docx.opc.constants import RELATIONSHIP_TYPE
from PIL import Image
from pptx import Presentation

from ingest import office_pages
from ingest.office_pages import convert_to_pdf, find_office
from ingest.sandbox import Limits, can_confine
from rag.errors import NotReadThisTime, UnreadableDocument
from rag.pages import find_page
from support import SAMPLE_COURSE

FAKE = """#!/bin/bash
while [ $# -gt 1 ]; do [ "$1" = --outdir ] && out=$2; shift; done
document=$1
{body}
"""

needs_confinement = pytest.mark.skipif(not can_confine(), reason="this kernel cannot confine a converter")
office = find_office()
needs_office = pytest.mark.skipif(office is None, reason="LibreOffice is not installed, or this kernel cannot confine it")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; whatever a conversion does, nothing is left in it, nor a socket in /tmp."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = {*Path("/tmp").glob("OSL_PIPE_*")}
    yield folder
    assert list(folder.iterdir()) == []
    listening = Path("/proc/net/unix").read_text() if Path("/proc/net/unix").exists() else ""  # others may draw pages meanwhile
    assert [left for left in {*Path("/tmp").glob("OSL_PIPE_*")} - before if str(left) not in listening] == []


@pytest.fixture
def requests() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_OPTIONS = do_PROPFIND = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def fake_office(folder: Path, body: str) -> Path:
    """A program in place of LibreOffice, which does this; `$out` is where the PDF belongs."""
    program = folder / "office/program/soffice"
    program.parent.mkdir(parents=True)
    for name in ("soffice", "soffice.bin"):
        program.with_name(name).write_text(FAKE.format(body=body))
        program.with_name(name).chmod(0o755)
    return program


def convert(program: Path, limits: Limits = office_pages.LIMITS) -> str:
    return convert_to_pdf(b"content", "deck.pptx", program, limits).decode()


@needs_confinement
def test_the_converter_gets_the_file_and_what_it_writes_is_the_result(tmp_path):
    program = fake_office(tmp_path, 'cat "$document" > "$out/document.pdf"; echo " in $document" >> "$out/document.pdf"')
    text = convert(program)
    assert text.startswith("content in ")
    assert text.endswith("/document.pptx\n")


@needs_confinement
def test_a_hanging_converter_is_ended_with_all_it_started(tmp_path):
    seconds = 100_000 + os.getpid()  # no other process sleeps for so long
    program = fake_office(tmp_path, f"sleep {seconds} & wait")
    with pytest.raises(UnreadableDocument, match=r"deck\.pptx takes longer than 1 s to be drawn by LibreOffice"):
        convert(program, Limits(seconds=1, memory_bytes=1 << 30))
    assert [command for command in map(_command, Path("/proc").glob("[0-9]*/cmdline")) if command == f"sleep\0{seconds}\0"] == []


def _command(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:  # it has ended meanwhile
        return ""


@needs_confinement
def test_a_failing_converter_says_so_and_one_without_result_too(tmp_path):
    with pytest.raises(UnreadableDocument, match=r"cannot be drawn by LibreOffice \(it ended with 7\)"):
        convert(fake_office(tmp_path / "a", "exit 7"))
    with pytest.raises(UnreadableDocument, match="without giving pages"):
        convert(fake_office(tmp_path / "b", "exit 0"))


@needs_confinement
def test_it_is_started_again_when_it_asks_but_not_for_ever(tmp_path):
    again = 'echo x >> "$HOME/starts"; [ $(wc -l < "$HOME/starts") = 3 ] || exit 81; cp "$HOME/starts" "$out/document.pdf"'
    assert convert(fake_office(tmp_path / "a", again)) == "x\nx\nx\n"
    with pytest.raises(UnreadableDocument, match="it ended with 81"):
        convert(fake_office(tmp_path / "b", "exit 81"))


@needs_confinement
def test_the_converter_reaches_no_network(tmp_path, requests):
    address, asked = requests
    port = address.rpartition(":")[2]
    tried = f'(exec 3<>/dev/tcp/127.0.0.1/{port} && printf "GET /x HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3) 2> "$out/document.pdf"; true'
    assert "Operation not permitted" in convert(fake_office(tmp_path, tried))
    assert asked == []


@needs_confinement
def test_the_converter_reads_and_writes_no_other_file(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the answers of the exam")
    tried = f'(cat {secret}; cat /etc/passwd; ls {tmp_path}; echo x > {tmp_path}/new; rm {secret}) > "$out/document.pdf" 2>&1; true'
    lines = convert(fake_office(tmp_path, tried)).splitlines()
    assert len(lines) == 5
    assert all("Permission denied" in line for line in lines)
    assert secret.read_text() == "the answers of the exam"
    assert not (tmp_path / "new").exists()


@needs_confinement
def test_the_converter_signals_and_limits_nobody_but_itself(tmp_path):
    tried = '(kill -0 $$ && echo itself; kill -0 $PPID; kill -0 -1; prlimit --pid $PPID --nofile) > "$out/document.pdf" 2>&1; true'
    own, parent, every, limits = convert(fake_office(tmp_path, tried)).splitlines()
    assert own == "itself"
    assert all("Operation not permitted" in line for line in (parent, every, limits))


@needs_confinement
def test_what_a_killed_server_left_is_removed(tmp_path, temporary):
    old, new, other = (temporary / name for name in ("lectern-pages-old", "lectern-pages-new", "another"))
    for folder in (old, new, other):
        folder.mkdir()
        (folder / "document.pptx").write_text("of a course")
    for folder in (old, other):
        os.utime(folder, (1e9, 1e9))
    convert(fake_office(tmp_path, 'cp "$document" "$out/document.pdf"'))
    assert sorted(temporary.iterdir()) == [other, new]
    for folder in (new, other):
        shutil.rmtree(folder)


def test_without_room_a_file_is_tried_again_another_time(tmp_path, monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(NotReadThisTime, match=r"deck\.pptx cannot be drawn just now: Resource temporarily unavailable; make room in "):
        convert(tmp_path / "soffice")


@needs_confinement
def test_a_link_in_place_of_the_result_is_not_followed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the answers of the exam")
    with pytest.raises(UnreadableDocument, match="without giving pages"):
        convert(fake_office(tmp_path, f'ln -s {secret} "$out/document.pdf"'))


@needs_confinement
def test_memory_is_bounded_and_the_environment_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a secret key")
    text = convert(fake_office(tmp_path, '(ulimit -v; ulimit -f; env) > "$out/document.pdf"'), Limits(10, 3 << 30))
    assert text.splitlines()[:2] == [str(3 << 20), str(128 << 10)]  # KiB
    assert "secret" not in text


def test_where_the_kernel_cannot_confine_it_nothing_is_converted(tmp_path, monkeypatch):
    program = fake_office(tmp_path, "exit 0")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(office_pages, "can_confine", lambda: True)
    assert find_office() == program
    monkeypatch.setenv("HOME", str(program.parent.parent / "people/anna"))  # what lies around the program becomes readable
    assert find_office() is None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_office() == program
    program.with_name("soffice.bin").unlink()
    assert find_office() is None
    program.with_name("soffice.bin").touch()
    monkeypatch.setattr(office_pages, "can_confine", lambda: False)
    assert find_office() is None


# --- LibreOffice itself


def words_of(pdf: bytes, page: int) -> str:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return document[page - 1].get_textpage().get_text_range()
    finally:
        document.close()


@needs_office
def test_slide_n_is_page_n_hidden_slides_included():
    deck = Presentation()
    for number in range(1, 4):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = f"Title number {number}"
    deck.slides[1]._element.set("show", "0")
    stream = BytesIO()
    deck.save(stream)
    pdf = convert_to_pdf(stream.getvalue(), "deck.pptx", office)
    assert [words_of(pdf, page).strip() for page in (1, 2, 3)] == [f"Title number {number}" for number in (1, 2, 3)]


@needs_office
def test_a_section_of_a_document_is_found_on_its_page():
    pdf = convert_to_pdf((SAMPLE_COURSE / "syllabus.docx").read_bytes(), "syllabus.docx", office)
    assert find_page(pdf, "One imaginary model, Wren, with 1.3 billion parameters, goes with us through the term") == 1
    assert find_page(pdf, "These words stand nowhere in the syllabus of any course") is None


def linking_document(address: str, picture: Path) -> bytes:
    """A DOCX with two linked pictures: one of a server, one of this machine's files."""
    document = Document()
    document.add_paragraph("Before the pictures")
    stream = BytesIO()
    Image.new("RGB", (40, 40), "white").save(stream, format="PNG")
    for target in (f"{address}/remote.png", picture.as_uri()):
        stream.seek(0)
        document.add_picture(stream)
        blip = document.inline_shapes[-1]._inline.graphic.graphicData.pic.blipFill.blip
        relation = document.part.relate_to(target, RELATIONSHIP_TYPE.IMAGE, is_external=True)
        del blip.attrib[next(name for name in blip.attrib if name.endswith("embed"))]
        blip.set("{http://schemas.openxmlformats.org/officeDocument/2006/relationships}link", relation)
    saved = BytesIO()
    document.save(saved)
    with zipfile.ZipFile(saved) as package:
        assert address.encode() in package.read("word/_rels/document.xml.rels")
    return saved.getvalue()


@needs_office
@pytest.mark.parametrize("settings", ["as they are", "none: the kernel alone"])
def test_linked_pictures_are_neither_fetched_nor_read(tmp_path, requests, monkeypatch, settings):
    address, asked = requests
    picture = tmp_path / "private.png"
    Image.new("RGB", (40, 40), "red").save(picture)
    if settings != "as they are":
        monkeypatch.setattr(office_pages, "_SETTINGS", {})
    pdf = convert_to_pdf(linking_document(address, picture), "linking.docx", office)
    assert "Before the pictures" in words_of(pdf, 1)
    document = pypdfium2.PdfDocument(pdf)
    colours = document[0].render().to_pil().convert("RGB").getcolors(1 << 20)
    document.close()
    assert not any(red > 200 and green < 60 for _, (red, green, _) in colours)
    assert asked == []


@needs_office
def test_a_damaged_file_is_an_error_in_words():
    broken = (SAMPLE_COURSE / "syllabus.docx").read_bytes()[:5000]
    with pytest.raises(UnreadableDocument, match="broken.docx"):
        convert_to_pdf(broken, "broken.docx", office)
