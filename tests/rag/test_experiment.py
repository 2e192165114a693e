"""An evaluation of a course as command line and page run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.engine import Engine
from rag.errors import LecternError
from rag.experiment import Experiment
from rag.golden import Golden, Half, QuestionSet

WANTED = {"source": "syllabus.md", "quote": "Each late day costs 5 points."}
QUESTIONS = QuestionSet(
    Path("questions.jsonl"),
    "sha",
    [
        Golden("found", "How many points does each late day cost?", answers=("5",), relevant=(WANTED,)),
        Golden("lost", "What blurs the image?", relevant=(WANTED,)),
        Golden("none", "Is there parking?", answerable=False),
    ],
)


def test_a_search_is_judged_saved_and_its_worst_traced(engine: Engine) -> None:
    told: list[int] = []
    experiment = Experiment("optics", QUESTIONS, filters={"path": "syllabus.md"})
    evaluation = experiment.run(engine.searcher, progress=told.append)
    assert told == [1, 2, 3]
    assert evaluation.judged[0].figures["mrr@10"] == 1.0
    assert {hit.passage.source for one in evaluation.judged for hit in one.hits} == {"syllabus.md"}
    assert all(one.answer is None for one in evaluation.judged)
    run = experiment.as_run("base", evaluation, engine.config, engine.searcher)
    assert (run.name, [result.id for result in run.results]) == ("base", ["found", "lost", "none"])
    assert {key: run.setting[key] for key in ("course", "questions", "filters", "half", "limit", "answers")} == {
        "course": "optics", "questions": "questions.jsonl", "filters": {"path": "syllabus.md"},
        "half": None, "limit": None, "answers": False,
    }  # fmt: skip
    assert "found" not in {miss.judged.golden.id for miss in experiment.worst(evaluation, 5, engine.searcher)}


def test_with_an_engine_each_question_is_answered(engine: Engine) -> None:
    experiment = Experiment("optics", QUESTIONS, answers=True, limit=1)
    evaluation = experiment.run(engine.searcher, engine)
    assert [one.golden.id for one in evaluation.judged] == ["found"]
    assert evaluation.figures()["answer_contains_gold"].mean == 1.0
    assert evaluation.figures()["refused_answerable"].mean == 0.0


def test_half_and_limit_choose_and_leave_something() -> None:
    assert [one.id for one in Experiment("optics", QUESTIONS, half=Half.ODD).questions] == ["lost"]
    with pytest.raises(LecternError, match="no question is left of 3"):
        _ = Experiment("optics", QUESTIONS, limit=0).questions


def test_what_the_progress_raises_ends_it(engine: Engine) -> None:
    class Enough(Exception):
        pass

    def stop(done: int) -> None:
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        Experiment("optics", QUESTIONS).run(engine.searcher, progress=stop)
