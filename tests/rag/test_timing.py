import time

import pytest

from rag.timing import Stopwatch


def test_stages_and_other_add_up_to_the_total() -> None:
    watch = Stopwatch()
    with watch.stage("embed"):
        time.sleep(0.02)
    time.sleep(0.01)
    seconds = watch.seconds()
    total = seconds.pop("total")
    assert sum(seconds.values()) == pytest.approx(total)
    assert seconds["embed"] >= 0.02
    assert seconds["other"] >= 0.01


def test_an_inner_stage_is_not_counted_twice() -> None:
    watch = Stopwatch()
    with watch.stage("outer"), watch.stage("inner"):
        time.sleep(0.02)
    seconds = watch.seconds()
    assert seconds["inner"] >= 0.02
    assert seconds["outer"] < seconds["inner"]


def test_time_moves_between_stages_inside_a_running_one() -> None:
    watch = Stopwatch()
    with watch.stage("prefill"):
        time.sleep(0.02)
        watch.move("prefill", "queue", 0.015)
    seconds = watch.seconds()
    assert seconds["queue"] == 0.015
    assert 0.005 <= seconds["prefill"] < seconds["total"] - 0.014
