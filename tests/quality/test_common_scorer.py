"""`rag evaluate` gives the figures that the common scorer gives over `rag search` and `rag ask`, on real questions and files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.__main__ import main as ingest
from rag.__main__ import main as rag
from support import SHARED_DATA

SCORER = SHARED_DATA.parent / "tools" / "score.py"
SYLLABI = SHARED_DATA / "eval" / "syllabi"
QUESTIONS = 60
DOCUMENTS = 6

pytestmark = [
    pytest.mark.models,
    pytest.mark.shared_data,
    pytest.mark.skipif(not (SCORER.exists() and SYLLABI.exists()), reason="the measuring data is not beside the checkout"),
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """The first questions on the first six syllabi, asked within them; those files alone are the course."""
    lines = (SYLLABI / "questions.jsonl").read_text("utf-8").splitlines()
    scopes = list(dict.fromkeys(json.loads(line)["scope"] for line in lines))[:DOCUMENTS]
    chosen = [line for line in lines if json.loads(line)["scope"] in scopes][:QUESTIONS]
    (tmp_path / "syllabi").mkdir()
    for scope in scopes:
        shutil.copyfile(SYLLABI / "corpus" / scope, tmp_path / "syllabi" / scope)
    (tmp_path / "questions.jsonl").write_text("\n".join(chosen), "utf-8")
    return tmp_path / "questions.jsonl"


def scored(questions: Path, output: Path) -> tuple[dict[str, tuple[float, str]], dict[str, float]]:
    """What the common scorer prints: `(mean, n=…)` of each measure with an interval, and the single figures."""
    command = [sys.executable, str(SCORER), str(questions), str(output)]
    lines = [line.split() for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    intervals = {name: (float(mean), rest[-1]) for name, mean, *rest in lines if rest}
    return intervals, {name: float(value) for name, value, *rest in lines if not rest}


def test_both_say_the_same(questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--course", "syllabi", "--store", str(tmp_path / "store")]
    assert ingest([str(tmp_path / "syllabi"), *store]) == 0
    capsys.readouterr()
    assert rag(["search", "--queries", str(questions), *store, "--json"]) == 0
    (tmp_path / "found.jsonl").write_text(capsys.readouterr().out, "utf-8")
    theirs, _ = scored(questions, tmp_path / "found.jsonl")
    assert rag(["evaluate", str(questions), *store, "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)["figures"]
    assert {"coverage@750w", "hit@1", "hit@3", "hit@5", "hit@10", "mrr@10"} <= theirs.keys()
    for name, (mean, size) in theirs.items():
        assert ours[name]["mean"] == pytest.approx(mean, abs=5.1e-4), name
        assert f"n={ours[name]['n']}" == size, name
    assert 0.1 < theirs["mrr@10"][0] < 0.99


def test_both_say_the_same_of_answers(questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--course", "syllabi", "--store", str(tmp_path / "store"), "--generator", "none"]
    assert ingest([str(tmp_path / "syllabi"), *store[:4]]) == 0
    capsys.readouterr()
    assert rag(["ask", "--queries", str(questions), *store, "--json"]) == 0
    (tmp_path / "answers.jsonl").write_text(capsys.readouterr().out, "utf-8")
    theirs, single = scored(questions, tmp_path / "answers.jsonl")
    assert rag(["evaluate", str(questions), *store, "--answers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("answer_f1", "answer_contains_gold", "refused_unanswerable", "refused_answerable"):
        mean, size = theirs[name]
        assert found["figures"][name]["mean"] == pytest.approx(mean, abs=5.1e-4), name
        assert f"n={found['figures'][name]['n']}" == size, name
    assert found["answerable_auroc"] == pytest.approx(single["answerable_auroc"], abs=5.1e-4)
    assert 0.05 < theirs["answer_f1"][0] < 0.95
