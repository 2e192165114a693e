"""Indexing behind the page: one job at a time for a store, in a thread of this process, seen by all who may change the course.

The embedder is the one that answers questions: models in a second process on the same cores slow both tens of times. A job belongs to its
store, not to a visitor: it goes on when the page is closed, and a reload shows it again. When the app ends, so does the job; documents are
saved one by one, each whole, and the next run goes on from there.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ingest.pipeline import ingest_course
from ingest.report import IngestReport
from ingest.uploads import delete_files, placed
from rag.errors import CorpusError, LecternError, StoreBusy, StoreError
from ui import errors, render

if TYPE_CHECKING:
    from ui.places import Place

LOOK_S = 1.0
"""How often a page looks at a job that goes on."""
REASONS_SHOWN = 10
_COUNTED = {"new": "added", "changed": "changed", "renamed": "renamed", "removed": "removed", "unchanged": "unchanged"}
_SEEN = "jobs_seen"


@dataclass(frozen=True, slots=True)
class Progress:
    """Files done, of so many, and the last of them."""

    done: int = 0
    files: int = 0
    source: str = ""


class Job:
    """One run over a course. Its own thread writes to it, pages read it."""

    def __init__(self, course: str, what: str) -> None:
        self.id = uuid.uuid4().hex
        self.course, self.what = course, what
        self.began = time.monotonic()
        self.waits = True
        """For its turn among the jobs of other stores."""
        self.progress = Progress()
        self.report: IngestReport | None = None
        self.error: LecternError | None = None
        self.succeeded = False
        self.remark = ""
        """What has become of the files when it did not succeed."""
        self._ended = threading.Event()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it has ended within the time."""
        return self._ended.wait(timeout_s)

    def tell(self, done: int, files: int, source: str) -> None:
        self.progress = Progress(done, files, source)

    def run(self, work: Callable[[Job], IngestReport | None], turn: AbstractContextManager[None]) -> None:
        """Does the work; whatever goes wrong on purpose is kept, for the page to tell."""
        try:
            with turn:
                self.waits = False
                self.report = work(self)
            self.succeeded = True
        except LecternError as e:
            self.error = e
        except sqlite3.Error as e:
            self.error = StoreError(f"the catalogue cannot be written: {e}; run: python -m rag doctor")
        finally:
            if self.error is not None:
                errors.log(self.error)
            self._ended.set()


class Indexer:
    """The jobs of one store, one at a time; the last one is remembered.

    Args:
        turn: held by a job while it runs, for stores that take turns.
    """

    def __init__(self, turn: AbstractContextManager[None] | None = None) -> None:
        self._turn: AbstractContextManager[None] = nullcontext() if turn is None else turn
        self._lock = threading.Lock()
        self.latest: Job | None = None

    @property
    def busy(self) -> bool:
        return self.latest is not None and self.latest.running

    def start(self, course: str, what: str, work: Callable[[Job], IngestReport | None]) -> Job:
        """Begins a job in the background.

        Raises:
            StoreBusy: another one goes on.
        """
        with self._lock:
            if self.busy:
                raise StoreBusy("another job indexes this store; wait for it to end")
            self.latest = job = Job(course, what)
            threading.Thread(target=job.run, args=[work, self._turn], name="indexing", daemon=True).start()
        return job


# --- the jobs


def update(place: Place, course: str, rebuild: bool = False) -> Job:
    """Brings the store up to date with the course's folder: what has changed, or with `rebuild` every file."""
    return _start(place, course, "Reading every file again" if rebuild else "Reading what has changed", rebuild=rebuild)


def add_files(place: Place, course: str, files: Mapping[str, bytes], below: str = "", replace: Collection[str] = ()) -> Job:
    """Puts files, by their safe names, into a folder of the course and ingests it. When that cannot begin, they are taken out again.

    Args:
        below: the folder in the course's folder.
        replace: names of files that may be there already.
    """

    def put(folder: Path) -> AbstractContextManager[None]:
        return placed(folder / below, files, replace)

    return _start(place, course, f"Adding {counted(len(files), 'file')}", put=put)


def delete(place: Place, course: str, sources: Sequence[str]) -> Job:
    """Takes files out of the course's folder, and all that was made of them out of the store."""

    def work(job: Job) -> None:
        try:
            delete_files(place.store, course, sources)
        finally:
            place.store.close()  # this thread's connection

    return place.indexer.start(course, f"Deleting {', '.join(sources)}", work)


def _start(
    place: Place, course: str, what: str, *, rebuild: bool = False, put: Callable[[Path], AbstractContextManager[None]] | None = None
) -> Job:
    """Begins to ingest a course's folder.

    Args:
        put: puts files into the folder, and takes them out again when what goes on within it raises.
    """
    engine, store = place.open_engine(), place.store
    folder = store.course_folder(course)
    if folder is None or not folder.is_dir():
        raise CorpusError(f"the folder of the course {course} is not there ({folder}); put it back, then try again")
    if store.is_being_written():
        raise StoreBusy(f"another process is writing to {store.directory}; wait for it to end")

    def ingest(job: Job) -> IngestReport:
        # One reader's process: those who ask need the other cores.
        return ingest_course(
            folder, store, engine.searcher.embedder, engine.config, name=course, rebuild=rebuild, workers=1, progress=job.tell
        )

    def work(job: Job) -> IngestReport:
        try:
            return _ingest_with(put(folder), ingest, job, store.revision) if put else ingest(job)
        finally:
            place.store.close()  # this thread's connection. By `place`: it keeps a visitor's own files while they are read

    return place.indexer.start(course, what, work)


def _ingest_with(
    files: AbstractContextManager[None], ingest: Callable[[Job], IngestReport], job: Job, revision: Callable[[], int]
) -> IngestReport:
    """Ingests with more files. If it fails before anything was saved, the folder is as it was; later, the files stay for the next run."""
    before = revision()
    job.remark = "Nothing was added."
    with files:
        try:
            return ingest(job)
        except (LecternError, sqlite3.Error) as e:
            if isinstance(e, StoreBusy) or revision() == before:
                raise
            failed = e
    job.remark = "The files are in the course's folder. Update the index to go on with them."
    raise failed


# --- on the page


def show_job(indexer: Indexer, course: str) -> None:
    """How the job that goes on stands, or what became of the last one, until the visitor has put that away."""
    job = indexer.latest
    if job is None or (job.course != course and not job.running):
        return
    if job.running:
        _follow(job)
    elif job.id not in st.session_state.get(_SEEN, ()):
        with st.container(border=True, key="job"):
            _show_outcome(job)
            st.button("Put this away", key="job-seen", type="tertiary", on_click=_put_away, args=(job.id,))


@st.fragment(run_every=LOOK_S)
def _follow(job: Job) -> None:
    if not job.running:
        st.rerun()
    st.progress(share_done(job), render.label(progress_words(job)))
    st.markdown(":small[This goes on when you leave the page.]")


def _put_away(job_id: str) -> None:
    st.session_state[_SEEN] = {*st.session_state.get(_SEEN, ()), job_id}


def share_done(job: Job) -> float:
    return job.progress.done / job.progress.files if job.progress.files else 0.0


def progress_words(job: Job) -> str:
    """`Adding 3 files: 1 of 3 read, the last one notes.md`."""
    if job.waits:
        return f"{job.what}: waiting for the files of others to be read"
    progress = job.progress
    if not progress.files:
        return f"{job.what}…"
    return f"{job.what}: {progress.done:,} of {progress.files:,} done, the last one {progress.source}"


def _show_outcome(job: Job) -> None:
    if job.succeeded:
        st.markdown(f":material/check_circle: **Done.** {render.label(job.what)}")
        for line in report_words(job.report) if job.report else ():
            st.markdown(line)
    else:
        told = errors.explain(job.error) if job.error else "It ended by an error in Lectern. Whoever runs it finds that in the log."
        st.markdown(f":material/error: **Not done.** {render.label(job.what)}")
        st.markdown(f"{told} {job.remark}")


def report_words(report: IngestReport) -> Iterator[str]:
    """What a run did, as lines of Markdown."""
    counts = [f"{report.files[kind]:,} {words}" for kind, words in _COUNTED.items() if report.files.get(kind)]
    yield f"Files: {', '.join(counts) or 'none'}. It took {max(0.1, report.seconds.get('total', 0.0)):.1f} s."
    if report.set_aside:
        yield f"{counted(len(report.set_aside), 'file')} could not be read:"
        yield "\n".join(f"- {reason_words(file['source'], file['reason'])}" for file in report.set_aside[:REASONS_SHOWN])


def reason_words(source: str, reason: str) -> str:
    """`**a.pdf** is encrypted`, as Markdown; many reasons begin with the name already."""
    return f"**{render.label(source)}** {render.label(reason.removeprefix(source), 400)}"


def counted(count: int, what: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
