"""Indexing behind the page: one job at a time for a store, in a thread of this process, seen by all who may change the course.

The embedder is the one that answers questions: models in a second process on the same cores slow both tens of times. A job belongs to its
store, not to a visitor: it goes on when the page is closed, and a reload shows it again. When the app ends, so does the job; documents are
saved one by one, each whole, and the next run goes on from there.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ingest.pipeline import ingest_course
from ingest.report import IngestReport
from ingest.uploads import delete_files, placed
from rag.errors import CorpusError, StoreBusy, StoreError
from rag.lane import Lane
from ui import render
from ui.jobs import LOOK_S, End, Job, JobRunning, Slot, explain_end, show_running

if TYPE_CHECKING:
    from ui.places import Place

WAITS = "waiting for the files of others to be read"
REASONS_SHOWN = 10
_COUNTED = ("new", "changed", "renamed", "removed", "unchanged")
_SEEN = "jobs_seen"


@dataclass(slots=True)
class Run:
    """One indexing job over a course. Its own thread writes the remark, pages read it."""

    course: str
    job: Job = field(init=False)
    remark: str = ""
    """What has become of the files when it did not end well."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


Work = Callable[[Run, Job], IngestReport | None]


class Indexer:
    """The jobs of one store, one at a time; the last one is remembered.

    Args:
        turn: held by a job while it works, for stores that take turns.
    """

    def __init__(self, turn: Lane | None = None) -> None:
        self._turn = Lane() if turn is None else turn
        self._slot = Slot()
        self._starting = threading.Lock()
        self.latest: Run | None = None

    @property
    def busy(self) -> bool:
        return self.latest is not None and self.latest.job.running

    def start(self, course: str, title: str, work: Work) -> Run:
        """Begins a job in the background.

        Raises:
            StoreBusy: another one goes on.
        """
        run = Run(course)

        def in_turn(job: Job) -> IngestReport | None:
            def wait() -> None:
                job.report(0, 0, WAITS)

            wait()
            with self._turn.turn(wait, LOOK_S):
                job.report(0)
                try:
                    return work(run, job)
                except sqlite3.Error as e:
                    raise StoreError(f"the catalogue cannot be written: {e}; run: python -m rag doctor") from e

        with self._starting:
            try:
                run.job = self._slot.start(title, in_turn)
            except JobRunning as e:
                raise StoreBusy(str(e)) from e
            self.latest = run
        return run


# --- the jobs


def update(place: Place, course: str, rebuild: bool = False) -> Run:
    """Brings the store up to date with the course's folder: what has changed, or with `rebuild` every file."""
    return _start(place, course, "Reading every file again" if rebuild else "Reading what has changed", rebuild=rebuild)


def add_files(place: Place, course: str, files: Mapping[str, bytes], below: str = "", replace: Collection[str] = ()) -> Run:
    """Puts files, by their safe names, into a folder of the course and ingests it. When that cannot begin, they are taken out again.

    Args:
        below: the folder in the course's folder.
        replace: names of files that may be there already.
    """

    def put(folder: Path) -> AbstractContextManager[None]:
        return placed(folder / below, files, replace)

    return _start(place, course, f"Adding {counted(len(files), 'file')}", put=put)


def delete(place: Place, course: str, sources: Sequence[str]) -> Run:
    """Takes files out of the course's folder, and all that was made of them out of the store."""

    def work(run: Run, job: Job) -> None:
        try:
            delete_files(place.store, course, sources)
        finally:
            place.store.close()  # this thread's connection

    return place.indexer.start(course, f"Deleting {', '.join(sources)}", work)


def _start(
    place: Place, course: str, what: str, *, rebuild: bool = False, put: Callable[[Path], AbstractContextManager[None]] | None = None
) -> Run:
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
            folder, store, engine.searcher.embedder, engine.config, name=course, rebuild=rebuild, workers=1, progress=job.report
        )

    def work(run: Run, job: Job) -> IngestReport:
        try:
            return _ingest_with(put(folder), lambda: ingest(job), run, store.revision) if put else ingest(job)
        finally:
            place.store.close()  # this thread's connection. By `place`: it keeps a visitor's own files while they are read

    return place.indexer.start(course, what, work)


def _ingest_with(
    files: AbstractContextManager[None], ingest: Callable[[], IngestReport], run: Run, revision: Callable[[], int]
) -> IngestReport:
    """Ingests with more files. If it ends, however, before anything was saved, the folder is as it was; later, the files stay for the
    next run: the catalogue may have their documents already."""
    before = revision()
    run.remark = "Nothing was added."
    with ExitStack() as taken_back:
        taken_back.enter_context(files)
        try:
            return ingest()
        finally:
            if revision() != before:
                run.remark = "The files are in the course's folder. Read what has changed to go on with them."
                taken_back.pop_all().close()


# --- on the page


def show_latest(indexer: Indexer, course: str) -> None:
    """How the job that goes on stands, or what became of the last one, until the visitor has put that away."""
    run = indexer.latest
    if run is None or (run.course != course and not run.job.running):
        return
    if run.job.running:
        show_running(run.job, "indexing")
        st.markdown(":small[This goes on when you leave the page.]")
    elif run.id not in st.session_state.get(_SEEN, ()):
        with st.container(border=True, key="job"):
            _show_end(run)
            st.button("Put this away", key="job-seen", type="tertiary", on_click=_put_away, args=(run.id,))


def _put_away(run_id: str) -> None:
    st.session_state[_SEEN] = {*st.session_state.get(_SEEN, ()), run_id}


def _show_end(run: Run) -> None:
    if run.job.end is End.DONE:
        st.markdown(f":material/check_circle: {explain_end(run.job)}")
        for line in report_words(run.job.result) if run.job.result else ():
            st.markdown(line)
    else:
        st.markdown(f":material/error: {explain_end(run.job)} {run.remark}")


def report_words(report: IngestReport) -> Iterator[str]:
    """What a run did, as lines of Markdown."""
    counts = [f"{report.files[kind]:,} {kind}" for kind in _COUNTED if report.files.get(kind)]
    yield f"Files: {', '.join(counts) or 'none'}."
    if report.set_aside:
        yield f"{counted(len(report.set_aside), 'file')} of the course could not be read:"
        yield "\n".join(f"- {reason_words(file['source'], file['reason'])}" for file in report.set_aside[:REASONS_SHOWN])


def reason_words(source: str, reason: str) -> str:
    """`**a.pdf** is encrypted`, as Markdown; many reasons begin with the name already."""
    return f"**{render.label(source)}** {render.label(reason.removeprefix(source), 400)}"


def counted(count: int, what: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
