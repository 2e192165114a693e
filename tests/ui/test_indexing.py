"""Jobs behind the page: one at a time, their progress and outcome in words, nothing half."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.report import IngestReport
from rag.engine import Engine
from rag.errors import CorpusError, DiskFull, StoreBusy
from rag.store import Store
from ui import indexing
from ui.indexing import Indexer, Job, Progress, progress_words, report_words, share_done
from ui.places import Place

LONG_S = 60.0


@pytest.fixture
def folder(store: Store, course_folder: Path, tmp_path: Path) -> Path:
    """The course's files, which this test may change."""
    folder = tmp_path / "demo"
    shutil.copytree(course_folder, folder)
    with store.transaction() as db:
        db.execute("UPDATE courses SET folder = ?", [str(folder)])
    return folder


@pytest.fixture
def place(store: Store, folder: Path, use_chat_model) -> Place:
    engine: Engine = use_chat_model()
    return Place(store, lambda: engine, Indexer())


def ended(job: Job) -> Job:
    assert job.wait(LONG_S)
    return job


def until(event: threading.Event, begun: threading.Event | None = None) -> Callable[[Job], None]:
    """Work that goes on until the event."""

    def wait(_: Job) -> None:
        if begun is not None:
            begun.set()
        event.wait(LONG_S)

    return wait


def sources(store: Store) -> list[str]:
    return [document.source for document in store.documents("demo")]


def test_added_files_are_placed_indexed_and_reported(place: Place, folder: Path) -> None:
    job = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga has no stripes."}, "uploads"))
    assert job.error is None
    assert job.succeeded
    assert job.report.files == {"new": 1, "changed": 0, "unchanged": 3, "renamed": 0, "removed": 0, "set_aside": 0}
    assert (folder / "uploads/quagga.md").read_bytes() == b"# Quagga\n\nThe quagga has no stripes."
    assert sources(place.store) == ["cache.pdf", "lab.ipynb", "rules.md", "uploads/quagga.md"]
    assert job.progress == Progress(1, 1, "uploads/quagga.md")


def test_an_update_takes_in_what_has_changed_alone(place: Place, folder: Path) -> None:
    (folder / "rules.md").write_text("# Rules\n\nA zebra may not sit the exam.\n")
    (folder / "lab.ipynb").unlink()
    job = ended(indexing.update(place, "demo"))
    assert job.report.files == {"new": 0, "changed": 1, "unchanged": 1, "renamed": 0, "removed": 1, "set_aside": 0}
    assert "zebra" in place.store.document_text("demo", "rules.md")


def test_a_rebuild_reads_every_file(place: Place) -> None:
    job = ended(indexing.update(place, "demo", rebuild=True))
    assert job.succeeded
    assert job.progress.files == job.progress.done == 3


def test_a_deleted_file_is_gone_from_folder_and_store(place: Place, folder: Path) -> None:
    job = ended(indexing.delete(place, "demo", ["rules.md"]))
    assert job.succeeded
    assert not (folder / "rules.md").exists()
    assert sources(place.store) == ["cache.pdf", "lab.ipynb"]


def test_two_jobs_of_a_store_do_not_run_at_once(place: Place) -> None:
    go_on = threading.Event()
    job = place.indexer.start("demo", "Waiting", until(go_on))
    with pytest.raises(StoreBusy):
        indexing.update(place, "demo")
    assert place.indexer.latest is job
    go_on.set()
    ended(job)
    assert ended(indexing.update(place, "demo")).succeeded


def test_stores_that_take_turns_wait_for_each_other() -> None:
    turn = threading.Lock()
    first, second = Indexer(turn), Indexer(turn)
    go_on, begun = threading.Event(), threading.Event()

    one = first.start("a", "Adding 1 file", until(go_on, begun))
    assert begun.wait(LONG_S)
    other = second.start("b", "Adding 1 file", lambda _: None)
    assert not other.wait(0.05)
    assert progress_words(other) == "Adding 1 file: waiting for the files of others to be read"
    go_on.set()
    assert ended(one).succeeded
    assert ended(other).succeeded


def test_while_another_process_writes_nothing_begins(place: Place, folder: Path) -> None:
    with place.store.writer_lock(), pytest.raises(StoreBusy):
        indexing.add_files(place, "demo", {"quagga.md": b"# Quagga"}, "uploads")
    assert not (folder / "uploads").exists()
    assert place.indexer.latest is None


def test_another_writer_that_comes_first_takes_the_files_out_again(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "is_being_written", lambda _: False)
    (folder / "rules.md").write_bytes(b"# Rules\n\nAs they were.\n")
    with place.store.writer_lock():
        job = ended(
            indexing.add_files(place, "demo", {"rules.md": b"# Rules\n\nOther ones.\n", "quagga.md": b"# Quagga"}, replace=["rules.md"])
        )
    assert isinstance(job.error, StoreBusy)
    assert job.remark == "Nothing was added."
    assert (folder / "rules.md").read_bytes() == b"# Rules\n\nAs they were.\n"
    assert not (folder / "quagga.md").exists()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_another_has_added_meanwhile_is_not_replaced(place: Place, folder: Path) -> None:
    before = (folder / "rules.md").read_bytes()
    job = ended(indexing.add_files(place, "demo", {"rules.md": b"# Other rules"}))
    assert isinstance(job.error, CorpusError)
    assert (folder / "rules.md").read_bytes() == before


def test_what_fails_before_anything_was_saved_leaves_the_folder_as_it_was(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(store: Store, needed_bytes: int) -> None:
        raise DiskFull("the disk is full")

    monkeypatch.setattr(Store, "require_space", no_room)
    job = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga."}))
    assert isinstance(job.error, DiskFull)
    assert job.remark == "Nothing was added."
    assert not (folder / "quagga.md").exists()


def test_what_fails_after_something_was_saved_keeps_the_files(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(store: Store) -> int:
        raise DiskFull("the disk is full")

    monkeypatch.setattr("ingest.pipeline.publish_changes", fail)
    job = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga."}))
    assert isinstance(job.error, DiskFull)
    assert "Update the index" in job.remark
    assert (folder / "quagga.md").exists()
    assert "quagga.md" in sources(place.store)


def test_a_folder_that_is_gone_is_said_before_anything_begins(place: Place, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(CorpusError, match="is not there"):
        indexing.update(place, "demo")


@contextmanager
def errors_of_threads() -> Iterator[list[type[BaseException] | None]]:
    seen: list[type[BaseException] | None] = []
    before = threading.excepthook
    threading.excepthook = lambda args: seen.append(args.exc_type)
    try:
        yield seen
    finally:
        threading.excepthook = before


def test_an_error_in_the_work_itself_ends_the_job() -> None:
    def fail(_: Job) -> None:
        raise ZeroDivisionError

    with errors_of_threads() as seen:
        job = Indexer().start("demo", "Failing", fail)
        ended(job)
        for thread in threading.enumerate():
            if thread.name == "indexing":
                thread.join(LONG_S)
    assert (job.running, job.succeeded, job.error, seen) == (False, False, None, [ZeroDivisionError])


def test_progress_is_told_in_words() -> None:
    job = Job("demo", "Adding 3 files")
    job.waits = False
    assert (progress_words(job), share_done(job)) == ("Adding 3 files…", 0.0)
    job.tell(1, 4, "a.md")
    assert (progress_words(job), share_done(job)) == ("Adding 3 files: 1 of 4 done, the last one a.md", 0.25)


def test_a_report_is_told_in_words_that_stay_text() -> None:
    files = {"new": 2, "changed": 0, "unchanged": 1200, "renamed": 1, "removed": 0, "set_aside": 1}
    reasons = [{"source": "<img>.pdf", "reason": "<img>.pdf is encrypted: save it without a password"}]
    report = IngestReport("demo", files, set_aside=reasons, seconds={"total": 2.34})
    assert list(report_words(report)) == [
        "Files: 2 added, 1 renamed, 1,200 unchanged. It took 2.3 s.",
        "1 file could not be read:",
        r"- **\<img\>\.pdf** is encrypted\: save it without a password",
    ]
