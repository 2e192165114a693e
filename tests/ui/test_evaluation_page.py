"""The page Evaluation as staff and students meet it, without a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from rag.runs import load_run, named_run_path
from rag.store import Store
from ui import access, evaluation, jobs, measures, places
from ui.access import Visitor
from ui.jobs import End, Job

WAIT_S = 60
FOUND = {
    "id": "a", "question": "How many late days does each student have?", "answers": ["five"],
    "relevant": [{"source": "rules.md", "quote": "Each student has five late days for the whole term."}],
}  # fmt: skip
LOST = {
    "id": "b", "question": "How long does the *midterm* exam take?",
    "relevant": [{"source": "lab.ipynb", "quote": "The tempered softmax of a striped zebra"}],
}  # fmt: skip
NONE = {"id": "c", "question": "Is there parking?", "answerable": False}


@pytest.fixture
def questions(course_folder: Path) -> Iterator[Path]:
    """Golden questions in the folder of the course."""
    file = course_folder / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, (FOUND, LOST, NONE))))
    yield file
    file.unlink()


@pytest.fixture(autouse=True)
def _no_job_of_another_test() -> Iterator[None]:
    jobs.slot.clear()
    yield
    jobs.slot.clear()


def _page() -> None:
    from ui import evaluation, frame

    frame.page(evaluation.show_page, for_staff=True)()


def visit() -> AppTest:
    return AppTest.from_function(_page, default_timeout=WAIT_S).run()


def words(page: AppTest) -> str:
    kinds = ("subheader", "markdown", "caption", "info", "warning", "error", "success")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))


def job_of(store: Store) -> Job:
    job = jobs.slot("evaluation", str(store.directory)).job
    assert job is not None
    return job


def evaluate(page: AppTest, store: Store) -> AppTest:
    """Starts an evaluation, waits until it has ended, and returns the page that shows it."""
    page.button(key="start").click().run()
    assert not page.exception
    job = job_of(store)
    assert job.wait(WAIT_S)
    assert job.end is End.DONE, job.error
    return page.run()


def save_as(page: AppTest, name: str) -> AppTest:
    page.text_input(key="run-name").input(name)
    return next(button for button in page.button if button.label == "Save").click().run()


def test_students_are_refused(store, use_chat_model, questions, monkeypatch):
    monkeypatch.setattr(access, "admit", lambda config: Visitor("Ann", "ann", staff=False))
    page = visit()
    assert [one.value for one in page.error] == ["This page is for the staff of the course."]
    assert not page.button


def test_without_questions_the_page_asks_for_a_file(store, use_chat_model):
    page = visit()
    assert not page.exception
    assert r"The folder of this course has no questions\.jsonl" in words(page)
    assert "No run of this course is saved yet" in words(page)
    assert "start" not in {button.key for button in page.button}


def test_questions_that_cannot_be_read_are_told_without_a_path(store, use_chat_model, questions):
    questions.write_text('{"id": "1", "question": "Fine?"}\n{"id": 2}')
    page = visit()
    assert r"questions\.jsonl\:2 is no golden question" in page.error[0].value
    assert str(questions.parent) not in page.error[0].value.replace("\\", "")
    questions.write_text("\n")
    assert "holds no question" in visit().error[0].value


def test_a_search_is_measured_and_its_worst_question_shown(store, use_chat_model, questions):
    use_chat_model()
    page = evaluate(visit(), store)
    assert not page.exception
    told = words(page)
    assert "search only: done in" in told.replace("\\", "")
    assert "| 0.500 (0.000 to 1.000) | 2 |" in next(line for line in told.splitlines() if "Right among 5" in line)
    assert "among the first five" in told
    (worst,) = [one for one in page.expander if "midterm" in one.label]
    assert worst.label == r"How long does the \*midterm\* exam take\?"
    shown = "\n".join(one.value for one in worst.markdown)
    assert r"**Wanted** lab\.ipynb" in shown.splitlines()
    assert "striped zebra" not in repr(job_of(store).result)  # what is kept of the evaluation holds no text
    assert "**Its place** search by meaning\\: " in shown
    assert r"**Found 1** rules\.md · Rules › Exams\: ".replace("\\:", ":") in shown
    with store.transaction() as db:  # what is kept of the evaluation holds no text
        db.execute("DELETE FROM documents WHERE source = 'rules.md'")
    (worst,) = [one for one in page.run().expander if "midterm" in one.label]
    assert "*no longer part of the course*" in "\n".join(one.value for one in worst.markdown)
    assert "80 minutes" not in words(page)


def test_with_answers_refusals_are_measured(store, use_chat_model, questions):
    use_chat_model(confidence_floor=1.0)  # refuses everything
    page = visit()
    page.segmented_control(key="mode").set_value("Search and answers")
    page = evaluate(page, store)
    refused = next(line for line in words(page).splitlines() if "Refused, rightly".replace(",", "\\,") in line)
    assert "| 1.000 (1.000 to 1.000) | 1 |" in refused


def test_runs_are_saved_once_and_compared(store, use_chat_model, questions):
    use_chat_model()
    page = evaluate(visit(), store)
    page = save_as(page, "base")
    assert [one.value for one in page.success] == ["Saved as base."]
    saved = load_run(named_run_path("base", store.directory))
    assert (saved.name, [one.id for one in saved.results], saved.setting["course"]) == ("base", ["a", "b", "c"], "demo")
    assert saved.setting["questions"] == "questions.jsonl"
    assert "softmax of a striped" not in named_run_path("base", store.directory).read_text()
    assert "There is a run called base already" in save_as(page, "base").error[0].value
    page = save_as(page, "second")
    told = words(page)
    assert "| second |" in told
    assert "| base |" in told
    assert "Over the 3 questions that both hold." in told
    assert "No setting differs." in told
    assert "No question's first right passage moved." in told
    assert (page.selectbox(key="before").value, page.selectbox(key="after").value) == ("base", "second")
    assert "| **same** +0.000 (+0.000 to +0.000) |" in told
    assert "Choose two different runs." in words(page.selectbox(key="after").select("base").run())


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "outside.json", "a b", ""])
def test_a_name_is_never_a_path(store, use_chat_model, questions, name):
    use_chat_model()
    page = save_as(evaluate(visit(), store), name)
    assert "A name has letters, digits" in page.error[0].value
    assert not (store.directory / "runs").exists()
    assert not Path("outside.json").exists()


def test_a_running_evaluation_is_shown_cancelled_and_is_alone(store, use_chat_model, questions, monkeypatch):
    use_chat_model()
    go_on, started = threading.Event(), threading.Event()

    def slowly(job: Job, experiment: object, engine: object) -> None:
        job.report(1, 3)
        started.set()
        go_on.wait(WAIT_S)
        job.report(2, 3)

    monkeypatch.setattr(evaluation, "evaluate_in_job", slowly)
    page = visit()
    page.button(key="start").click().run()
    assert started.wait(WAIT_S)
    other = visit()
    assert other.button(key="start").disabled
    assert "· 1 of 3" in other.get("progress")[0].proto.text
    other.button(key="cancel-evaluation").click().run()
    go_on.set()
    assert job_of(store).wait(WAIT_S)
    assert job_of(store).end is End.CANCELLED
    assert "cancelled" in page.run().info[0].value
    assert not page.button(key="start").disabled


def test_verdicts():
    assert measures.verdict("recall@5", 0.1, 0.01) == "better"
    assert measures.verdict("recall@5", -0.1, 0.01) == "worse"
    assert measures.verdict("refused_answerable", -0.1, 0.01) == "better"
    assert measures.verdict("refused_answerable", 0.1, 0.01) == "worse"
    assert measures.verdict("recall@5", 0.1, 0.06) == "no clear difference"
    assert measures.verdict("recall@5", 0.0, 1.0) == "same"
    assert measures.verdict("gold_nats_per_token", -0.1, 0.01) == "less"


def test_files_of_a_session_are_not_evaluated(store, use_chat_model, questions, monkeypatch):
    use_chat_model()
    real = places.place_of
    monkeypatch.setattr(places, "place_of", lambda config, course: replace(real(config, course), own=True))
    page = visit()
    assert not page.exception
    assert "Golden questions are asked of shared courses" in words(page)
    assert "start" not in {button.key for button in page.button}
