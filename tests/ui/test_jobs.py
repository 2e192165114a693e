"""Jobs beside the pages: one at a time, cancelled where they report, their end kept."""

from __future__ import annotations

import threading

import pytest
from streamlit.testing.v1 import AppTest

from rag.errors import LecternError, StoreBusy
from ui import access, jobs
from ui.access import Visitor
from ui.jobs import End, Job, JobRunning, Progress, Slot

WAIT_S = 20


def test_a_job_reports_and_returns():
    seen = []

    def work(job: Job) -> int:
        for done in range(1, 4):
            job.report(done, 4, "a.pdf")
            seen.append(job.progress)
        return 42

    job = Slot().start("Counting", work)
    assert job.wait(WAIT_S)
    assert (job.end, job.result, job.error) == (End.DONE, 42, None)
    assert [one.share for one in seen] == [0.25, 0.5, 0.75]
    assert job.progress == Progress(3, 4, "a.pdf")
    assert jobs.explain_end(job) == "Counting: done in 0 s."


def test_one_at_a_time_and_the_next_after_it():
    slot, go_on = Slot(), threading.Event()
    first = slot.start("First", lambda job: go_on.wait(WAIT_S))
    with pytest.raises(JobRunning, match="First is still running"):
        slot.start("Second", lambda job: None)
    assert slot.job is first
    go_on.set()
    assert first.wait(WAIT_S)
    second = slot.start("Second", lambda job: "other")
    assert second.wait(WAIT_S)
    assert slot.job is second


def test_a_cancelled_job_ends_where_it_reports():
    started, go_on, steps = threading.Event(), threading.Event(), []

    def work(job: Job) -> None:
        for step in range(3):
            job.report(step, 3)
            steps.append(step)
            started.set()
            go_on.wait(WAIT_S)

    job = Slot().start("Long", work)
    assert started.wait(WAIT_S)
    assert job.running
    job.cancel()
    assert job.cancelling
    go_on.set()
    assert job.wait(WAIT_S)
    assert (job.end, steps, job.result) == (End.CANCELLED, [0], None)
    assert jobs.explain_end(job) == "Long: cancelled."


def test_work_that_was_done_before_the_cancel_was_noticed_is_kept():
    go_on = threading.Event()

    def work(job: Job) -> str:
        go_on.wait(WAIT_S)
        return "result"

    job = Slot().start("Quick", work)
    job.cancel()
    go_on.set()
    assert job.wait(WAIT_S)
    assert (job.end, job.result) == (End.DONE, "result")


def test_what_goes_wrong_on_purpose_is_told_in_words_without_paths():
    def work(job: Job) -> None:
        raise StoreBusy("the catalogue in /home/someone/store is locked")

    job = Slot().start("Ingest of *a*", work)
    assert job.wait(WAIT_S)
    assert job.end is End.FAILED
    assert isinstance(job.error, LecternError)
    told = jobs.explain_end(job)
    assert told.startswith(r"Ingest of \*a\* has failed. The course is being updated just now.")
    assert "/home" not in told


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_ends_the_job_too():
    slot = Slot()
    job = slot.start("Broken", lambda job: 1 // 0)
    assert job.wait(WAIT_S)
    assert (job.end, job.error) == (End.FAILED, None)
    assert "unexpectedly" in jobs.explain_end(job)
    assert slot.start("Next", lambda job: None).wait(WAIT_S)


def test_a_slot_is_the_same_for_every_run_of_a_page():
    jobs.slot.clear()
    assert jobs.slot("ingest", "/a") is jobs.slot("ingest", "/a")
    assert jobs.slot("ingest", "/a") is not jobs.slot("ingest", "/b")
    assert jobs.slot("evaluate", "/a") is not jobs.slot("ingest", "/a")
    jobs.slot.clear()


def _page() -> None:
    import streamlit as st

    from ui import jobs

    job = jobs.slot("shown", "here").job
    if job is None:
        st.write("nothing")
    elif job.running:
        jobs.show_running(job, "shown")
    else:
        st.write(jobs.explain_end(job))


def test_only_who_is_still_the_same_visitor_cancels(monkeypatch):
    go_on = threading.Event()
    jobs.slot.clear()
    job = jobs.slot("shown", "here").start("Long", lambda job: go_on.wait(WAIT_S))
    now = Visitor("Ada", "ada", staff=True)
    monkeypatch.setattr(access, "recognise", lambda config: now)
    page = AppTest.from_function(_page).run()
    now = Visitor("Ada", "ada", staff=False)
    page.button[0].click().run()
    assert not job.cancelling
    page.button[0].click().run()  # the page was shown anew, to whom it is now
    assert job.cancelling
    go_on.set()
    assert job.wait(WAIT_S)
    jobs.slot.clear()


def test_a_page_shows_progress_and_its_button_cancels():
    jobs.slot.clear()
    go_on, reported = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        job.report(1, 4, "slides_<b>.pdf")
        reported.set()
        go_on.wait(WAIT_S)
        job.report(2, 4)

    job = jobs.slot("shown", "here").start("Reading", work)
    assert reported.wait(WAIT_S)
    page = AppTest.from_function(_page).run()
    assert not page.exception
    bar = page.get("progress")[0].proto
    assert (bar.value, bar.text) == (25, r"Reading · 1 of 4 · slides\_\<b\>\.pdf")
    page.button(key="cancel-shown").click().run()
    assert job.cancelling
    assert page.button(key="cancel-shown").disabled
    go_on.set()
    assert job.wait(WAIT_S)
    assert page.run().markdown[0].value == "Reading: cancelled."
    jobs.slot.clear()
