import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rag.answer import answer
from rag.engine import Engine
from rag.evaluate import PERPLEXITY, Evaluation, Judged, auroc, evaluate, figure
from rag.golden import Golden, read_questions
from rag.types import Latency, Mode, Scope
from rag.wire import answer_to_json, hit_to_json
from support import SHARED_DATA

ASKED = Golden("1", "?")


def test_auroc_by_hand() -> None:
    assert auroc([0.9, 0.4], [0.4, 0.1]) == pytest.approx(3.5 / 4)


def test_figure_has_an_interval_around_the_mean() -> None:
    shown = figure([0.0, 1.0] * 50)
    assert shown.mean == 0.5
    assert 0.38 < shown.low < 0.45 < 0.55 < shown.high < 0.62
    assert str(figure([1.0, 1.0])) == "1.000 [1.000, 1.000] n=2"


def test_figures_agree_with_the_common_scorer(engine: Engine, tmp_path: Path) -> None:
    scorer = SHARED_DATA.parent / "tools" / "score.py"
    if not scorer.exists():
        pytest.skip("the common scorer is not beside this checkout")
    questions = [
        {
            "id": "1",
            "question": "How much does the midterm count?",
            "answers": ["30 %"],
            "relevant": [{"source": "syllabus.md", "quote": "The midterm counts 30 % of the grade."}],
        },
        {
            "id": "2",
            "question": "Why is the image blurred?",
            "answers": ["marginal rays"],
            "relevant": [{"source": "syllabus.md", "quote": "no such words stand anywhere here"}],
        },
        {"id": "3", "question": "Where can I park?", "answerable": False, "answers": [], "relevant": []},
    ]
    file, output = tmp_path / "q.jsonl", tmp_path / "o.jsonl"
    file.write_text("\n".join(map(json.dumps, questions)))
    scope = Scope("optics")
    with output.open("w") as lines:
        for question in read_questions(file):
            found = [hit_to_json(hit) for hit in engine.searcher.search(question.question, scope)]
            lines.write(json.dumps({"id": question.id, "hits": found} | answer_to_json(answer(question.question, scope, engine))) + "\n")
    ours = evaluate(read_questions(file), lambda q: engine.searcher.search(q.question, scope), lambda q: answer(q.question, scope, engine))
    printed = subprocess.run([sys.executable, str(scorer), str(file), str(output)], capture_output=True, text=True, check=True).stdout
    theirs = {name: float(value) for name, value, *_ in (line.split() for line in printed.splitlines())}
    means = {name: one.mean for name, one in ours.figures().items()} | {"answerable_auroc": ours.answerable_auroc}
    for name in (
        "coverage@750w",
        "hit@1",
        "hit@5",
        "mrr@10",
        "answer_f1",
        "answer_contains_gold",
        "refused_unanswerable",
        "answerable_auroc",
    ):
        assert means[name] == pytest.approx(theirs[name], abs=6e-4), name


def test_times_and_modes_are_of_the_answers_that_were_given(engine: Engine) -> None:
    given = answer("How many points does a late day cost?", Scope("optics"), engine)
    timed = [replace(given, latency=Latency({}, total)) for total in (10.0, 30.0, 20.0)]
    generated = replace(timed[0], mode=Mode.GENERATED)
    refused = replace(given, abstained=True, latency=Latency({}, 9000.0))
    evaluation = Evaluation([Judged(ASKED, answer=one) for one in (generated, *timed[1:], refused)] + [Judged(ASKED)])
    assert evaluation.answer_ms == {"p50": 20.0, "p95": 29.0}
    assert evaluation.generated_share == pytest.approx(1 / 3)
    assert Evaluation([Judged(ASKED)]).answer_ms == {}


def test_times_by_stage_and_to_the_first_token(engine: Engine) -> None:
    given = answer("How many points does a late day cost?", Scope("optics"), engine)
    stages = [{"embed": 4.0, "prefill": prefill, "decode": 50.0, "ground": 1.0, "other": 2.0} for prefill in (10.0, 20.0, 30.0)]
    generated = [replace(given, latency=Latency(one, sum(one.values()))) for one in stages]
    extractive = replace(given, latency=Latency({"embed": 4.0, "ground": 3.0}, 7.0))
    evaluation = Evaluation([Judged(ASKED, answer=one) for one in (*generated, extractive)])
    assert evaluation.stage_ms["first token"] == {"p50": 24.0, "p95": 33.0}
    assert evaluation.stage_ms["prefill"]["p50"] == 15.0  # an answer without the stage spent nothing in it
    assert evaluation.stage_ms["ground"]["p50"] == 1.0


def test_further_figures_and_the_perplexity(engine: Engine) -> None:
    asked = [Golden("1", "How many points does a late day cost?"), Golden("2", "Where can I park?", answerable=False)]
    found = evaluate(
        asked,
        search=lambda _: (),
        answer=lambda golden: answer(golden.question, Scope("optics"), engine),
        more=[lambda golden, _: {PERPLEXITY: 2.0 if golden.id == "1" else 4.0}, lambda *_: {"judged_correct": 1.0}],
    )
    assert found.gold_perplexity == pytest.approx(math.exp(3))
    assert found.figures()["judged_correct"].n == 2
    assert "gold_perplexity" in found.table()
    assert Evaluation([Judged(ASKED)]).gold_perplexity is None
