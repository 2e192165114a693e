"""What a fit has cost and brought: the table people choose by, as Markdown and JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """One row of the fitting table.

    Args:
        batch: examples in one pass, after halving.
        seconds: of the fit, validations included; after a cut, of all parts of it.
        samples_per_s: examples a second of this process, validations and loading not counted.
        peak_memory_mb: on a CPU resident memory above that before the fit, on a GPU what torch had allocated.
        utilisation: 0 to 1, of the CPU's cores or of the GPU; None where NVIDIA does not say.
        before, after: the validation measures of the weights begun with and of those kept.
        failure: why there are no figures: only in a table of several fits.
    """

    batch: int
    accumulation: int
    checkpointing: bool
    precision: str
    device: str
    measure: str
    steps: int = 0
    best_step: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    samples_per_s: float = 0.0
    peak_memory_mb: float = 0.0
    utilisation: float | None = None
    before: Mapping[str, float] | None = None
    after: Mapping[str, float] | None = None
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def fitting_table(reports: Sequence[Report]) -> str:
    """Markdown, a row for each fit, in the order given."""
    measure = reports[0].measure
    head = (
        "batch", "accumulation", "checkpointing", "precision", "device", "steps", "time", "samples/s", "peak memory", "utilisation",
        f"{measure} before", f"{measure} after",
    )  # fmt: skip
    lines = [head, ("--:", "--:", "---", "---", "---", *("--:",) * 7), *map(_row, reports)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(report: Report) -> tuple[str, ...]:
    setting = (
        str(report.batch), str(report.accumulation), "on" if report.checkpointing else "off", report.precision, report.device,
    )  # fmt: skip
    if report.failure:
        return *setting, *("–",) * 6, report.failure
    busy = "–" if report.utilisation is None else f"{report.utilisation:.0%}"
    return (
        *setting, f"{report.steps:,}", duration(report.seconds), f"{report.samples_per_s:.1f}", f"{report.peak_memory_mb:,.0f} MB", busy,
        _measured(report.before, report.measure), _measured(report.after, report.measure),
    )  # fmt: skip


def _measured(measures: Mapping[str, float] | None, measure: str) -> str:
    return "–" if measures is None else f"{measures[measure]:.3f}"


def verdict(report: Report) -> str:
    """In a sentence, whether the fit has helped; honest where it has not."""
    assert report.before is not None, "a fit measures before it begins"
    assert report.after is not None, "and after it has ended"
    before, after = report.before[report.measure], report.after[report.measure]
    change = f"{report.measure} on the held-out questions went from {before:.3f} to {after:.3f}"
    if after > before:
        return f"{change} (best weights: those of step {report.best_step:,})."
    return f"{change}: the fit has not helped. Keep the model as it was, or give it more questions."


def report_markdown(name: str, report: Report, settings: Mapping[str, Any], origin: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The page `report.md` of one fit."""
    before, after = report.before or {}, report.after or {}
    names = sorted(before.keys() | after.keys(), key=lambda name: (name != report.measure, name))
    measures = [f"| {name} | {_number(before.get(name))} | {_number(after.get(name))} |" for name in names]
    ending = f"It ended early: no better validation in {settings['patience']} in a row." if report.stopped_early else ""
    parts = (
        f"# {name}: a fit",
        verdict(report) + (f" {ending}" if ending else ""),
        fitting_table([report]),
        "\n".join(["| held-out questions | before | after |", "| --- | --: | --: |", *measures]),
        "![loss and validation by step](progress.svg)",
        "Settings: " + _listed({**settings, **origin.get("options", {})}) + ".",
        "Data: " + _listed({key: value for key, value in origin.items() if not isinstance(value, dict)}) + "; training.json names it.",
        "\n".join(f"- {note}" for note in notes),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 5 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
