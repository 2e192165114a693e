"""What `fit.py` hangs into a trainer. Imported inside functions only: its base classes are transformers'."""

from __future__ import annotations

import io
import pickle
import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tuning.progress import EPOCH, LOSS, SECONDS, History
from tuning.report import duration

CHECKPOINT_EVERY_S = 300.0
"""Between validations too: so much work is lost at most when a fit is cut off."""
LINE_EVERY_S = 10.0
"""Lines for a person, between those of the validations."""
VALIDATED = "eval_"
"""What transformers puts before the names of validation measures."""


class Recorder(TrainerCallback):
    """Writes `progress.csv` and lines for the terminal, and asks for checkpoints between far apart validations.

    Args:
        samples: in the training data.
    """

    def __init__(self, history: History | None, tell: Callable[[str], None], samples: int) -> None:
        self.samples_done = 0.0
        self.validating_s = 0.0
        self._fitting_s = 0.0
        self._history, self._tell, self._samples = history, tell, samples
        self._before_s = self.seconds = history.seconds if history else 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began = self._saved = self._told = time.monotonic()
        self._first_epoch = state.epoch or 0.0
        state.train_batch_size = args.train_batch_size  # a checkpoint gone on from holds its own
        self.validating_s = self._fitting_s = 0.0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        elapsed_s = time.monotonic() - self._began
        self.seconds = self._before_s + elapsed_s
        self._fitting_s = elapsed_s - self.validating_s  # taken together: the validation after this step is not in `seconds` yet
        self.samples_done = ((state.epoch or 0.0) - self._first_epoch) * self._samples
        if args.save_strategy != "no" and time.monotonic() - self._saved > CHECKPOINT_EVERY_S:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved = time.monotonic()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any) -> None:
        if LOSS not in logs:
            return
        self._record(state, {name: logs[name] for name in (LOSS, "grad_norm", "learning_rate") if name in logs})
        if time.monotonic() - self._told > LINE_EVERY_S:
            self._line(state, f"loss {logs[LOSS]:.4f}")

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: dict[str, float], **_: Any
    ) -> None:
        measures = {name.removeprefix(VALIDATED): value for name, value in metrics.items()}
        self._record(state, {f"validation {name}" if name == LOSS else name: value for name, value in measures.items()})
        self._line(state, ", ".join(f"{name} {value:.3f}" for name, value in measures.items()))

    @property
    def samples_per_s(self) -> float:
        """Of this process until the last step, validations not counted; 0 before the first."""
        return self.samples_done / self._fitting_s if self._fitting_s > 0 else 0.0

    def _record(self, state: TrainerState, values: dict[str, float]) -> None:
        if self._history is not None:
            self._history.record(state.global_step, {EPOCH: round(state.epoch or 0.0, 4), SECONDS: round(self.seconds, 1)} | values)

    def _line(self, state: TrainerState, what: str) -> None:
        self._told = time.monotonic()
        done = state.global_step / max(1, state.max_steps)
        rate = f"; {self.samples_per_s:.1f} samples/s, {duration(self.seconds * (1 - done) / done)} left at most" if done else ""
        self._tell(f"step {state.global_step:,} of {state.max_steps:,}: {what}{rate}")


class SeededCollator:
    """A trainer's collator whose random numbers depend on its rows and the epoch alone.

    Not on how many batches came before, nor on which process makes it ready: so a fit that was cut off goes on with the very batches it
    would have had, and loading ahead changes nothing.

    Args:
        epoch: tells the number of the epoch that a batch is for.
    """

    def __init__(self, collate: Any, seed: int, epoch: Callable[[], int]) -> None:
        self._collate, self._seed, self._epoch = collate, seed, epoch

    def __getattr__(self, name: str) -> Any:  # sentence-transformers asks its collators for more than to collate
        if name == "_collate":
            raise AttributeError(name)
        return getattr(self._collate, name)

    def __call__(self, rows: Sequence[Any]) -> Any:
        seed = checksum((self._seed, self._epoch(), list(rows)))
        with random_numbers_kept():
            random.seed(seed)
            np.random.seed(seed)
            torch.random.default_generator.manual_seed(seed)  # the CPU's alone: collators make batches there, also in forked processes
            return self._collate(rows)


class SeededSampler(Sampler[int]):
    """A sampler whose order depends on the epoch alone. One that draws from torch's own numbers orders anew for a fit that goes on."""

    def __init__(self, sampler: Any, seed: int, epoch: Callable[[], int]) -> None:
        self._sampler, self._seed, self._epoch = sampler, seed, epoch

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[int]:
        with random_numbers_kept():
            torch.random.default_generator.manual_seed(checksum((self._seed, self._epoch())))
            return iter(list(self._sampler))


class _Content(pickle.Pickler):
    """Tensors by their numbers: torch's own form of them differs from one writing to the next."""

    def reducer_override(self, value: object) -> Any:
        if not isinstance(value, torch.Tensor):
            return NotImplemented
        return bytes, (value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes(),)


def checksum(value: object) -> int:
    """The same in every process for the same content, of anything that pickles but sets, whose order is by chance."""
    written = io.BytesIO()
    pickler = _Content(written)
    pickler.fast = True  # equal objects are written alike, whether they are one object or several
    pickler.dump(value)
    return zlib.crc32(written.getbuffer())


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """After it, random, numpy and torch on the CPU go on as if none had been drawn within."""
    of_python, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        torch.random.set_rng_state(of_torch)
