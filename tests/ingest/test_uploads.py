"""Files added and deleted by hand: safe names, all or nothing, nothing outside the course's folder."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path

import pytest

from ingest.pipeline import ingest_course
from ingest.uploads import LEFTOVER_S, LONGEST_NAME_BYTES, delete_files, placed, safe_name
from ingest.walk import walk
from rag.config import Config
from rag.errors import CorpusError, StoreBusy, UnreadableDocument
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("notes.md", "notes.md"),
        ("notes.md. ", "notes.md"),
        ("../../etc/notes.md", "notes.md"),
        ("..\\..\\notes.md", "notes.md"),
        ("/etc/notes.md", "notes.md"),
        (".hidden.md", "hidden.md"),
        ('<img src=x onerror="alert(1)">.md', "_img src=x onerror=_alert(1)__.md"),
        ("[a](javascript:1) $x$ `y`.md", "_a_(javascript_1) _x_ _y_.md"),
        ("a\u202egpj.md", "agpj.md"),
        ("a\x00b\x1b[2J.md", "ab_2J.md"),
        ("  two \t lines\n.md", "two lines.md"),
        ("Übung 3 – Lösung.PDF", "Übung 3 _ Lösung.PDF"),
        ("U\u0308bung.pdf", "Übung.pdf"),
        ("讲义第三周.pdf", "讲义第三周.pdf"),
        ("व्याख्यान.pdf", "व्याख्यान.pdf"),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_long_name_keeps_its_ending_and_whole_characters() -> None:
    safe = safe_name("ü" * 300 + ".pdf")
    assert safe == "ü" * 58 + ".pdf"
    assert len(safe.encode()) == LONGEST_NAME_BYTES


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "(none)"),
        ("..", "(none)"),
        ("README", "(none)"),
        ("slides.ppt", "save it as .pptx or PDF"),
        ("virus.exe", "format .exe"),
        ("???.md", "letters or digits"),
        ("course.toml", "kept for the settings"),
        ("a/../course.toml", "kept for the settings"),
    ],
)
def test_a_name_without_a_format_that_is_read_is_refused(name: str, words: str) -> None:
    with pytest.raises(UnreadableDocument, match=re.escape(words)):
        safe_name(name)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_placed_and_replace_others(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    with placed(folder, {"a.md": b"old"}):
        pass
    with placed(folder, {"a.md": b"new", "b.md": b"more"}, replace=["a.md"]):
        assert [file.source for file in walk(folder)[0]] == ["a.md", "b.md"]  # what is kept beside them is no material
    assert content(folder) == {"a.md": b"new", "b.md": b"more"}


def test_what_was_there_comes_back_when_the_work_fails(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"old")
    with pytest.raises(StoreBusy), placed(tmp_path, {"a.md": b"new", "b.md": b"more"}, ["a.md"]):
        raise StoreBusy("another ingest is writing")
    assert content(tmp_path) == {"a.md": b"old"}


def test_no_file_is_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"old")
    with pytest.raises(CorpusError, match="already has a.md"), placed(tmp_path, {"a.md": b"new", "b.md": b"more"}, replace=["b.md"]):
        raise AssertionError("the work began")
    assert content(tmp_path) == {"a.md": b"old"}


@pytest.fixture(params=["hard links", "none"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems with hard links, and those that refuse them."""

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    if request.param == "none":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
def test_links_or_none_the_new_is_in_place_or_the_old_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"old")
    within: dict[str, bytes] = {}

    def fail() -> None:
        within.update({path.name: path.read_bytes() for path in tmp_path.glob("[!.]*")})
        raise StoreBusy("another ingest is writing")

    with pytest.raises(StoreBusy), placed(tmp_path, {"a.md": b"new", "b.md": b"more"}, ["a.md"]):
        fail()
    assert within == {"a.md": b"new", "b.md": b"more"}
    assert content(tmp_path) == {"a.md": b"old"}


@pytest.mark.usefixtures("links")
def test_a_file_that_appears_after_the_look_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def another_comes(path: Path, data: bytes) -> int:
        write(tmp_path / "b.md", b"of another")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", another_comes)
    with pytest.raises(CorpusError, match=r"already has b\.md"), placed(tmp_path, {"a.md": b"new", "b.md": b"more"}):
        raise AssertionError("the work began")
    assert content(tmp_path) == {"b.md": b"of another"}


def test_a_full_disk_while_writing_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_bytes(b"old")
    write = Path.write_bytes

    def fail_at_the_second(path: Path, data: bytes) -> int:
        if data == b"more":
            write(path, data[:1])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail_at_the_second)
    with pytest.raises(CorpusError, match="No space left"), placed(tmp_path, {"a.md": b"new", "b.md": b"more"}, ["a.md"]):
        raise AssertionError("the work began")
    assert content(tmp_path) == {"a.md": b"old"}


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".lectern-upload-0123"
    left.write_bytes(b"half")
    with placed(tmp_path, {"a.md": b"new"}):
        assert left.exists()
    later = time.time() + LEFTOVER_S + 60
    monkeypatch.setattr("ingest.uploads.time.time", lambda: later)
    with placed(tmp_path, {"b.md": b"new"}):
        assert not left.exists()


@pytest.fixture
def filled(store: Store, course_folder: Path, embedder: HashingEmbedder) -> Store:
    ingest_course(course_folder, store, embedder, Config())
    return store


def test_a_deleted_file_leaves_folder_catalogue_and_snapshot(filled: Store, course_folder: Path) -> None:
    chunks = len(filled.chunk_ids(Scope("optics")))
    delete_files(filled, "optics", ["syllabus.md"])
    assert not (course_folder / "syllabus.md").exists()
    assert [document.source for document in filled.documents("optics")] == ["notes/week02-lenses.md"]
    generation = filled.generation()
    assert generation is not None
    assert generation.chunks == len(filled.chunk_ids(Scope("optics"))) < chunks
    assert all(b"late day" not in path.read_bytes() for path in filled.directory.iterdir())


def test_when_one_file_cannot_be_deleted_all_stay(filled: Store, course_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in course_folder.rglob("*") if path.is_file()}

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        if path.name == "week02-lenses.md":
            raise PermissionError(13, "Permission denied")
        os.rename(path, *arguments) if arguments else os.unlink(path)

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(CorpusError, match=r"week02-lenses\.md cannot be deleted: Permission denied"):
        delete_files(filled, "optics", ["syllabus.md", "notes/week02-lenses.md"])
    assert {path: path.read_bytes() for path in course_folder.rglob("*") if path.is_file()} == before
    assert len(filled.documents("optics")) == 2


def test_files_stay_when_the_catalogue_cannot_forget_them(filled: Store, course_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "remove_documents", fail)
    with pytest.raises(sqlite3.OperationalError):
        delete_files(filled, "optics", ["syllabus.md"])
    assert (course_folder / "syllabus.md").exists()


def test_the_last_file_of_a_course_can_be_deleted(filled: Store) -> None:
    delete_files(filled, "optics", ["syllabus.md", "notes/week02-lenses.md"])
    assert filled.documents("optics") == []
    assert list(filled.directory.glob("*.faiss")) == []


def test_a_document_whose_file_is_gone_can_be_deleted(filled: Store, course_folder: Path) -> None:
    (course_folder / "syllabus.md").unlink()
    delete_files(filled, "optics", ["syllabus.md"])
    assert len(filled.documents("optics")) == 1


@pytest.mark.parametrize("source", ["../secret.txt", "course.toml", "notes", "/etc/passwd", "nosuch.md", ""])
def test_only_files_of_the_catalogue_are_deleted(filled: Store, course_folder: Path, source: str) -> None:
    secret = course_folder.parent / "secret.txt"
    secret.write_text("secret")
    (course_folder / "course.toml").write_text("")
    with pytest.raises(CorpusError, match="has no file"):
        delete_files(filled, "optics", ["syllabus.md", source])
    assert secret.exists()
    assert (course_folder / "course.toml").exists()
    assert (course_folder / "syllabus.md").exists()


def test_a_folder_that_became_a_link_out_of_the_course_is_not_followed(filled: Store, course_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    os.rename(course_folder / "notes", outside)
    (course_folder / "notes").symlink_to(outside)
    with pytest.raises(CorpusError, match="has no file"):
        delete_files(filled, "optics", ["notes/week02-lenses.md"])
    assert (outside / "week02-lenses.md").exists()


def test_nothing_is_deleted_while_another_writes(filled: Store, course_folder: Path) -> None:
    with filled.writer_lock(), pytest.raises(StoreBusy):
        delete_files(filled, "optics", ["syllabus.md"])
    assert (course_folder / "syllabus.md").exists()
    assert len(filled.documents("optics")) == 2
