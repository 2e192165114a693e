from __future__ import annotations

from dataclasses import replace

import pytest

from tuning.report import Report, duration, fitting_table, report_markdown, verdict

REPORT = Report(
    batch=16, accumulation=2, checkpointing=True, precision="bf16", device="cpu", measure="MRR", steps=1200,
    best_step=900, seconds=754.0, samples_per_s=50.93, peak_memory_mb=1234.4, utilisation=0.934,
    before={"MRR": 0.6124}, after={"MRR": 0.7119, "loss": 0.4},
)  # fmt: skip


def test_the_table_by_which_people_choose() -> None:
    short = replace(REPORT, batch=64, accumulation=1, checkpointing=False, precision="fp32", utilisation=None, before=None)
    failed = replace(short, batch=128, failure="does not fit into memory")
    assert fitting_table([REPORT, short, failed]).splitlines() == [
        "| batch | accumulation | checkpointing | precision | device | steps | time | samples/s | peak memory | utilisation "
        "| MRR before | MRR after |",
        "| --: | --: | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |",
        "| 16 | 2 | on | bf16 | cpu | 1,200 | 13 min | 50.9 | 1,234 MB | 93% | 0.612 | 0.712 |",
        "| 64 | 1 | off | fp32 | cpu | 1,200 | 13 min | 50.9 | 1,234 MB | – | – | 0.712 |",
        "| 128 | 1 | off | fp32 | cpu | – | – | – | – | – | – | does not fit into memory |",
    ]


def test_the_verdict_is_honest() -> None:
    assert verdict(REPORT) == "MRR on the held-out questions went from 0.612 to 0.712 (best weights: those of step 900)."
    assert verdict(replace(REPORT, after={"MRR": 0.6})) == (
        "MRR on the held-out questions went from 0.612 to 0.600: the fit has not helped. "
        "Keep the model as it was, or give it more questions."
    )
    assert "has not helped" in verdict(replace(REPORT, after={"MRR": 0.6124}))


def test_a_page_holds_every_measure_and_all_settings() -> None:
    origin = {"folders": 2, "options": {"lora": 16}, "questions": {"a": "1", "b": "2"}}
    page = report_markdown("reranker", replace(REPORT, stopped_early=True), {"patience": 3, "seed": 4}, origin, ["Do this."])
    assert "| MRR | 0.612 | 0.712 |\n| loss | – | 0.400 |" in page
    assert "Settings: patience 3, seed 4, lora 16." in page
    assert "Data: folders 2; training.json names it." in page
    assert "It ended early: no better validation in 3 in a row." in page
    assert page.endswith("- Do this.\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (9.94, "9.9 s"), (48.2, "48 s"), (100, "2 min"), (7199, "2 h 0 min"), (11100, "3 h 5 min")]
)
def test_durations_are_as_exact_as_they_help(seconds: float, text: str) -> None:
    assert duration(seconds) == text
