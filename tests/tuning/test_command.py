"""`python -m rag tune`, with examples made by hand."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_encoder import examples, save_tiny_encoder

from rag.__main__ import main
from rag.config import Config
from rag.embed import SentenceTransformerEmbedder
from rag.errors import ConfigError
from rag.store import Store
from support import ROOT, HashingEmbedder
from tuning import command, grid, reranker
from tuning.command import settings_from
from tuning.examples import course_name
from tuning.fit import ValidationOutOfMemory
from tuning.grid import combinations, parse_axis, run_grid
from tuning.memory import OutOfMemory
from tuning.report import Report
from tuning.settings import Precision, Settings


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with questions, which are given out as if they had been searched for."""
    monkeypatch.setattr(command, "_examples", lambda *_: (examples()[:9], examples()[9:]))
    folder = tmp_path / "optics"
    folder.mkdir()
    (folder / "questions.jsonl").write_text('{"id": "1", "question": "What is refraction?"}\n')
    return folder


def flags(encoder: Path, course: Path) -> list[str]:
    return ["tune", "reranker", "--data", str(course), "--from", str(encoder), "--device", "cpu", "--precision", "fp32", "--lora", "4"]


def test_a_fit_prints_its_table_and_what_to_do_with_the_result(
    encoder: Path, course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([*flags(encoder, course), "--out", str(out), "--epochs", "2", "--batch", "3", "--seed", "5"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[2].startswith("| 3 | 1 | off | fp32 | cpu | 6 |"), "nine questions, three an update, twice"
    assert lines[4].startswith("MRR on the held-out questions went from ")
    assert "the held-out passages have MRR 0.250" in lines[5], "each right one was put behind three others"
    assert lines[6] == f'To use it: reranker = "{out}" in the config.'
    assert "step 3 of 6: MRR " in printed.err
    about = json.loads((out / "training.json").read_text())
    assert about["data"]["options"] == {"start": str(encoder), "negatives": 7, "lora": 4, "loss": "listwise", "max_tokens": 320}
    assert (about["data"]["examples"], about["data"]["held out"], about["settings"]["seed"]) == (9, 3, 5)
    assert main([*flags(encoder, course), "--out", str(out), "--epochs", "2", "--batch", "3", "--seed", "5"]) == 1
    assert "holds a fit that has ended" in capsys.readouterr().err


def test_a_grid_measures_each_combination_and_goes_on_where_one_does_not_fit(
    encoder: Path, course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(work: Any, *arguments: Any) -> Any:
        if work is grid._try and arguments[1].batch == 9:
            raise OutOfMemory("a batch of 9 does not fit")
        return work(*arguments)

    monkeypatch.setattr(grid, "_in_own_process", here)
    asked = ["--grid", "batch=3,9", "checkpointing=on,off", "--steps", "2", "--json", "--out", str(tmp_path / "out")]
    assert main([*flags(encoder, course), *asked]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["batch"], row["checkpointing"], row["steps"], row["failure"]) for row in rows] == [
        (3, True, 2, ""),
        (3, False, 2, ""),
        (9, True, 0, "does not fit into memory"),
        (9, False, 0, "does not fit into memory"),
    ]
    assert rows[0]["before"] == rows[1]["before"] is not None
    assert rows[0]["after"] == rows[1]["after"] is not None
    assert rows[0]["samples_per_s"] > 0
    assert len((tmp_path / "out" / "grid.md").read_text().splitlines()) == 2 + 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grid.json", "grid.md"]


def test_each_row_has_a_process_of_its_own_and_the_others_survive_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grid._in_own_process(os.getpid) != os.getpid()

    def ended(work: Any, *arguments: Any) -> Any:
        if work is grid._measure:
            return {"MRR": 0.5}
        match arguments[1].batch:
            case 4:
                raise ValidationOutOfMemory("there is not enough memory to validate")
            case 3:
                raise OutOfMemory("a batch of 3 does not fit")
            case 2:
                return process(os._exit, 9)
        return Report(1, 1, False, "fp32", "cpu", "MRR", steps=3)

    process = grid._in_own_process
    monkeypatch.setattr(grid, "_in_own_process", ended)
    told: list[Report] = []
    reports = grid_of([4, 3, 2, 1], told)
    assert [(report.batch, report.failure, report.steps, report.before) for report in reports] == [
        (4, "its validation does not fit into memory", 0, None),
        (3, "does not fit into memory", 0, None),
        (2, "its process crashed, or was killed", 0, None),
        (1, "", 3, {"MRR": 0.5}),
    ]
    assert {report.measure for report in reports} == {"MRR"}
    assert told == reports
    with pytest.raises(BrokenProcessPool):
        process(os._exit, 9)


def grid_of(batches: Sequence[int], told: list[Report] | None = None, lines: list[str] | None = None) -> list[Report]:
    """With four examples to fit on."""
    rows = [Settings(batch=batch, device="cpu") for batch in batches]
    data = examples()[:4], examples()[4:]
    told, lines = told if told is not None else [], lines if lines is not None else []
    return run_grid("tuning.reranker", rows, data, Config(), argparse.Namespace(), told.append, lines.append)


def test_rows_are_measured_where_the_weights_begun_with_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(work: Any, *_: Any) -> Any:
        if work is grid._measure:
            raise BrokenProcessPool
        return Report(1, 1, False, "fp32", "cpu", "MRR", steps=3, after={"MRR": 0.25})

    monkeypatch.setattr(grid, "_in_own_process", ended)
    lines: list[str] = []
    (report,) = grid_of([1], lines=lines)
    assert (report.before, report.after, report.failure) == (None, {"MRR": 0.25}, "")
    assert lines == ["the weights begun with are not measured: its process crashed, or was killed"]


def test_a_batch_of_more_than_there_is_is_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: Any) -> Any:
        raise AssertionError("nothing is to be measured")

    monkeypatch.setattr(grid, "_in_own_process", unexpected)
    with pytest.raises(ConfigError, match="the table has a batch of 5 but there are 4 examples to fit on"):
        grid_of([2, 5])


def test_a_grid_is_every_combination_the_last_axis_fastest() -> None:
    axes = [parse_axis("batch=8,16"), parse_axis("precision=fp32,bf16")]
    rows = combinations(Settings(), axes)
    assert [(row.batch, row.precision, row.steps) for row in rows] == [
        (8, Precision.FP32, 20),
        (8, Precision.BF16, 20),
        (16, Precision.FP32, 20),
        (16, Precision.BF16, 20),
    ]
    assert parse_axis("checkpointing=on,off") == ("checkpointing", (True, False))


@pytest.mark.parametrize("axis", ["batch", "batch=", "batch=two", "checkpointing=yes", "colour=red"])
def test_an_axis_that_means_nothing_is_refused(axis: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_axis(axis)


def test_flags_win_over_what_the_task_begins_with_and_that_over_the_defaults() -> None:
    parser = command._parser("reranker", reranker)
    given = parser.parse_args(["--data", "x", "--batch", "auto", "--epochs", "2", "--checkpointing", "--no-resume", "--precision", "bf16"])
    settings = settings_from(given, reranker)
    assert settings == Settings(
        batch=None, epochs=2, checkpointing=True, resume=False, precision=Precision.BF16, learning_rate=reranker.DEFAULTS["learning_rate"]
    )
    assert settings_from(parser.parse_args(["--data", "x"]), reranker).batch == reranker.DEFAULTS["batch"] == 8


def test_every_setting_has_a_flag() -> None:
    given = vars(command._parser("reranker", reranker).parse_args(["--data", "x"]))
    assert {field for field in Settings.__dataclass_fields__ if field not in given} == set()


def test_a_fit_without_a_place_for_its_weights_is_refused(encoder: Path, course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags(encoder, course)) == 1
    assert "no --out; name a folder for the weights, or give --grid" in capsys.readouterr().err


def asked_for(*flags: object) -> argparse.Namespace:
    return command._parser("reranker", reranker).parse_args([str(flag) for flag in flags])


@pytest.mark.parametrize("flag", ["--data", "--by-rule", "--validate"])
def test_results_are_not_put_among_the_documents_of_a_course(tmp_path: Path, flag: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "optics")
    given = {"--data": tmp_path / "logic", "--validate": tmp_path / "physics"} | {flag: tmp_path / "link"}
    flags = [one for pair in given.items() for one in pair]
    with pytest.raises(ConfigError, match="--out .* lies inside the course folder .*link, where its files would be documents"):
        command._require_folders(asked_for(*flags, "--out", tmp_path / "optics" / "models" / "reader"))
    command._require_folders(asked_for(*flags, "--out", tmp_path / "optics-models"))
    command._require_folders(asked_for(*flags))


def test_questions_by_rule_alone_validate_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "reranker", "--by-rule", "optics", "--out", "out"]) == 1
    assert "nothing to validate on: questions made by rule are learnt from alone" in capsys.readouterr().err
    command._require_folders(asked_for("--by-rule", "optics", "--validate", "logic"))


@pytest.mark.parametrize(
    ("flags", "has_checkpoint", "kept"),
    [
        ([], True, "the same command goes on from the last checkpoint"),
        (["--no-resume"], True, "the same command without --no-resume goes on from the last checkpoint"),
        ([], False, "there is no checkpoint yet: the same command begins anew"),
        (["--no-resume"], False, "there is no checkpoint yet: the same command begins anew"),
        (["--grid", "batch=1,2"], True, "the same command makes the whole table anew"),
    ],
)
def test_an_interrupted_command_says_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: list[str], has_checkpoint: bool, kept: str
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_fit", interrupted)
    monkeypatch.setattr(command, "_grid", interrupted)
    if has_checkpoint:
        checkpoint = tmp_path / "out" / "checkpoints" / "checkpoint-3"
        checkpoint.mkdir(parents=True)
        (checkpoint / "trainer_state.json").write_text("{}")
    assert main(["tune", "reranker", "--data", str(tmp_path / "optics"), "--out", str(tmp_path / "out"), *flags]) == 130
    assert capsys.readouterr().err == f"interrupted; {kept}\n"


def test_where_examples_come_from_is_told_alike_wherever_they_lie(course: Path) -> None:
    options = asked_for("--data", course, "--by-rule", "courses/logic")
    one, other = (command._origin(options, reranker, [replace(example, group=group) for example in examples()], []) for group in ("a", "b"))
    assert one == other
    assert (one["folders"], one["folders by rule"], one["examples"], one["held out"]) == (1, 1, 12, 0)
    sha256 = hashlib.sha256((course / "questions.jsonl").read_bytes()).hexdigest()
    assert one["questions"] == {str(course): sha256, "courses/logic (by rule)": "made from its documents"}
    changed = command._origin(options, reranker, examples()[1:], [])
    assert changed["SHA-256 of the examples"] != one["SHA-256 of the examples"]


RULES = "# Rules\n\nLate work costs 5 points a day.\n\n# Rooms\n\nThe lab is in room 12.\n"
SIZES = "# Sizes\n\n| System | Page size |\n| --- | --- |\n| Small board | 4 KiB |\n| Server | 64 KiB |\n"
QUESTIONS: tuple[dict[str, Any], ...] = (
    {"question": "What does late work cost?", "answers": ["5 points"], "relevant": [{"source": "rules.md", "quote": "costs 5 points"}]},
    {"question": "Where is the lab?", "answers": ["room 12"], "relevant": [{"source": "rules.md", "quote": "in room 12"}]},
    {"question": "Who teaches the lab?", "answerable": False},
    {"question": "When is the midterm?", "answerable": False},
    {"question": "Is there a lab?", "answers": ["yes"]},
)
USABLE = {question["question"] for question in QUESTIONS[:4]}


@pytest.fixture
def write_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes course folders, which are indexed by an embedder that loads nothing."""

    def write(name: str, questions: Sequence[dict[str, Any]] = QUESTIONS, text: str = RULES) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "rules.md").write_text(text)
        (folder / "questions.jsonl").write_text("\n".join(json.dumps({"id": str(n)} | one) for n, one in enumerate(questions)))
        return folder

    monkeypatch.setattr(SentenceTransformerEmbedder, "from_config", lambda config: HashingEmbedder())
    return write


def stores_of(config: Config) -> list[list[str]]:
    """The courses in each store."""
    return [[course.name for course in Store(folder).courses()] for folder in (config.store / command.STORE).iterdir()]


def test_questions_and_questions_by_rule_of_the_same_folder_are_learnt_from_and_the_former_validate(
    write_course: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, sizes = write_course("rules", text=RULES + "\n" + SIZES), write_course("sizes", (), SIZES)
    config = Config(store=tmp_path / "store", reader="none")
    fit, validate = command._examples(asked_for("--data", rules, "--by-rule", rules, sizes), Settings(), config)
    assert len(validate) == 2, "of two questions of each kind one"
    assert {one.question for one in [*fit, *validate] if not one.by_rule} == USABLE
    assert sorted(any(passage.answers for passage in one.passages) for one in validate) == [False, True]
    assert not any(one.by_rule for one in validate)
    of_rule = [one.group for one in fit if one.by_rule and one.question == "What is the page size of Server?"]
    assert sorted(of_rule) == sorted([course_name(rules), course_name(sizes)])
    lines = capsys.readouterr().err.splitlines()
    assert "questions cannot be learnt from: 1 without a quote" in lines[0]
    assert lines[-1] == f"{len(fit)} examples to fit on, 2 to validate on; questions held out from the only course"
    assert stores_of(config) == [sorted([course_name(rules), course_name(sizes)])]


def test_folders_to_validate_on_are_held_out_whole_and_share_the_store(
    write_course: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = write_course("first", QUESTIONS[:2]), write_course("second", QUESTIONS[1:4])
    config = Config(store=tmp_path / "store", reader="none")
    fit, validate = command._examples(asked_for("--data", first, "--validate", second), Settings(), config)
    assert [one.question for one in fit] == [question["question"] for question in QUESTIONS[:2]]
    assert [one.question for one in validate] == [question["question"] for question in QUESTIONS[1:4]]
    assert ({one.group for one in fit}, {one.group for one in validate}) == ({course_name(first)}, {course_name(second)})
    assert capsys.readouterr().err == "2 examples to fit on, 3 to validate on; folders of --validate: 1\n"
    assert stores_of(config) == [sorted([course_name(first), course_name(second)])]
    command._examples(asked_for("--data", second, "--validate", second), Settings(), config)
    assert capsys.readouterr().err.splitlines()[0] == (
        "1 courses are both fitted on and validated on: the figures will be better than they should"
    )


@pytest.mark.parametrize("asked", [["--help"], ["tune", "--help"], ["tune", "embedder", "--help"]])
def test_help_loads_no_model_library(asked: list[str]) -> None:
    """Of `tune TASK --help` only argparse and numpy."""
    heavy = "{'torch', 'peft', 'datasets', 'transformers'}"
    code = f"import sys; from rag.__main__ import main\ntry: main(sys.argv[1:])\nfinally: print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("usage: python -m rag")
    assert done.stdout.splitlines()[-1] == "[]"
