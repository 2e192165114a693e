import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest import sandbox
from ingest.parse import ParserPool
from ingest.parse_worker import FILE_BYTES, TEXT_CHARACTERS
from ingest.readers import read_document
from ingest.sandbox import Limits
from rag.errors import LecternError, NotReadThisTime, UnreadableDocument
from support import SAMPLE_COURSE

MEMORY = 256 << 20
SERVER = (str(Path(__file__).with_name("misbehaving_worker.py")),)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    """Readers that misbehave, under short limits."""
    with ParserPool(1, Limits(seconds=2, memory_bytes=MEMORY), SERVER) as pool:
        yield pool


@pytest.fixture(scope="module")
def readers() -> Iterator[ParserPool]:
    with ParserPool(2) as pool:
        yield pool


def say(pool: ParserPool, folder: Path, deed: str) -> str:
    path = folder / "file.txt"
    path.write_text(deed)
    return pool.read(path, "file.txt").document.text


def test_a_document_comes_through_as_the_reader_made_it(readers: ParserPool) -> None:
    for path in sorted(SAMPLE_COURSE.rglob("*.*")):
        if path.name in ("course.toml", "questions.jsonl"):
            continue
        source = path.relative_to(SAMPLE_COURSE).as_posix()
        parsed = readers.read(path, source)
        assert parsed.document == read_document(path.read_bytes(), source)
        assert parsed.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert 5 << 20 < parsed.peak_bytes < Limits().memory_bytes


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("hang", "file.txt takes longer than 2 s to be read: split it, or save it again"),
        ("sleep", "file.txt takes longer than 2 s to be read: split it, or save it again"),
        ("crash", "file.txt crashes its reader (SIGSEGV): it may be damaged; open it in its program and save it again, or as PDF"),
        ("raise", "file.txt crashes its reader (an error in Lectern; the lines above say where)"),
        ("memory 1000", "file.txt needs more memory to be read than one file may take: split it"),
        ("die", "file.txt needs more memory to be read than this machine has left"),
    ],
)
def test_a_reader_that_fails_is_one_file_with_a_reason(pool: ParserPool, tmp_path: Path, deed: str, reason: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        say(pool, tmp_path, deed)
    assert str(caught.value).startswith(reason)
    assert say(pool, tmp_path, "say the next file is read") == "the next file is read"


def test_what_a_library_prints_is_no_reply(pool: ParserPool, tmp_path: Path) -> None:
    assert say(pool, tmp_path, "print") == "26"
    assert say(pool, tmp_path, "say the next file is itself") == "the next file is itself"


def test_a_reader_that_switches_its_alarm_off_is_ended_all_the_same(tmp_path: Path) -> None:
    without_alarm = (
        "import runpy\nfrom ingest import parse_worker\nparse_worker.GRACE_S = 0.5\nparse_worker.enter = lambda limits: None\n"
        f"runpy.run_path({SERVER[0]!r}, run_name='__main__')"
    )
    with ParserPool(1, Limits(1, MEMORY), ("-c", without_alarm)) as pool, pytest.raises(UnreadableDocument, match="takes longer than 1 s"):
        say(pool, tmp_path, "sleep")


def test_what_was_not_the_files_fault_may_be_read_next_time(pool: ParserPool, readers: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(NotReadThisTime):
        say(pool, tmp_path, "die")
    with pytest.raises(NotReadThisTime):
        readers.read(tmp_path / "gone.md", "gone.md")


def test_a_server_that_cannot_start_is_an_error_of_the_run(tmp_path: Path) -> None:
    with ParserPool(1, server=("-c", "import nothing_like_it")) as pool, pytest.raises(LecternError, match="cannot start") as caught:
        say(pool, tmp_path, "say x")
    assert not isinstance(caught.value, UnreadableDocument)


def test_memory_within_the_limit_is_given(pool: ParserPool, tmp_path: Path) -> None:
    assert say(pool, tmp_path, "memory 60") == "60"


@pytest.mark.skipif(not sandbox.can_filter_system_calls(), reason="this kernel cannot filter system calls")
def test_no_network_and_no_writing(pool: ParserPool, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert say(pool, tmp_path, f"connect {server.getsockname()[1]}") == "PermissionError"
    assert say(pool, tmp_path, f"write {tmp_path / 'new'}") == "PermissionError"
    assert say(pool, tmp_path, f"write {treasure}") == "PermissionError"
    assert say(pool, tmp_path, f"remove {treasure}") == "PermissionError"
    assert say(pool, tmp_path, f"program {tmp_path / 'new'}") == "True", "a program that a reader starts is bound too"
    assert not (tmp_path / "new").exists()
    assert treasure.read_text() == "kept"


def test_where_system_calls_cannot_be_filtered_no_file_can_grow(tmp_path: Path) -> None:
    unfiltered = (
        "import runpy\nfrom ingest import sandbox\nsandbox.can_filter_system_calls = lambda: False\n"
        f"runpy.run_path({SERVER[0]!r}, run_name='__main__')"
    )
    with ParserPool(1, Limits(2, MEMORY), ("-c", unfiltered)) as pool:
        assert say(pool, tmp_path, f"write {tmp_path / 'new'}") == "OSError"
    assert (tmp_path / "new").read_text() == ""


def test_the_environment_stays_behind(pool: ParserPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert say(pool, tmp_path, "environment OPENAI_API_KEY") == "['PATH']"


def test_many_threads_share_the_workers(readers: ParserPool, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.md" for number in range(40)]
    for path in paths:
        path.write_text(f"# Notes\n\nThis is number {path.stem}.\n")
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda path: readers.read(path, path.name).document.text, paths))
    assert [text.splitlines()[-1] for text in texts] == [f"This is number {path.stem}." for path in paths]


def test_leaving_the_pool_ends_what_is_under_way(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("hang")
    with ThreadPoolExecutor(2) as threads:
        with ParserPool(1, Limits(60, MEMORY), SERVER) as pool:
            first, second = [threads.submit(pool.read, path, "file.txt") for _ in range(2)]
            while not pool._workers:
                pass
        for waiting in (first, second):
            with pytest.raises(UnreadableDocument):
                waiting.result(timeout=10)


def test_what_is_too_large_is_named(readers: ParserPool, tmp_path: Path) -> None:
    huge, long = tmp_path / "huge.txt", tmp_path / "long.txt"
    with huge.open("wb") as file:
        file.truncate(FILE_BYTES + (1 << 20))
    with pytest.raises(UnreadableDocument, match=r"huge.txt has 201 MiB; up to 200 MiB are read: split it"):
        readers.read(huge, "huge.txt")
    long.write_text("word \n" * (TEXT_CHARACTERS // 4))
    with pytest.raises(UnreadableDocument, match=r"long.txt holds [\d,]+ characters of text; up to 10,000,000 are taken: split it"):
        readers.read(long, "long.txt")


def test_a_file_that_is_gone_or_closed_is_named(readers: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match=r"gone.md cannot be opened: No such file or directory"):
        readers.read(tmp_path / "gone.md", "gone.md")
