"""What every fit shares, with a model of 161 weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_task import ROWS, SETTINGS, TinyTask
from transformers import Trainer

import tuning.fit
from rag.errors import ConfigError, LecternError
from support import ROOT
from tuning.fit import CHECKPOINTS, ValidationOutOfMemory, fit, halved, last_checkpoint, settle, try_out
from tuning.memory import OutOfMemory
from tuning.progress import read_rows
from tuning.report import Report
from tuning.settings import Precision, Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def run(out: Path, task: TinyTask | None = None, settings: Settings = SETTINGS, lines: list[str] | None = None) -> Report:
    return fit("tiny", task or TinyTask(), settings, out, {"rows": ROWS}, (lines if lines is not None else []).append)


def weights(out: Path) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in load_file(out / "tiny.safetensors").items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit that nothing disturbed: 96 rows, 16 an update, 3 epochs: 18 updates, validated after every third."""
    out = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(out)
    torch.set_num_threads(threads)
    return out


def test_a_fit_learns_and_leaves_its_weights_and_what_tells_about_them(whole: Path) -> None:
    about = json.loads((whole / "training.json").read_text())
    assert about["before"]["accuracy"] < 0.6 < 0.75 < about["after"]["accuracy"]
    assert about["figures"]["steps"] == 18
    assert about["data"] == {"rows": 96}
    assert about["settings"]["batch"] == 8
    assert sorted(path.name for path in whole.iterdir()) == [
        "progress.csv",
        "progress.svg",
        "report.md",
        "tiny.safetensors",
        "training.json",
    ]


def test_progress_holds_a_row_for_each_update_and_a_measure_for_each_validation(whole: Path) -> None:
    rows = read_rows(whole / "progress.csv")
    assert [row["step"] for row in rows] == list(range(19))
    assert [row["step"] for row in rows if "accuracy" in row] == [0, 3, 6, 9, 12, 15, 18]
    assert rows[6]["epoch"] == 1.0
    assert rows[1]["learning_rate"] == 0.0
    assert rows[3]["learning_rate"] == pytest.approx(0.01), "two of 18 updates are the warm-up"
    assert {row["validation loss"] for row in rows if "accuracy" in row} == {0.5}, "beside the loss of the fit, not instead of it"
    assert rows[3]["loss"] != 0.5


def test_equal_seeds_give_equal_weights_and_others_do_not(whole: Path, tmp_path: Path) -> None:
    run(tmp_path / "again")
    assert weights(tmp_path / "again") == weights(whole)
    run(tmp_path / "other", settings=replace(SETTINGS, seed=1))
    assert weights(tmp_path / "other") != weights(whole)


def test_loading_ahead_changes_nothing(whole: Path, tmp_path: Path) -> None:
    run(tmp_path / "ahead", settings=replace(SETTINGS, workers=2, prefetch=3))
    assert weights(tmp_path / "ahead") == weights(whole)


@pytest.mark.parametrize("step", [2, 8, 18])
def test_a_fit_that_was_killed_goes_on_and_ends_with_the_weights_of_one_that_was_not(whole: Path, tmp_path: Path, step: int) -> None:
    """Before the first checkpoint, in the middle of an epoch behind a checkpoint, and before the last update."""
    victim = [sys.executable, ROOT / "tests" / "tuning" / "tiny_task.py", tmp_path / "out", str(step)]
    done = subprocess.run(victim, cwd=ROOT, capture_output=True, check=False, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    lines: list[str] = []
    report = run(tmp_path / "out", lines=lines)
    expected = {2: None, 8: "going on from step 6, with a batch of 8", 18: "going on from step 15, with a batch of 8"}[step]
    assert next((line for line in lines if line.startswith("going on")), None) == expected
    assert weights(tmp_path / "out") == weights(whole)
    assert report.steps == 18
    assert [row["step"] for row in read_rows(tmp_path / "out" / "progress.csv")] == list(range(19))
    before, after = (json.loads((folder / "training.json").read_text()) for folder in (whole, tmp_path / "out"))
    assert {name: after[name] for name in ("before", "after", "settings", "data")} == {
        name: before[name] for name in ("before", "after", "settings", "data")
    }


def test_a_fit_that_was_killed_after_its_last_checkpoint_makes_no_further_step(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TinyTask, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out")
    monkeypatch.undo()
    task = TinyTask()
    report = run(tmp_path / "out", task)
    assert report.steps == 18
    assert len(task.seen) == 1, "the weights that were kept are measured, and nothing else"
    assert weights(tmp_path / "out") == weights(whole)


def test_a_checkpoint_that_was_cut_off_is_not_gone_on_from(tmp_path: Path) -> None:
    for step, state in ((6, '{"global_step": 6}'), (9, '{"global_st'), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-6"
    assert last_checkpoint(tmp_path / "nothing") is None


def test_a_fit_ends_when_validation_no_longer_gets_better_and_keeps_the_best_weights(tmp_path: Path) -> None:
    task = TinyTask(measured=[0.1, 0.5, 0.6, 0.55, 0.6, 0.6])  # before, after steps 3, 6, 9, 12, and of the weights kept
    report = run(tmp_path / "out", task, replace(SETTINGS, patience=2))
    assert (report.steps, report.best_step, report.stopped_early) == (12, 6, True)
    at_step_6 = {name: tensor.flatten().tolist() for name, tensor in task.seen[2].items()}
    assert weights(tmp_path / "out") == at_step_6
    assert "It ended early: no better validation in 2 in a row." in (tmp_path / "out" / "report.md").read_text()


def test_the_batch_is_halved_until_it_fits_and_an_update_stays_the_same_size(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1, batch=32, accumulation=1, memory_mb=150)
    lines: list[str] = []
    # 256 MB, 128 MB, 64 MB: beside what else a fit takes, one of the last two fits into 150.
    report = run(tmp_path / "found", TinyTask(hungry_mb=8), settings, lines)
    assert (report.batch, report.accumulation) in {(16, 2), (8, 4)}
    assert lines[1] == "a batch of 32 does not fit; trying 16 with 2 passes an update"
    assert report.steps == 3
    assert json.loads((tmp_path / "found" / "training.json").read_text())["figures"]["batch"] == report.batch
    given = replace(settings, batch=report.batch, accumulation=report.accumulation, memory_mb=0)
    run(tmp_path / "given", TinyTask(hungry_mb=8), given)
    assert weights(tmp_path / "found") == weights(tmp_path / "given"), "as if that batch had been named"


def test_memory_that_runs_out_late_costs_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", CutAt(15, greedy_step=8), lines=lines)
    assert [line.split(":")[0] for line in lines if not line.startswith("step")] == [
        "a batch of 8 does not fit; trying 4 with 4 passes an update"
    ]
    assert [line.split(" of ")[0] for line in lines if line.startswith("step")] == [f"step {step}" for step in (0, 3, 6, 9, 12)]
    report = run(tmp_path / "out", TinyTask(greedy_step=8), lines=lines)
    assert "going on from step 12, with a batch of 4" in lines, "the batch that was found is not looked for again"
    assert (report.batch, report.accumulation, report.steps) == (4, 4, 18)


class CutAt(TinyTask):
    """Is interrupted when it validates after this step."""

    def __init__(self, step: int, greedy_step: int = 0) -> None:
        super().__init__(greedy_step=greedy_step)
        self._step = step

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        if trainer.state.global_step == self._step:
            raise KeyboardInterrupt
        return super().evaluate(trainer)


def test_a_fit_that_cannot_fit_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        OutOfMemory, match=r"one example at a time does not fit into 60 MB \(.*can't allocate memory.*\); give more with --memory-mb"
    ):
        run(tmp_path / "out", TinyTask(hungry_mb=100), replace(SETTINGS, memory_mb=60))
    ones = torch.ones(100 * 2**18)
    assert float(ones.sum()) == 100 * 2**18, "the limit is gone after the fit"


def test_halves_are_sizes_into_which_an_update_can_be_cut() -> None:
    assert [halved(64, 64), halved(12, 12), halved(3, 12), halved(2, 10), halved(5, 5)] == [32, 6, 1, 1, 1]


def test_other_settings_or_data_do_not_go_on_with_a_fit_and_a_finished_one_is_not_written_over(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a fit that has ended; name another folder, or add --no-resume"):
        run(whole)
    (tmp_path / "note.txt").touch()
    with pytest.raises(ConfigError, match="holds note.txt and no fit that was cut off"):
        run(tmp_path)
    begun = {"settings": {}, "origin": {"rows": 95}, "before": {}}
    (tmp_path / "out").mkdir()
    run(tmp_path / "begun", settings=replace(SETTINGS, epochs=1))
    kept = json.loads((tmp_path / "begun" / "training.json").read_text())["settings"]
    begun["settings"] = {key: value for key, value in kept.items() if key not in ("resume", "memory_mb", "workers", "prefetch")}
    (tmp_path / "out" / "begun.json").write_text(json.dumps(begun))
    with pytest.raises(ConfigError, match="was begun with another rows of origin; give the same again, or --no-resume"):
        run(tmp_path / "out", settings=replace(SETTINGS, epochs=1))
    run(tmp_path / "out", settings=replace(SETTINGS, epochs=1, resume=False))
    assert weights(tmp_path / "out") == weights(tmp_path / "begun")


@pytest.mark.parametrize(
    ("others", "named"),
    [
        pytest.param(["progress.csv", "model.bin"], "model.bin, progress.csv", id="files"),
        pytest.param(["checkpoints/checkpoint-500/trainer_state.json"], "checkpoints", id="checkpoints of another program"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, others: list[str], named: str, resume: bool) -> None:
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=f"holds {named} and no fit that was cut off or has ended; name an empty folder"):
        run(tmp_path, settings=replace(SETTINGS, resume=resume))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)


def test_a_fit_that_begins_anew_and_is_cut_off_at_once_can_do_so_again(tmp_path: Path) -> None:
    anew = replace(SETTINGS, epochs=1, resume=False)
    run(tmp_path / "out", settings=anew)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", CutAt(0), anew)
    assert (tmp_path / "out" / "training.json").exists(), "the weights are still those of the fit before"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", CutAt(3), anew)
    assert not (tmp_path / "out" / "training.json").exists()
    assert run(tmp_path / "out", settings=anew).steps == 6


def test_memory_that_runs_out_while_validating_is_not_looked_for_in_a_smaller_batch(tmp_path: Path) -> None:
    class Greedy(TinyTask):
        def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
            if trainer.state.global_step:
                raise MemoryError
            return super().evaluate(trainer)

    lines: list[str] = []
    with pytest.raises(ValidationOutOfMemory, match="there is not enough memory to validate; give more with --memory-mb"):
        run(tmp_path / "out", Greedy(), lines=lines)
    assert [line for line in lines if "does not fit" in line] == []
    with pytest.raises(ValidationOutOfMemory):
        try_out(Greedy(), replace(SETTINGS, steps=1), lines.append)


def test_a_short_fit_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = try_out(TinyTask(), replace(SETTINGS, steps=4), lambda line: None)
    assert (report.steps, report.batch, report.accumulation, report.before) == (4, 8, 2, None)
    assert report.after is not None
    assert report.samples_per_s > 0
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "out", settings=replace(SETTINGS, epochs=1))
    assert capsys.readouterr().out == ""


def test_a_fit_whose_weights_diverge_says_so(tmp_path: Path) -> None:
    with pytest.raises(LecternError, match="accuracy is nan: the weights have diverged; lower --learning-rate"):
        run(tmp_path / "out", TinyTask(measured=[0.5, float("nan")]))
    assert (tmp_path / "out" / CHECKPOINTS).is_dir()


def test_half_precision_computes_on_a_cpu_and_fp16_is_refused_there(tmp_path: Path) -> None:
    report = run(tmp_path / "out", settings=replace(SETTINGS, precision=Precision.BF16))
    assert report.precision == "bf16"
    assert load_file(tmp_path / "out" / "tiny.safetensors")["layers.0.weight"].dtype is torch.float32
    with pytest.raises(ConfigError, match="precision is fp16 but the fit runs on a CPU; use bf16 or fp32"):
        settle(replace(SETTINGS, precision=Precision.FP16))


def test_a_fit_takes_the_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.fit, "choose_device", lambda wanted: wanted)
    assert settle(replace(SETTINGS, device="cuda")).device == "cuda:0"
    with pytest.raises(ConfigError, match="device is cuda:1 but a fit takes the first GPU that it sees; set CUDA_VISIBLE_DEVICES=1"):
        settle(replace(SETTINGS, device="cuda:1"))


@pytest.mark.parametrize(
    ("name", "value"), [("batch", 0), ("accumulation", 0), ("warmup", 1.0), ("validate_share", 0.95), ("learning_rate", -1.0)]
)
def test_a_setting_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(SETTINGS, **{name: value})
