"""How a fit goes: `progress.csv` as it runs, its plot, and lines for the terminal. Knows nothing of models.

The plot is an SVG of some 60 lines written here. altair, which the pages use, writes SVG only through vl-convert, a JavaScript engine of
50 MB; matplotlib is not installed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from rag.files import put_in_place

STEP, EPOCH, SECONDS, LOSS = "step", "epoch", "seconds", "loss"
Row = dict[str, float]


class History:
    """Rows by step, in a CSV file that is complete at every moment. A fit that goes on continues the file it finds."""

    def __init__(self, path: Path, until_step: int = 0) -> None:
        """Keeps the rows of the file up to `until_step`; later ones belong to steps that will be made again."""
        self.path = path
        self._rows = {int(row[STEP]): row for row in read_rows(path) if row[STEP] <= until_step}

    @property
    def rows(self) -> list[Row]:
        return [self._rows[step] for step in sorted(self._rows)]

    @property
    def seconds(self) -> float:
        """Of the fit until the last row."""
        return max((row[SECONDS] for row in self._rows.values()), default=0.0)

    def record(self, step: int, values: Mapping[str, float]) -> None:
        self._rows[step] = self._rows.get(step, {}) | {STEP: step} | dict(values)
        rows = self.rows
        columns = list(dict.fromkeys([STEP, EPOCH, SECONDS, LOSS, *(name for row in rows for name in row)]))
        partial = self.path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        put_in_place(partial, self.path)


def read_rows(path: Path) -> list[Row]:
    """The rows of a `progress.csv`, without what was not measured; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


WIDTH, HEIGHT, MARGIN, GAP = 760, 200, 60, 50
"""Of one panel of the plot, in pixels."""


def plot(rows: Sequence[Row], measure: str) -> str:
    """An SVG with two panels, one above the other: the loss and the validation measure by step."""
    steps = [row[STEP] for row in rows]
    span = min(steps, default=0.0), max(steps, default=1.0)
    panels = [
        _panel([(row[STEP], row[name]) for row in rows if name in row], name, span, top, colour)
        for name, top, colour in ((LOSS, 30, "#b3541e"), (measure, 30 + HEIGHT + GAP, "#1f5fa8"))
    ]
    height = 2 * HEIGHT + GAP + 80
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * MARGIN} {height}" font-family="sans-serif" font-size="13">',
            f"<title>loss and {escape(measure)} by step</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            *panels,
            f'<text x="{MARGIN + WIDTH / 2:.0f}" y="{height - 10}" text-anchor="middle">step</text>',
            "</svg>\n",
        ]
    )


def _panel(points: Sequence[tuple[float, float]], name: str, span: tuple[float, float], top: float, colour: str) -> str:
    values = [value for _, value in points]
    low, high = min(values, default=0.0), max(values, default=1.0)

    def x(step: float) -> float:
        return MARGIN + WIDTH * (step - span[0]) / ((span[1] - span[0]) or 1.0)

    def y(value: float) -> float:
        return top + HEIGHT * (1 - (value - low) / ((high - low) or 1.0))

    line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
    lines = [
        f'<text x="{MARGIN}" y="{top - 8}" fill="{colour}">{escape(name)}</text>',
        f'<path d="M{MARGIN},{top} V{top + HEIGHT} H{MARGIN + WIDTH}" fill="none" stroke="#888"/>',
        *(f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>' for value in dict.fromkeys((low, high))),
        *(f'<text x="{x(step):.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{step:.0f}</text>' for step in dict.fromkeys(span)),
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
    ]
    if len(points) <= 50:
        lines += [f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>' for step, value in points]
    return "\n".join(lines)
