"""Jobs behind the page: one at a time, their progress and outcome in words, nothing half."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.report import IngestReport
from rag.engine import Engine
from rag.errors import CorpusError, DiskFull, StoreBusy
from rag.lane import Lane
from rag.store import Store
from ui import indexing
from ui.indexing import WAITS, Indexer, Run, report_words
from ui.jobs import End, Job, Progress
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


def ended(run: Run) -> Run:
    assert run.job.wait(LONG_S)
    return run


def until(event: threading.Event, begun: threading.Event | None = None) -> Callable[[Run, Job], None]:
    """Work that goes on until the event."""

    def wait(*_: object) -> None:
        if begun is not None:
            begun.set()
        event.wait(LONG_S)

    return wait


def sources(store: Store) -> list[str]:
    return [document.source for document in store.documents("demo")]


def test_added_files_are_placed_indexed_and_reported(place: Place, folder: Path) -> None:
    run = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga has no stripes."}, "uploads"))
    assert run.job.error is None
    assert run.job.end is End.DONE
    assert run.job.result.files == {"new": 1, "changed": 0, "unchanged": 3, "renamed": 0, "removed": 0, "set_aside": 0}
    assert (folder / "uploads/quagga.md").read_bytes() == b"# Quagga\n\nThe quagga has no stripes."
    assert sources(place.store) == ["cache.pdf", "lab.ipynb", "rules.md", "uploads/quagga.md"]
    assert run.job.progress == Progress(1, 1, "uploads/quagga.md")


def test_an_update_takes_in_what_has_changed_alone(place: Place, folder: Path) -> None:
    (folder / "rules.md").write_text("# Rules\n\nA zebra may not sit the exam.\n")
    (folder / "lab.ipynb").unlink()
    run = ended(indexing.update(place, "demo"))
    assert run.job.result.files == {"new": 0, "changed": 1, "unchanged": 1, "renamed": 0, "removed": 1, "set_aside": 0}
    assert "zebra" in place.store.document_text("demo", "rules.md")


def test_a_rebuild_reads_every_file(place: Place) -> None:
    run = ended(indexing.update(place, "demo", rebuild=True))
    assert run.job.end is End.DONE
    assert run.job.progress.total == run.job.progress.done == 3


def test_a_deleted_file_is_gone_from_folder_and_store(place: Place, folder: Path) -> None:
    run = ended(indexing.delete(place, "demo", ["rules.md"]))
    assert run.job.end is End.DONE
    assert not (folder / "rules.md").exists()
    assert sources(place.store) == ["cache.pdf", "lab.ipynb"]


def test_two_jobs_of_a_store_do_not_run_at_once(place: Place) -> None:
    go_on = threading.Event()
    run = place.indexer.start("demo", "Waiting", until(go_on))
    with pytest.raises(StoreBusy):
        indexing.update(place, "demo")
    assert place.indexer.latest is run
    go_on.set()
    ended(run)
    assert ended(indexing.update(place, "demo")).job.end is End.DONE


def test_stores_that_take_turns_wait_for_each_other() -> None:
    turn = Lane()
    first, second = Indexer(turn), Indexer(turn)
    go_on, begun = threading.Event(), threading.Event()

    one = first.start("a", "Adding 1 file", until(go_on, begun))
    assert begun.wait(LONG_S)
    other = second.start("b", "Adding 1 file", lambda *_: None)
    assert not other.job.wait(0.05)
    assert other.job.progress == Progress(0, 0, WAITS)
    go_on.set()
    assert ended(one).job.end is End.DONE
    assert ended(other).job.end is End.DONE


def test_a_job_that_waits_for_its_turn_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "LOOK_S", 0.01)
    turn = Lane()
    go_on, begun, worked = threading.Event(), threading.Event(), []
    first = Indexer(turn).start("a", "Adding 1 file", until(go_on, begun))
    assert begun.wait(LONG_S)
    second = Indexer(turn).start("b", "Adding 1 file", lambda *_: worked.append("b"))
    third = Indexer(turn).start("c", "Adding 1 file", lambda *_: worked.append("c"))
    second.job.cancel()
    assert ended(second).job.end is End.CANCELLED
    assert first.job.running
    go_on.set()
    assert ended(third).job.end is End.DONE
    assert worked == ["c"]
    assert turn.wait_until_idle(LONG_S)


def test_while_another_process_writes_nothing_begins(place: Place, folder: Path) -> None:
    with place.store.writer_lock(), pytest.raises(StoreBusy):
        indexing.add_files(place, "demo", {"quagga.md": b"# Quagga"}, "uploads")
    assert not (folder / "uploads").exists()
    assert place.indexer.latest is None


def test_another_writer_that_comes_first_takes_the_files_out_again(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "is_being_written", lambda _: False)
    (folder / "rules.md").write_bytes(b"# Rules\n\nAs they were.\n")
    with place.store.writer_lock():
        run = ended(
            indexing.add_files(place, "demo", {"rules.md": b"# Rules\n\nOther ones.\n", "quagga.md": b"# Quagga"}, replace=["rules.md"])
        )
    assert isinstance(run.job.error, StoreBusy)
    assert run.remark == "Nothing was added."
    assert (folder / "rules.md").read_bytes() == b"# Rules\n\nAs they were.\n"
    assert not (folder / "quagga.md").exists()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_another_has_added_meanwhile_is_not_replaced(place: Place, folder: Path) -> None:
    before = (folder / "rules.md").read_bytes()
    run = ended(indexing.add_files(place, "demo", {"rules.md": b"# Other rules"}))
    assert isinstance(run.job.error, CorpusError)
    assert (folder / "rules.md").read_bytes() == before


def test_what_fails_before_anything_was_saved_leaves_the_folder_as_it_was(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(store: Store, needed_bytes: int) -> None:
        raise DiskFull("the disk is full")

    monkeypatch.setattr(Store, "require_space", no_room)
    run = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga."}))
    assert isinstance(run.job.error, DiskFull)
    assert run.remark == "Nothing was added."
    assert not (folder / "quagga.md").exists()


def test_what_fails_after_something_was_saved_keeps_the_files(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(store: Store) -> int:
        raise DiskFull("the disk is full")

    monkeypatch.setattr("ingest.pipeline.publish_changes", fail)
    run = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga."}))
    assert isinstance(run.job.error, DiskFull)
    assert "Read what has changed" in run.remark
    assert (folder / "quagga.md").exists()
    assert "quagga.md" in sources(place.store)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), StoreBusy("another ingest is writing")], ids=["defect", "busy"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_ends_it_after_something_was_saved_keeps_the_files(place: Place, folder: Path, monkeypatch, error: Exception) -> None:
    def fail(store: Store) -> int:
        raise error

    monkeypatch.setattr("ingest.pipeline.publish_changes", fail)
    run = ended(indexing.add_files(place, "demo", {"quagga.md": b"# Quagga\n\nThe quagga."}))
    assert run.job.end is End.FAILED
    assert "Read what has changed" in run.remark
    assert (folder / "quagga.md").exists()
    assert "quagga.md" in sources(place.store)


def test_a_folder_that_is_gone_is_said_before_anything_begins(place: Place, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(CorpusError, match="is not there"):
        indexing.update(place, "demo")


@pytest.mark.parametrize("saved", [False, True])
def test_what_is_cancelled_keeps_the_files_only_when_some_were_saved(place: Place, folder: Path, monkeypatch, saved: bool) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def ingest(folder: Path, store: Store, *_: object, progress: Callable[[int, int, str], None], **__: object) -> None:
        begun.set()
        go_on.wait(LONG_S)
        if saved:
            store.remove_documents("demo", [])  # counts the revision up, as saving does
        progress(1, 2, "quagga.md")

    monkeypatch.setattr(indexing, "ingest_course", ingest)
    run = indexing.add_files(place, "demo", {"quagga.md": b"# Quagga"})
    assert begun.wait(LONG_S)
    assert (folder / "quagga.md").exists()
    run.job.cancel()
    go_on.set()
    assert ended(run).job.end is End.CANCELLED
    assert (folder / "quagga.md").exists() is saved
    assert ("Read what has changed" if saved else "Nothing was added.") in run.remark


def test_a_report_is_told_in_words_that_stay_text() -> None:
    files = {"new": 2, "changed": 0, "unchanged": 1200, "renamed": 1, "removed": 0, "set_aside": 1}
    reasons = [{"source": "<img>.pdf", "reason": "<img>.pdf is encrypted: save it without a password"}]
    report = IngestReport("demo", files, set_aside=reasons)
    assert list(report_words(report)) == [
        "Files: 2 new, 1 renamed, 1,200 unchanged.",
        "1 file of the course could not be read:",
        r"- **\<img\>\.pdf** is encrypted\: save it without a password",
    ]
