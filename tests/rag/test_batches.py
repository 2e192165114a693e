import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rag.batches import TokenBudget, encode_in_batches, share_out
from rag.errors import ModelError
from rag.lane import COMPUTE_LANE


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class SmallDevice:
    """An encoder's CPU twin: row i is (i, 1); a batch that costs more than its memory raises what torch raises on CUDA."""

    def __init__(self, lengths: list[int], memory: int) -> None:
        self.lengths, self.memory = lengths, memory
        self.batches: list[list[int]] = []

    def __call__(self, batch: list[int]) -> np.ndarray:
        if max(self.lengths[index] for index in batch) * len(batch) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(batch)
        return np.array([[index, 1] for index in batch], np.float32)


def test_a_batch_holds_what_the_budget_allows_padding_counted_where_there_is_any() -> None:
    lengths = [30, 20, 10, 5]
    assert TokenBudget(60, 60).take(deque(range(4)), lengths) == [0, 1, 2]
    assert TokenBudget(60, 60, padded=True).take(deque(range(4)), lengths) == [0, 1]
    assert TokenBudget(7, 7).take(deque(range(4)), lengths) == [0]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 300), st.booleans())
def test_every_text_is_in_exactly_one_batch_and_no_batch_of_several_is_over_the_budget(lengths: list[int], most: int, padded: bool) -> None:
    lengths.sort(reverse=True)
    waiting, budget = deque(range(len(lengths))), TokenBudget(most, most, padded)
    batches = []
    while waiting:
        batches.append(budget.take(waiting, lengths))
    assert [index for batch in batches for index in batch] == list(range(len(lengths)))
    costs = [len(batch) * lengths[batch[0]] if padded else sum(lengths[index] for index in batch) for batch in batches]
    assert all(cost <= most or len(batch) == 1 for cost, batch in zip(costs, batches, strict=True))


def test_rows_come_back_in_the_order_of_the_texts_whoever_computed_them(threads: ThreadPoolExecutor) -> None:
    lengths = [(7 * index) % 40 + 1 for index in range(200)]
    devices = [SmallDevice(lengths, 10_000), SmallDevice(lengths, 10_000)]
    with COMPUTE_LANE:
        rows = encode_in_batches(lengths, devices, TokenBudget(100, 100), threads)
    assert rows[:, 0].tolist() == list(range(200))
    assert sorted(len(device.batches) > 0 for device in devices) == [True, True]


def test_a_batch_out_of_memory_is_halved_and_the_run_goes_on(threads: ThreadPoolExecutor) -> None:
    lengths = [10] * 100
    device, budget = SmallDevice(lengths, 130), TokenBudget(1000, 4000, padded=True)
    with COMPUTE_LANE:
        rows = encode_in_batches(lengths, [device], budget, threads)
    assert rows[:, 0].tolist() == list(range(100))
    assert (budget.tokens, budget.most) == (125, 125)
    assert {len(batch) for batch in device.batches} == {12, 4}


def test_the_budget_doubles_until_a_batch_does_not_fit_and_then_stays(threads: ThreadPoolExecutor) -> None:
    lengths = [10] * 1000
    device, budget = SmallDevice(lengths, 900), TokenBudget(100, 100_000, padded=True)
    with COMPUTE_LANE:
        encode_in_batches(lengths, [device], budget, threads)
        assert [len(batch) for batch in device.batches[:5]] == [10, 20, 40, 80, 80]
        assert (budget.tokens, budget.most) == (800, 800)
        encode_in_batches(lengths, [device], budget, threads)
    assert budget.tokens == 800


def test_a_text_that_fits_in_no_memory_is_an_error_that_says_so(threads: ThreadPoolExecutor) -> None:
    with COMPUTE_LANE, pytest.raises(ModelError, match="a text of 10 tokens does not fit into the memory"):
        encode_in_batches([10], [SmallDevice([10], 5)], TokenBudget(100, 100), threads)


def test_another_error_of_the_encoder_comes_through(threads: ThreadPoolExecutor) -> None:
    def broken(batch: list[int]) -> np.ndarray:
        raise ValueError("broken")

    with COMPUTE_LANE, pytest.raises(ValueError, match="broken"):
        encode_in_batches([1, 2], [broken], TokenBudget(1, 1), threads)


def test_whoever_waits_for_the_lane_goes_before_the_next_batch(threads: ThreadPoolExecutor) -> None:
    order: list[str] = []
    asked = threading.Event()

    def ask() -> None:
        asked.set()
        with COMPUTE_LANE:
            order.append("question")

    asker = threading.Thread(target=ask)

    def encode(batch: list[int]) -> np.ndarray:
        if not order:
            asker.start()
            asked.wait(5)
            while not COMPUTE_LANE.waiting:
                pass
        order.append("batch")
        return np.zeros((len(batch), 1), np.float32)

    with COMPUTE_LANE:
        encode_in_batches([1] * 4, [encode], TokenBudget(1, 1), threads)
    asker.join(5)
    assert order == ["batch", "question", "batch", "batch", "batch"]


def test_a_short_list_is_shared_out_among_the_workers() -> None:
    assert share_out([100] * 4, workers=2, smallest=64, largest=1024) == 200
    assert share_out([10], workers=2, smallest=64, largest=1024) == 64
    assert share_out([100] * 400, workers=2, smallest=64, largest=1024) == 1024
