"""What one kind of fit brings with it, and what every fit does for it: the seam between `fit.py` and the tasks (reader, reranker, …).

`fit.py` knows of batches, memory, checkpoints, seeds and figures, and nothing of questions; a task knows its model, its examples and its
measure, and nothing of the rest. `command.py` holds the table of tasks by name.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rag.config import Config

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

    from tuning.examples import Example
    from tuning.settings import Settings


class Task(Protocol):
    """One fit in the making: examples bound to the model that is to learn from them."""

    @property
    def measure(self) -> str:
        """The validation measure that decides when to stop and which weights are kept, one key of what `evaluate` returns: "MRR@10".

        Higher is better; a loss is returned with its sign turned, or beside it under another name.
        """
        ...

    def make_trainer(self, arguments: Mapping[str, Any], callbacks: Sequence[TrainerCallback]) -> Trainer:
        """A trainer over the model as it is before the fit.

        Called again after an out-of-memory with half the batch, and once for each row of a fitting table: every call starts from the same
        weights, loaded or built anew. The seeds of random, numpy and torch are set just before, so heads and adapters drawn here are the
        same in every run. The model may be wrapped by peft; only weights with `requires_grad` count as fitted.

        The trainer needs a `train_dataset` with a length (its rows are the samples that figures count) and no `eval_dataset`: `evaluate`
        below takes that place. With checkpointing on, its model needs `activation_checkpointing_enable`, as every `PreTrainedModel` has it.

        Args:
            arguments: of `transformers.TrainingArguments` or a subclass, which is made here: `TrainingArguments(**arguments, …)`. A task
                may add keys (a sampler, `label_names`, `remove_unused_columns`, `optim`), and changes none of those it is given.
            callbacks: to be passed on as they are.
        """
        ...

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        """The validation measures of the trainer's model as it stands, `self.measure` among them; others are shown beside it.

        Called before the first step, `validations` times an epoch and after the last step. Puts the model into `eval()` itself and moves
        nothing to another device; mode and random numbers are put back by the caller.
        """
        ...

    def save(self, trainer: Trainer, folder: Path) -> None:
        """Writes what ships into an empty folder that exists: weights as safetensors and what is needed to load them.

        The best weights are in the trainer's model by then. `training.json`, `report.md` and the progress are added by `fit`.
        """
        ...

    def notes(self, folder: Path) -> Sequence[str]:
        """What a person must do with the result, a sentence each: the line for the config, a store to rebuild."""
        ...


class TaskModule(Protocol):
    """A module `tuning/<name>.py`, as `command.py` finds it: these three names at its top level."""

    DEFAULTS: Mapping[str, Any]
    """Settings that this kind of fit starts from instead of those of `Settings`: `{"learning_rate": 5e-5, "epochs": 3}`. Flags win."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Its own flags, beside those of `Settings` (`--epochs`, `--batch` …), `--data`, `--out`, `--config`. Imports nothing heavy."""
        ...

    def make_task(
        self, fit: Sequence[Example], validate: Sequence[Example], settings: Settings, config: Config, options: argparse.Namespace
    ) -> Task:
        """The task over these examples.

        Args:
            settings: what the fit will be done with; a task reads `seed` and `device` of it and leaves the rest to `fit`.
            options: holds what `add_arguments` added.

        Raises:
            LecternError: the examples do not suffice, or a model is not there.
        """
        ...


def computing(trainer: Trainer) -> AbstractContextManager[Any]:
    """Within it a trainer's model computes in the type that the fit computes in: for `evaluate`."""
    import torch

    arguments = trainer.args
    dtype = torch.float16 if arguments.fp16 else torch.bfloat16
    return torch.autocast(arguments.device.type, dtype, enabled=arguments.fp16 or arguments.bf16)
