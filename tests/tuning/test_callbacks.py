from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

import tuning.callbacks
from tuning.callbacks import Recorder, SeededCollator, SeededSampler, checksum, random_numbers_kept


@dataclass(frozen=True)
class Row:
    text: str


def draw(rows: object) -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_what_a_collator_draws_depends_on_its_rows_the_epoch_and_the_seed_alone() -> None:
    epoch = 0
    collate = SeededCollator(draw, 7, lambda: epoch)
    first = collate([Row("a"), Row("b")])
    assert len(set(first)) == 3
    assert collate([Row("c")]) != first
    assert collate([Row("a"), Row("b")]) == first, "whatever was drawn between"
    assert SeededCollator(draw, 8, lambda: 0)([Row("a"), Row("b")]) != first
    epoch = 1
    assert collate([Row("a"), Row("b")]) != first


def test_what_is_drawn_besides_is_not_disturbed() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw(None)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    SeededCollator(draw, 7, lambda: 0)([Row("a")])
    with random_numbers_kept():
        draw(None)
    assert draw(None) == expected


def test_rows_come_in_an_order_of_the_epoch_alone() -> None:
    from transformers.trainer_pt_utils import LengthGroupedSampler

    epoch = 0
    sampler = SeededSampler(LengthGroupedSampler(4, lengths=list(range(24))), 7, lambda: epoch)
    first = list(sampler)
    torch.rand(5)
    before = torch.random.get_rng_state()
    assert list(sampler) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sorted(first) == list(range(24))
    assert len(sampler) == 24
    epoch = 1
    assert list(sampler) != first


def test_a_checksum_is_of_the_content() -> None:
    text = "".join(["same", " words"])
    assert checksum([text, text]) == checksum(["".join(["same", " words"]), "".join(["same", " words"])])
    rows = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    assert checksum(rows[1]) == checksum(torch.tensor([4.0, 5.0, 6.0, 7.0])), "not of the storage that it is a view of"
    assert checksum(rows[1]) != checksum(rows[2])
    assert checksum(rows.to(torch.bfloat16)[0]) == checksum(torch.tensor([0, 1, 2, 3], dtype=torch.bfloat16))


def test_a_collator_can_be_asked_for_what_is_its_trainers() -> None:
    class Collator:
        valid_label_columns = ("label",)

    assert SeededCollator(Collator(), 0, lambda: 0).valid_label_columns == ("label",)


def test_the_rate_is_of_the_time_between_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 samples an epoch, two steps of 4 s and 6 s, with validations of 7 s, 100 s and 30 s before, between and behind."""
    now = 1000.0
    monkeypatch.setattr(tuning.callbacks, "time", SimpleNamespace(monotonic=lambda: now))
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True, save_strategy="no")
    state, control, lines = TrainerState(epoch=0.0, max_steps=4), TrainerControl(), list[str]()
    recorder = Recorder(None, lines.append, samples=80)

    def step(seconds: float) -> None:
        nonlocal now
        now += seconds
        state.global_step, state.epoch = state.global_step + 1, (state.epoch or 0.0) + 0.25
        recorder.on_step_end(arguments, state, control)

    def validate(seconds: float) -> None:
        nonlocal now
        now += seconds
        recorder.validating_s += seconds
        recorder.on_evaluate(arguments, state, control, {"eval_MRR": 0.5})

    recorder.on_train_begin(arguments, state, control)
    validate(7)
    assert recorder.samples_per_s == 0.0, "nothing has been learnt from yet"
    step(4)
    assert recorder.samples_per_s == 20 / 4
    validate(100)
    assert recorder.samples_per_s == 20 / 4, "longer than all before it"
    step(6)
    validate(30)
    assert recorder.samples_per_s == 40 / 10
    assert recorder.seconds == 7 + 4 + 100 + 6
    assert lines == [
        "step 0 of 4: MRR 0.500",
        "step 1 of 4: MRR 0.500; 5.0 samples/s, 33 s left at most",
        "step 2 of 4: MRR 0.500; 4.0 samples/s, 2 min left at most",
    ]
