"""The figures under an answer."""

from __future__ import annotations

import pytest

from rag.types import Latency
from ui import latency

GENERATED = Latency(
    {"embed": 20.0, "read": 1.0, "dense": 4.0, "prefill": 400.0, "queue": 75.0, "ground": 3.0, "decode": 1000.0, "other": 497.0}, 2000.0
)
EXTRACTIVE = Latency({"embed": 20.0, "ground": 5.0, "other": 0.5}, 25.5)


def test_the_summary_names_total_first_word_and_speed():
    assert latency.summary(GENERATED, 50) == "Answered in 2.0 s · first word after 500 ms · 50 tokens, 50 a second"
    assert latency.summary(EXTRACTIVE) == "Answered in 26 ms"


def test_an_answer_of_the_cache_says_so():
    assert latency.summary(EXTRACTIVE, 0, cached=True) == "Answered in 26 ms · from the cache: an earlier answer to the same question"


def test_the_first_token_waits_for_every_stage_before_it():
    assert GENERATED.first_token_ms == 500.0
    assert EXTRACTIVE.first_token_ms is None


def test_stages_come_in_the_order_they_run_and_nothing_is_lost():
    rows = latency.stage_rows(Latency({"new stage": 1.0, **GENERATED.stages}, 2001.0))
    assert [row["name"] for row in rows] == [
        "Embed the question",
        "Search by meaning",
        "Read the passages",
        "Wait for a turn",
        "Read the prompt",
        "Write the answer",
        "Check the answer",
        "Other",
        "new stage",
    ]
    assert sum(row["ms"] for row in rows) == 2001.0


@pytest.mark.parametrize(
    ("milliseconds", "words"), [(0.04, "0.0 ms"), (9.96, "10.0 ms"), (140.4, "140 ms"), (1000.0, "1.0 s"), (12_340.0, "12.3 s")]
)
def test_in_words(milliseconds, words):
    assert latency.in_words(milliseconds) == words


def test_every_stage_has_a_colour_of_its_own():
    assert len({colour for _, colour in latency.STAGES.values()}) == len(latency.STAGES)
