"""Long work beside the pages: one job at a time in a slot, with its progress, a way to cancel it, and what came of it.

A job goes on when its page is left or reloaded, and every visit of the page sees the same one. It ends with the process: what it does must
bear that at any moment. It is cancelled where it reports its progress, so work that is to end soon must report often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import streamlit as st

from rag.errors import LecternError
from ui import access, errors, render

LOOK_S = 1.0
"""How often a page that shows a running job looks at it again."""


class Cancelled(Exception):
    """Raised in the work when it reports its progress after it was cancelled."""


class JobRunning(LecternError):
    """The slot is taken; said to whoever comes second."""


class End(Enum):
    """How a job ended."""

    DONE = auto()
    FAILED = auto()
    CANCELLED = auto()


@dataclass(frozen=True, slots=True)
class Progress:
    """Units done of all; `words` say what is done now, as plain text. `total` is 0 while it is not known."""

    done: int = 0
    total: int = 0
    words: str = ""

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class Job:
    """Work in a thread of its own. Its attributes may be read at any time.

    Args:
        title: what it is, as plain text: `Evaluation “base”`.
        work: what is done; it gets the job, to report progress, and returns the result.
    """

    def __init__(self, title: str, work: Callable[[Job], Any]) -> None:
        self.title = title
        self.progress = Progress()
        self.end: End | None = None
        """None while it runs."""
        self.result: Any = None
        self.error: LecternError | None = None
        """Why it failed; None also where it failed by a defect, whose traceback is in the log."""
        self.seconds = 0.0
        """How long it took."""
        self._cancelled = threading.Event()
        self._work = work
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=title, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self.end is None

    @property
    def cancelling(self) -> bool:
        """Whether it was told to end."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Tells it to end where it next reports progress. What it has finished by then is its result all the same."""
        self._cancelled.set()

    def report(self, done: int, total: int = 0, words: str = "") -> None:
        """Called by the work.

        Raises:
            Cancelled: it was told to end.
        """
        self.progress = Progress(done, total, words)
        if self.cancelling:
            raise Cancelled

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it has ended within so many seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        end = End.FAILED
        try:
            self.result = self._work(self)
            end = End.DONE
        except Cancelled:
            end = End.CANCELLED
        except LecternError as e:
            self.error = e
            errors.log(e)
        finally:  # whatever happened: a job that seemed to run for ever would keep the slot
            del self._work  # and with it whatever it works on
            self.seconds = time.monotonic() - self._began
            self.end = end


class Slot:
    """A place for one job at a time; the last one stays there to be looked at. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: Job | None = None

    @property
    def job(self) -> Job | None:
        """The running job, else the last one; None before the first."""
        return self._job

    def start(self, title: str, work: Callable[[Job], Any]) -> Job:
        """Begins a job.

        Raises:
            JobRunning: another one is not done.
        """
        with self._lock:
            if self._job is not None and self._job.running:
                raise JobRunning(f"{self._job.title} is still running; wait until it has ended, or cancel it")
            self._job = Job(title, work)
            return self._job


@st.cache_resource(show_spinner=False)
def slot(kind: str, place: str) -> Slot:
    """The one slot of this process for a kind of job at a place, such as the directory of a store."""
    return Slot()


def show_running(job: Job, key: str) -> None:
    """How far a running job is, and a button that cancels it, kept up to date; when it has ended, the whole page runs again."""

    is_still = access.watch()

    def cancel() -> None:
        if is_still():
            job.cancel()

    @st.fragment(run_every=LOOK_S)
    def progress() -> None:
        if not (job.running and is_still()):
            st.rerun()
        now = job.progress
        counted = f" · {now.done:,} of {now.total:,}" if now.total else ""
        st.progress(now.share, text=render.label(f"{job.title}{counted}{f' · {now.words}' if now.words else ''}"))
        words = "Cancelling…" if job.cancelling else "Cancel"
        st.button(words, icon=":material/close:", key=f"cancel-{key}", disabled=job.cancelling, on_click=cancel)

    progress()


def explain_end(job: Job) -> str:
    """What came of a job that has ended, in a sentence, as Markdown."""
    title = render.label(job.title)
    match job.end:
        case End.DONE:
            return f"{title}: done in {in_minutes(job.seconds)}."
        case End.CANCELLED:
            return f"{title}: cancelled."
        case _ if job.error is not None:
            return f"{title} has failed. {errors.explain(job.error)}"
        case _:
            return f"{title} has failed unexpectedly. Whoever runs Lectern finds the reason in its log."


def in_minutes(seconds: float) -> str:
    """`8 s`, `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
