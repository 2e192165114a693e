import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rag.answer import Engine, answer
from rag.errors import LecternError
from rag.evaluate import Evaluation, Judged, auroc, evaluate, figure
from rag.golden import Golden, read_questions
from rag.judge import coverage, judge_answer, judge_hits, token_f1
from rag.types import Chunk, Hit, Latency, Location, LocationKind, Mode, Passage, Scope
from rag.wire import answer_to_json, hit_to_json
from support import SHARED_DATA

QUOTE = "a b c d e f"  # two 5-grams


def passage(text: str, source: str = "x.pdf", page: int = 1) -> Passage:
    return Passage(1, "c", source, "X", Chunk(text, 0, len(text), Location(LocationKind.PAGE, page)))


def hits(*passages: Passage) -> list[Hit]:
    return [Hit(one, rank, 1 / rank) for rank, one in enumerate(passages, 1)]


def golden(*relevant: dict[str, object], **more: object) -> Golden:
    return Golden("1", "?", relevant=relevant, **more)  # type: ignore[arg-type]


def test_a_hit_holds_half_of_the_quote_in_the_right_place() -> None:
    entry = {"source": "x.pdf", "quote": QUOTE, "page": 2}
    right = passage("a b c d e", page=2)
    figures = judge_hits(golden(entry), hits(passage("a b c d e", page=1), passage("a b c d", page=2), right, passage(QUOTE, "y.pdf", 2)))
    assert figures["mrr@10"] == pytest.approx(1 / 3)
    assert (figures["hit@1"], figures["hit@3"], figures["recall@5"]) == (0, 1, 1)
    assert figures["ndcg@10"] == pytest.approx(0.5)  # 1 / log2(3 + 1)


def test_recall_counts_each_entry_once() -> None:
    entries = [{"source": "x.pdf", "quote": "a b c d e"}, {"source": "x.pdf", "quote": "v w x y z"}]
    figures = judge_hits(golden(*entries), hits(passage("a b c d e"), passage("a b c d e")))
    assert figures["recall@5"] == 0.5
    assert figures["coverage@750w"] == 0.5


def test_no_hits_are_zero_and_a_bare_scope_is_not_judged() -> None:
    assert judge_hits(golden({"source": "x.pdf", "quote": QUOTE}), [])["recall@5"] == 0
    assert judge_hits(golden({"source": "x.pdf"}, scope="x.pdf"), []) == {}


def test_the_same_text_in_another_format_counts() -> None:
    assert judge_hits(golden({"source": "x.pdf", "quote": QUOTE}), hits(passage(QUOTE, "x.docx")))["hit@1"] == 1


def test_coverage_ends_with_the_budget() -> None:
    entry = {"source": "x.pdf", "quote": "a b c d e f"}
    assert coverage([entry], [passage("a b c d e f")], budget=6) == 1
    assert coverage([entry], [passage("n n n"), passage("a b c d e f")], budget=8) == 0.5
    assert coverage([entry], [passage("a b c"), passage("d e f")]) == 0


def test_token_f1_by_hand() -> None:
    assert token_f1("The lens is thin.", "a thin lens") == pytest.approx(2 * 2 / 7)
    assert token_f1("x", "y") == 0


def test_auroc_by_hand() -> None:
    assert auroc([0.9, 0.4], [0.4, 0.1]) == pytest.approx(3.5 / 4)


def test_figure_has_an_interval_around_the_mean() -> None:
    shown = figure([0.0, 1.0] * 50)
    assert shown.mean == 0.5
    assert 0.38 < shown.low < 0.45 < 0.55 < shown.high < 0.62
    assert str(figure([1.0, 1.0])) == "1.000 [1.000, 1.000] n=2"


def test_answers_and_refusals(engine: Engine) -> None:
    answered = answer("How many points does a late day cost?", Scope("optics"), engine)
    entry = {"source": "syllabus.md", "quote": "Each late day costs 5 points."}
    figures = judge_answer(golden(entry, answers=("5 points",)), answered)
    assert (figures["answer_contains_gold"], figures["refused_answerable"], figures["cited_right"]) == (1, 0, 1)
    assert judge_answer(Golden("2", "?", answerable=False), answered) == {"refused_unanswerable": 0}


def test_questions_are_read_with_their_history_and_bad_lines_named(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"id": 7, "question": "and?", "history": [{"role": "user", "content": "what?"}]}\n\n')
    (question,) = read_questions(file)
    assert (question.id, question.answerable, question.history[0].content) == ("7", True, "what?")
    file.write_text('{"id": 7}\n')
    with pytest.raises(LecternError, match=r"q\.jsonl:1 is no golden question"):
        read_questions(file)
    with pytest.raises(LecternError, match="cannot be read"):
        read_questions(tmp_path / "none")


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
    evaluation = Evaluation([Judged(golden(), answer=one) for one in (generated, *timed[1:], refused)] + [Judged(golden())])
    assert evaluation.answer_ms == {"p50": 20.0, "p95": 29.0}
    assert evaluation.generated_share == pytest.approx(1 / 3)
    assert Evaluation([Judged(golden())]).answer_ms == {}
