from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag import trial
from rag.encoder import Recipe
from rag.trial import Trial, probe_ceilings, recall, recall_any, remember, trial_path


@pytest.mark.parametrize(
    ("speeds", "order"),
    [
        ({"float32": 10.0}, ("float32",)),
        ({"float32": 10.0, "bfloat16": 20.0, "int8": 40.0}, ("int8", "bfloat16", "float32")),
        ({"float32": 10.0, "bfloat16": 11.0, "int8": 40.0}, ("int8", "float32")),
        ({"float32": 10.0, "bfloat16": 60.0, "int8": 70.0}, ("bfloat16", "float32")),
    ],
)
def test_a_narrower_type_must_be_clearly_faster(speeds: dict[str, float], order: tuple[str, ...]) -> None:
    assert Trial(speeds, {}).preferred() == order


def test_a_trial_is_remembered_and_a_damaged_one_made_again(tmp_path: Path) -> None:
    path = tmp_path / "trials" / "x.json"
    assert recall(path) is None
    trial = Trial({"float32": 10.0}, {"int8": 0.9985})
    remember(path, trial)
    assert recall(path) == trial
    path.write_text('{"ceiling')
    assert recall(path) is None


def test_the_probe_times_the_types_that_have_kernels(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path, 64, 256, 2, 4, 1e-12, 1000, 128)
    with ThreadPoolExecutor(1) as threads:
        ceilings = probe_ceilings(recipe, threads, 1)
    assert "float32" in ceilings
    assert ceilings.keys() <= {"float32", "bfloat16", "int8"}
    assert min(ceilings.values()) > 0


def test_a_trial_is_found_without_knowing_its_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert recall_any("weights") is None
    for threads in (2, 6, 9):  # nine: of a larger machine
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        remember(trial_path("weights"), Trial({"float32": float(threads)}, {}))
    assert recall_any("weights") == Trial({"float32": 6.0}, {})
    monkeypatch.setattr(trial.metadata, "version", lambda package: torch.__version__.partition("+")[0])
    assert recall_any("weights") == Trial({"float32": 6.0}, {}), "some wheels do not tell in their metadata what torch was built for"
    assert recall_any("others") is None
