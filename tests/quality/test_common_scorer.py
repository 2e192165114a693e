"""`rag evaluate` gives the figures that the common scorer gives over `rag search`, on real questions and files."""

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


def test_both_say_the_same(questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--course", "syllabi", "--store", str(tmp_path / "store")]
    assert ingest([str(tmp_path / "syllabi"), *store]) == 0
    capsys.readouterr()
    assert rag(["search", "--queries", str(questions), *store, "--json"]) == 0
    (tmp_path / "found.jsonl").write_text(capsys.readouterr().out, "utf-8")
    command = [sys.executable, str(SCORER), str(questions), str(tmp_path / "found.jsonl")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = {name: (float(mean), size) for name, mean, *_, size in (line.split() for line in printed.splitlines() if "n=" in line)}
    assert rag(["evaluate", str(questions), *store, "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)["figures"]
    assert {"coverage@750w", "hit@1", "hit@3", "hit@5", "hit@10", "mrr@10"} <= theirs.keys()
    for name, (mean, size) in theirs.items():
        assert ours[name]["mean"] == pytest.approx(mean, abs=5.1e-4), name
        assert f"n={ours[name]['n']}" == size, name
    assert 0.1 < theirs["mrr@10"][0] < 0.99
