from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag.encoder import Recipe
from rag.trial import Trial, probe_ceilings, recall, remember


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
