"""`benchmarks/quality.py` on the sample course: a handful of questions, both tables, a saved run."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from rag.evaluate import Judged
from rag.golden import Golden, QuestionSet
from rag.judge import relevant_entries
from rag.types import Chunk, Hit, Location, LocationKind, Passage
from support import SAMPLE_COURSE, load_script


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with the sample course as its only set."""
    module = load_script("benchmarks/quality.py")
    monkeypatch.setattr(module, "TARGETS", {"mini": {"coverage@750w": (0.5, 0.9), "mrr@10": (0.1, 1.0)}})
    monkeypatch.setattr(module, "BY_CATEGORY", "mini")
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The sample course's syllabus with the first eight questions on it, and an unanswerable one."""
    corpus = tmp_path / "data" / "mini" / "corpus"
    corpus.mkdir(parents=True)
    lines = (SAMPLE_COURSE / "questions.jsonl").read_text("utf-8").splitlines()
    (corpus / "syllabus.docx").write_bytes((SAMPLE_COURSE / "syllabus.docx").read_bytes())
    on_it = [line for line in lines if {entry["source"] for entry in json.loads(line).get("relevant", ())} == {"syllabus.docx"}][:8]
    unanswerable = next(line for line in lines if not json.loads(line).get("answerable", True))
    (tmp_path / "data" / "mini" / "questions.jsonl").write_text("\n".join([*on_it, unanswerable]), "utf-8")
    return tmp_path / "data"


@pytest.mark.models
def test_the_tables_are_made_and_agree_with_evaluate(
    quality: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rag.__main__ import main as rag

    store, runs = ["--store", str(tmp_path / "store")], tmp_path / "runs"
    assert quality.main(["--sets", "mini", "--data", str(data), *store, "--save", str(runs)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "| set (questions) | measure | baseline | even half | odd half | target |"
    assert printed[2].startswith("| mini (4 + 4) | coverage@750w | .500 | ")
    assert "| category | coverage@750w | mrr@10 |" in printed
    means = {half: float(printed[3].split("|")[column].split()[0]) for half, column in (("even", 4), ("odd", 5))}
    for half, mean in means.items():
        questions = ["evaluate", str(data / "mini" / "questions.jsonl"), "--course", "mini", "--half", half]
        assert rag([*questions, *store, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["figures"]["mrr@10"]["mean"] == pytest.approx(mean, abs=6e-4)
    assert quality.main(["--sets", "mini", "--data", str(data), *store, "--half", "even", "--compare", str(runs)]) == 0
    assert "| mini | mrr@10 | " in (compared := capsys.readouterr().out)
    assert "| +0.000 [+0.000, +0.000] | 1.0000 | 0 / 0 / 4 |" in compared
    assert quality.main(["--sets", "mini", "--data", str(data), *store, "--half", "odd", "--ablate"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1:3] for row in rows] == [[leg, name] for leg in quality.VARIANTS for name in quality.TARGETS["mini"]]


def test_a_document_counts_by_its_best_passage(quality: ModuleType) -> None:
    hits = [
        Hit(Passage(rank, "c", source, "", Chunk("x", 0, 1, Location(LocationKind.PAGE, 1))), rank, 1 / rank)
        for rank, source in enumerate(("a", "a", "b", "a", "c", "b"), 1)
    ]
    assert [hit.rank for hit in quality.best_of_documents(hits)] == [1, 3, 5]


def test_a_row_by_hand(quality: ModuleType) -> None:
    golden = [Golden(key, "?", relevant=({"source": "x"},)) for key in "ab"]
    assert relevant_entries(golden[0])
    measured = quality.Measured({one.id: Judged(one, {"mrr@10": 1.0, "coverage@750w": 0.25}) for one in golden}, [1.0, 3.0])
    questions = quality.Questions("mini", QuestionSet(Path("q"), "", golden), {quality.Half.EVEN: golden}, {})
    assert list(quality.quality_rows(questions, measured)) == [
        "| mini (2) | coverage@750w | .500 | .250 [.250, .250] | .900 |",
        "| mini (2) | mrr@10 | .100 | 1.000 [1.000, 1.000] | 1.000 |",
    ]
    other = quality.Measured({one.id: Judged(one, {"mrr@10": 0.5, "coverage@750w": 0.25}) for one in golden}, [2.0, 6.0])
    assert list(quality.ablation_rows(questions, {"full": measured, "off": other})) == [
        "| mini | off | coverage@750w | .250 → .250 | +0.000 [+0.000, +0.000] | 1.0000 | 0 / 0 / 2 | 2.0 / 4.0 |",
        # Two questions that both fell: of four patterns of signs, one has so low a sum, twice.
        "| mini | off | mrr@10 | 1.000 → .500 | -0.500 [-0.500, -0.500] | 0.5000 | 0 / 2 / 0 | 2.0 / 4.0 |",
    ]


def test_of_squad2_only_articles_that_nothing_was_fitted_on_count(quality: ModuleType) -> None:
    learnt = Golden("1", "Which?", True, (), (), scope="Bridges")
    measured = Golden("2", "Which?", True, (), (), scope=min(quality.TEST_ARTICLES))
    assert [quality.is_untouched("squad2", golden) for golden in (learnt, measured)] == [False, True]
    assert quality.is_untouched("syllabi", learnt)
