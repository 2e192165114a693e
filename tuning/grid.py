"""Many short fits, one for each combination of settings: the table by which a batch and its like are chosen for a machine."""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib import import_module
from itertools import product
from typing import Any, TypeVar, cast

from rag.config import Config
from rag.errors import ConfigError
from tuning.examples import Example
from tuning.fit import ValidationOutOfMemory, measure_unfitted, settle, tell_nobody, try_out
from tuning.memory import OutOfMemory
from tuning.report import Report
from tuning.settings import AUTO_BATCH, Precision, Settings
from tuning.task import TaskModule

STEPS = 20
"""Updates of a row, where `--steps` does not say."""
SWITCHES = {"on": True, "off": False}
KEYS: Mapping[str, Callable[[str], Any]] = {
    "batch": int,
    "accumulation": int,
    "checkpointing": SWITCHES.__getitem__,
    "precision": Precision,
    "workers": int,
}
"""The settings that a grid can vary, and how their values are read."""

FAILURES: Mapping[type[Exception], str] = {
    ValidationOutOfMemory: "its validation does not fit into memory",
    OutOfMemory: "does not fit into memory",
    BrokenProcessPool: "its process crashed, or was killed",
}
"""With which the other rows go on; the first that an error is of."""

Data = tuple[Sequence[Example], Sequence[Example]]
T = TypeVar("T")


def parse_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """An argument's type: `batch=8,16,32`."""
    key, equals, values = text.partition("=")
    if not equals or key not in KEYS:
        raise argparse.ArgumentTypeError(f"{text!r}; expected KEY=VALUE,… with a key of {', '.join(KEYS)}")
    try:
        return key, tuple(KEYS[key](value) for value in values.split(","))
    except (ValueError, KeyError) as e:
        raise argparse.ArgumentTypeError(f"{text!r} holds a value that {key} does not take; e.g. batch=8,16 checkpointing=on,off") from e


def combinations(settings: Settings, axes: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Settings]:
    """The settings of each row: the last axis changes fastest."""
    settings = replace(settings, steps=settings.steps or STEPS)
    names = [name for name, _ in axes]
    return [replace(settings, **dict(zip(names, values, strict=True))) for values in product(*(values for _, values in axes))]


def run_grid(
    module: str,
    rows: Sequence[Settings],
    data: Data,
    config: Config,
    options: argparse.Namespace,
    tell: Callable[[Report], None],
    notify: Callable[[str], None],
) -> list[Report]:
    """The figures of each row. One that does not fit into memory, or crashes, says so, and the others go on.

    Each is fitted in a process of its own: memory that one has freed would else be there for the next, and not be counted.

    Args:
        module: of the task, by its dotted name.
        data: examples to fit and to validate on.
        tell: given each row when it is ready.
        notify: told, in a sentence, when there are no measures of the weights begun with.

    Raises:
        ConfigError: a batch is larger than there are examples to fit on.
    """
    rows = [settle(row) for row in rows]
    _require_examples(max(row.batch or AUTO_BATCH for row in rows), len(data[0]))
    before: Mapping[str, float] | None = None
    try:
        before = _in_own_process(_measure, module, rows[0], data, config, options)
    except tuple(FAILURES) as e:
        notify(f"the weights begun with are not measured: {_failure(e)}")
    reports = []
    for settings in rows:
        try:
            report = replace(_in_own_process(_try, module, settings, data, config, options), before=before)
        except tuple(FAILURES) as e:
            report = _without_figures(settings, before, _failure(e))
        reports.append(report)
        tell(report)
    return reports


def _require_examples(batch: int, examples: int) -> None:
    if batch > examples:
        raise ConfigError(
            f"the table has a batch of {batch} but there are {examples:,} examples to fit on, so that it would be measured with fewer; "
            "name smaller ones (--grid batch=…, or --batch), or give more questions"
        )


def _failure(error: Exception) -> str:
    return next(words for kind, words in FAILURES.items() if isinstance(error, kind))


def _without_figures(settings: Settings, before: Mapping[str, float] | None, failure: str) -> Report:
    return Report(
        settings.batch or AUTO_BATCH, settings.accumulation, settings.checkpointing, settings.precision, settings.device,
        next(iter(before)) if before else "measure", failure=failure,
    )  # fmt: skip


def _in_own_process(work: Callable[..., T], *arguments: Any) -> T:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _measure(module: str, settings: Settings, data: Data, config: Config, options: argparse.Namespace) -> dict[str, float]:
    """The measures of the weights begun with, the deciding one first."""
    task = _module(module).make_task(*data, settings, config, options)
    measures = measure_unfitted(task, settings)
    return {task.measure: measures.pop(task.measure)} | measures


def _try(module: str, settings: Settings, data: Data, config: Config, options: argparse.Namespace) -> Report:
    return try_out(_module(module).make_task(*data, settings, config, options), settings, tell_nobody)


def _module(name: str) -> TaskModule:
    return cast(TaskModule, import_module(name))
