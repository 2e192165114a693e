import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest.overlap import Saver, run_ahead


def test_every_result_comes_once_and_only_so_many_are_begun() -> None:
    begun = []

    def double(number: int) -> int:
        begun.append(number)
        return 2 * number

    with ThreadPoolExecutor(3) as threads:
        ready = run_ahead(double, range(50), threads, ahead=4)
        first = next(ready)
        assert len(begun) <= 4 + len(first)
        rest = [result for group in ready for result in group]
    assert sorted(first + rest) == [2 * number for number in range(50)]


def test_a_slow_item_does_not_hold_up_the_others() -> None:
    slow = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        ready = run_ahead(lambda number: slow.wait(10) if number == 0 else number, range(5), threads, ahead=2)
        others = [next(ready) for _ in range(4)]
        slow.set()
        assert [result for group in others for result in group] == [1, 2, 3, 4]
        assert next(ready) == [True]


def test_heavy_items_are_begun_one_by_one() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(4) as threads:
        ready = run_ahead(begun.append, [10, 1, 1, 10, 1], threads, ahead=10, weigh=lambda weight: weight)
        assert len(begun) <= 1
        next(ready)
        assert len(begun) <= 4, "until together they weigh enough"
        assert sum(len(group) for group in ready) == 4
    assert sorted(begun) == [1, 1, 1, 10, 10]


def test_an_error_is_raised_where_the_results_are_taken() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(ZeroDivisionError):
        list(run_ahead(lambda number: 1 // number, [1, 0], threads, ahead=2))


def test_a_saver_keeps_the_order_and_counts_the_time() -> None:
    saved: list[int] = []
    with Saver() as saver:
        for number in range(20):
            saver.submit(saved.append, number)
    assert saved == list(range(20))
    assert saver.seconds > 0


def test_a_saver_raises_what_went_wrong_and_saves_no_more() -> None:
    saved: list[int] = []

    def save(number: int) -> None:
        if number == 2:
            raise OSError("full")
        saved.append(number)

    def save_all() -> None:
        with Saver() as saver:
            for number in range(100):
                saver.submit(save, number)

    with pytest.raises(OSError, match="full"):
        save_all()
    assert saved[:2] == [0, 1]
    assert len(saved) < 10
