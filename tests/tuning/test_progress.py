from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from tuning.progress import History, plot, read_rows


def test_a_history_is_a_table_of_steps_that_is_whole_at_every_moment(tmp_path: Path) -> None:
    history = History(tmp_path / "progress.csv")
    history.record(1, {"epoch": 0.5, "seconds": 2.0, "loss": 0.7})
    history.record(2, {"epoch": 1.0, "seconds": 4.0, "loss": 0.6})
    history.record(2, {"MRR": 0.8})
    assert (tmp_path / "progress.csv").read_text() == "step,epoch,seconds,loss,MRR\n1,0.5,2.0,0.7,\n2,1.0,4.0,0.6,0.8\n"
    assert read_rows(tmp_path / "progress.csv") == history.rows
    assert history.seconds == 4.0


def test_a_fit_that_goes_on_keeps_the_rows_up_to_its_checkpoint(tmp_path: Path) -> None:
    history = History(tmp_path / "progress.csv")
    for step in (1, 2, 3):
        history.record(step, {"seconds": float(step), "loss": 1 / step})
    on = History(tmp_path / "progress.csv", until_step=2)
    on.record(3, {"seconds": 9.0, "loss": 0.25})
    assert [(row["step"], row["loss"]) for row in read_rows(tmp_path / "progress.csv")] == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert History(tmp_path / "progress.csv").rows == [], "a fit that begins anew has none"


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = etree.fromstring(svg.encode()).findall("{*}polyline")
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in (line.get("points") or "").split())] for line in lines]


def test_the_plot_has_a_line_for_the_loss_and_one_for_the_measure() -> None:
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5, "MRR & more": 0.5}, {"step": 3, "loss": 1.0, "MRR & more": 0.9}]
    svg = plot(rows, "MRR & more")
    loss, measure = points(svg)
    assert loss == [(60.0, 30.0), (440.0, 130.0), (820.0, 230.0)], "760 pixels for two steps, 200 for the range from 2 to 1"
    assert measure == [(440.0, 480.0), (820.0, 280.0)]
    assert "MRR &amp; more" in svg


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        pytest.param([], [[], []], id="no row"),
        pytest.param([{"step": 4.0, "loss": 1.0}], [[(60.0, 230.0)], []], id="one row: at the left, on the axis"),
    ],
)
def test_a_plot_of_next_to_nothing_is_still_one(rows: list[dict[str, float]], drawn: list[list[tuple[float, float]]]) -> None:
    assert points(plot(rows, "MRR")) == drawn
