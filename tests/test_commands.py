"""The commands as a person or a script runs them: output, errors and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

pytestmark = pytest.mark.models


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    return subprocess.run([sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("courses") / "optics"
    folder.mkdir()
    (folder / "syllabus.md").write_text("# Optics\n\n## Late work\n\nEach late day costs 5 points. No work is accepted after March 9.\n")
    (folder / "lenses.txt").write_text("Spherical aberration blurs the image because marginal rays meet closer to the lens.\n")
    return folder


@pytest.fixture(scope="module")
def store(course: Path) -> str:
    directory = course.parent / "store"
    done = run("ingest", str(course), "--store", str(directory), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["course"], report["files"]["new"], report["chunks"], report["set_aside"]) == ("optics", 2, 2, [])
    assert report["seconds"]["total"] == pytest.approx(
        sum(value for stage, value in report["seconds"].items() if stage != "total"), rel=0.01
    )
    return str(directory)


@pytest.mark.parametrize("module", ["rag", "ingest"])
def test_help_answers_without_torch(module: str) -> None:
    code = "\n".join(
        (
            "import runpy, sys",
            "sys.argv = ['x', '--help']",
            f"try: runpy.run_module('{module}', run_name='__main__')",
            "except SystemExit as e: assert not e.code",
            "assert 'torch' not in sys.modules",
        )
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


def test_search_prints_hits_as_json(store: str) -> None:
    done = run("rag", "search", "why is the picture blurred?", "--course", "optics", "--store", store, "--json", "-k", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (hit,) = found["hits"]
    assert (hit["rank"], hit["source"], hit["location"]["kind"], hit["location"]["line"]) == (1, "lenses.txt", "line", 1)
    assert {"embed", "dense", "lexical", "fuse", "other", "total"} <= found["latency_ms"].keys()


def test_a_file_of_queries_gives_one_line_each_within_its_scope(store: str, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"id": "a", "question": "late days?", "scope": "lenses.txt"}\n{"id": "b", "question": "late days?"}\n')
    done = run("rag", "search", "--queries", str(queries), "--course", "optics", "--store", store, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    assert {hit["source"] for hit in lines[0]["hits"]} == {"lenses.txt"}
    assert lines[1]["hits"][0]["source"] == "syllabus.md"


def test_ask_answers_with_the_bundled_generator_and_its_times_add_up(store: str) -> None:
    done = run("rag", "ask", "How many points does each late day cost?", "--course", "optics", "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout)
    assert "5 points" in answered["answer"]
    assert answered["sources"][0]["source"] == "syllabus.md"
    assert answered["tokens"]["completion"] > 0
    latency = answered["latency_ms"]
    assert sum(ms for stage, ms in latency.items() if stage != "total") == pytest.approx(latency["total"], rel=0.01)
    assert latency["prefill"] > 0


def test_evaluate_prints_figures(store: str, tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text(
        '{"id": 1, "question": "late days cost?", "relevant": [{"source": "syllabus.md", "quote": "Each late day costs 5 points."}]}\n'
        '{"id": 2, "question": "Who won the world cup in 1998?", "answerable": false}\n'
    )
    arguments = ("rag", "evaluate", str(questions), "--course", "optics", "--store", store, "--answers", "--generator", "none", "--json")
    figures = json.loads(run(*arguments).stdout)["figures"]
    assert (figures["recall@5"]["mean"], figures["mrr@10"]["mean"]) == (1, 1)
    assert figures["refused_unanswerable"]["mean"] == 1
    assert figures["refused_answerable"]["mean"] == 0


def test_a_run_is_saved_and_compared_and_its_worst_questions_shown(store: str, tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text(
        '{"id": 1, "question": "late days cost?", "relevant": [{"source": "syllabus.md", "quote": "Each late day costs 5 points."}]}\n'
        '{"id": 2, "question": "late days cost?", "relevant": [{"source": "lenses.txt", "quote": "marginal rays meet closer"}]}\n'
        '{"id": 3, "question": "marginal rays?", "relevant": [{"source": "lenses.txt", "quote": "marginal rays meet closer"}]}\n'
    )
    evaluate = ("rag", "evaluate", str(questions), "--course", "optics", "--store", store)
    saved = run(*evaluate, "--save", "base", "--limit", "2", "--json")
    assert saved.returncode == 0, saved.stderr
    assert "saved to" in saved.stderr
    again = run(*evaluate, "--save", "base")
    assert (again.returncode, again.stdout) == (1, "")
    assert "save under another name" in again.stderr
    other = tmp_path / "odd.json"
    done = run(*evaluate, "--half", "odd", "--compare", "base", "--save", str(other), "--errors", "5", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["questions"], found["figures"]["mrr@10"]["mean"]) == (1, 0.5)
    assert (found["comparison"]["questions"], found["comparison"]["only_before"]) == (1, 1)
    assert found["comparison"]["settings"]["half"] == [None, "odd"]
    (error,) = found["errors"]
    assert (error["id"], error["ranks"]) == ("2", {"dense": 2, "lexical": None, "final": 2, "candidates": 100})
    shown = run("rag", "compare", "base", str(other), "--store", store)
    assert shown.stdout.startswith("base → ")
    assert "mrr@10                 0.500 → 0.500  +0.000 [+0.000, +0.000] p=1.0000  rose 0, fell 0, same 1" in shown.stdout
    missing = run("rag", "compare", "base", "none", "--store", store)
    assert missing.returncode == 1
    assert "those beside it: base" in missing.stderr


ERRORS = {
    "unknown course": (("rag", "ask", "x y z?", "--course", "algebra", "--store", "{store}"), 1, "there is no course 'algebra'"),
    "empty question": (("rag", "ask", " ", "--course", "optics", "--store", "{store}"), 1, "the question is empty"),
    "enormous question": (("rag", "ask", "x" * 9000, "--course", "optics", "--store", "{store}"), 1, "has 9,000 characters; at most 2,000"),
    "no store": (("rag", "search", "x", "--course", "optics", "--store", "{tmp}/none"), 1, "there is no store in"),
    "no moment": (("rag", "search", "x", "--course", "optics", "--filter", "at=soon"), 2, "expected a date or time such as 2024-10-01"),
    "unknown filter": (("rag", "search", "x", "--course", "optics", "--filter", "colour=red"), 2, "expected KEY=VALUE"),
    "no command": (("rag",), 2, "usage:"),
    "missing folder": (("ingest", "{tmp}/none", "--store", "{tmp}/s"), 1, "is missing; give the folder"),
    "unknown setting": (("rag", "doctor", "--config", "{tmp}/bad.toml"), 1, "unknown setting 'colour'"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_one_line_that_says_what_to_do(store: str, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    (tmp_path / "bad.toml").write_text('colour = "red"')
    done = run(*(argument.format(store=store, tmp=tmp_path) for argument in arguments))
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    if code == 1:
        assert len(done.stderr.strip().splitlines()) == 1


def test_set_aside_files_give_exit_code_3(course: Path, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.txt").write_text("Words.")
    (tmp_path / "c" / "b.pdf").write_bytes(b"no pdf")
    done = run("ingest", str(tmp_path / "c"), "--store", str(tmp_path / "s"))
    assert done.returncode == 3
    assert "set aside: b.pdf is damaged or no PDF" in done.stdout


def test_doctor_finds_everything_and_names_what_is_missing(store: str, tmp_path: Path) -> None:
    checks = {check["name"]: check for check in json.loads(run("rag", "doctor", "--store", store, "--json").stdout)}
    names = {"versions", "sqlite", "faiss", "device", "embedder", "reader", "generator", "store", "index", "ocr", "port", "login"}
    assert checks.keys() == names
    assert all(check["ok"] is not False for check in checks.values())
    assert "optics (2 documents, 2 chunks)" in checks["store"]["found"]
    (tmp_path / "bad.toml").write_text(f'embedder = "{tmp_path}/none"')
    broken = run("rag", "doctor", "--store", store, "--config", str(tmp_path / "bad.toml"))
    assert broken.returncode == 1
    assert "FAIL  embedder   there is no model folder" in broken.stdout


def test_a_backup_is_restored_and_answers(store: str, tmp_path: Path) -> None:
    backup, again = tmp_path / "a.db", tmp_path / "again"
    made = json.loads(run("rag", "backup", str(backup), "--store", store, "--json").stdout)
    assert made["bytes"] == backup.stat().st_size
    assert json.loads(run("rag", "restore", str(backup), "--store", str(again), "--json").stdout)["courses"] == {"optics": 2}
    found = json.loads(run("rag", "search", "late day", "--course", "optics", "--store", str(again), "--json").stdout)
    assert found["hits"][0]["source"] == "syllabus.md"
    refused = run("rag", "restore", str(backup), "--store", str(again))
    assert refused.returncode == 1
    assert "holds a store already" in refused.stderr
