"""A `Task` so small that a fit of it takes a second: whether a sum of eight numbers is positive, with dropout and noise in every batch.

Run as a program it is a fit that ends itself with SIGKILL: `tiny_task.py OUT STEP`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from tuning.fit import fit
from tuning.settings import Precision, Settings

SETTINGS = Settings(
    epochs=3, learning_rate=0.01, batch=8, accumulation=2, precision=Precision.FP32, device="cpu", validations=2, patience=0
)
ROWS = 96


class TinyModel(nn.Module):
    """Eight numbers to the logit of their sum being positive."""

    def __init__(self, hungry_mb: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.hungry_mb = hungry_mb

    def forward(self, numbers: Tensor, positive: Tensor) -> dict[str, Tensor]:
        logits = self.layers(numbers).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, positive)
        if self.hungry_mb and self.training:  # so much for each example, as activations take it
            loss = loss + 0 * torch.ones(len(numbers), self.hungry_mb * 2**18).sum()
        return {"loss": loss, "logits": logits}


class TinyTask:
    """See `tuning.task.Task`.

    Args:
        measured: what `evaluate` returns, one after the other, instead of the accuracy.
        hungry_mb: memory that a training pass takes for each example.
        deadly_step: before this step of a fit the process ends itself.
        greedy_step: from this step on, a pass of more than four examples is out of memory.
    """

    measure = "accuracy"

    def __init__(self, measured: Sequence[float] = (), hungry_mb: int = 0, deadly_step: int = 0, greedy_step: int = 0) -> None:
        self._measured = list(measured)
        self._hungry_mb, self._deadly_step, self._greedy_step = hungry_mb, deadly_step, greedy_step
        self.seen: list[dict[str, Tensor]] = []

    def make_trainer(self, arguments: Mapping[str, Any], callbacks: Sequence[TrainerCallback]) -> Trainer:
        numbers = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(1))
        rows = [{"numbers": row, "positive": (row.sum() > 0).float()} for row in numbers]
        training = TrainingArguments(**arguments, remove_unused_columns=False)
        return Trainer(TinyModel(self._hungry_mb), training, _with_noise, rows, callbacks=[*callbacks, *self._deadly()])

    def _deadly(self) -> list[TrainerCallback]:
        deadly_step, greedy_step = self._deadly_step, self._greedy_step

        class Deadly(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step + 1 == deadly_step:
                    os.kill(os.getpid(), signal.SIGKILL)
                if greedy_step and state.global_step + 1 >= greedy_step and args.train_batch_size > 4:
                    raise MemoryError

        return [Deadly()]

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        self.seen.append({name: tensor.clone() for name, tensor in trainer.model.state_dict().items()})
        if self._measured:
            return {"accuracy": self._measured.pop(0)}
        torch.randn(3)  # a measure that draws: the fit must not notice
        numbers = torch.randn(200, 8, generator=torch.Generator().manual_seed(2))
        positive = (numbers.sum(dim=1) > 0).float()
        trainer.model.eval()
        with torch.no_grad():
            logits = trainer.model(numbers, positive)["logits"]
        return {"accuracy": ((logits > 0) == (positive > 0)).float().mean().item(), "loss": 0.5}

    def save(self, trainer: Trainer, folder: Path) -> None:
        save_file(trainer.model.state_dict(), folder / "tiny.safetensors")

    def notes(self, folder: Path) -> Sequence[str]:
        return ("It adds eight numbers.",)


def _with_noise(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    numbers = torch.stack([row["numbers"] for row in rows])
    return {"numbers": numbers + 0.1 * torch.randn_like(numbers), "positive": torch.stack([row["positive"] for row in rows])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    fit(
        "tiny",
        TinyTask(deadly_step=int(sys.argv[2])),
        SETTINGS,
        Path(sys.argv[1]),
        {"rows": ROWS},
        lambda line: print(line, file=sys.stderr),
    )
