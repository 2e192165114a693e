"""Texts of many lengths to batches of one size in tokens, computed by several workers; gives way to others between batches.

It does not know what computes: an encoder here is a function from indices to rows. A batch that does not fit into the device's memory is
halved and done again; a device that has room gets larger ones, until one did not fit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass

import numpy as np

from rag.errors import ModelError
from rag.lane import COMPUTE_LANE

Encode = Callable[[list[int]], np.ndarray]
"""Indices of texts, longest first, to `(len(indices), d) float32`."""


@dataclass(slots=True)
class TokenBudget:
    """How many tokens a batch may have. Kept from call to call, so that what the device taught is not learned twice."""

    tokens: int
    most: int
    """The budget doubles up to this after each full batch that fitted; equal to `tokens`, it never grows."""
    padded: bool = False
    """Whether the encoder pads: then a batch costs its longest text times its texts."""

    def take(self, waiting: deque[int], lengths: Sequence[int]) -> list[int]:
        """Removes the next batch from `waiting`, whose texts stand longest first; at least one text."""
        batch: list[int] = []
        cost = 0
        while waiting:
            cost = (len(batch) + 1) * lengths[(batch or waiting)[0]] if self.padded else cost + lengths[waiting[0]]
            if batch and cost > self.tokens:
                break
            batch.append(waiting.popleft())
        return batch

    def fitted(self, was_full: bool) -> None:
        if was_full and self.tokens < self.most:
            self.tokens = min(2 * self.tokens, self.most)

    def shrink(self) -> None:
        """Halved, and never tried larger again."""
        self.tokens = self.most = max(1, self.tokens // 2)


def encode_in_batches(lengths: Sequence[int], encoders: Sequence[Encode], budget: TokenBudget, threads: Executor) -> np.ndarray:
    """`(n, d) float32` in the order of `lengths`. The caller holds the compute lane; it is let go whenever someone waits for it.

    Args:
        lengths: tokens of each text; at least one text.
        encoders: as many batches are computed at once.
        threads: has at least as many threads as there are encoders.

    Raises:
        ModelError: a single text does not fit into the device's memory.
    """
    waiting = deque(sorted(range(len(lengths)), key=lambda index: -lengths[index]))
    idle = list(encoders)
    running: dict[Future[np.ndarray], tuple[list[int], Encode]] = {}
    rows: np.ndarray | None = None
    try:
        while waiting or running:
            if COMPUTE_LANE.waiting and not running:
                COMPUTE_LANE.give_way()
            while waiting and idle and not (COMPUTE_LANE.waiting and running):
                batch, encoder = budget.take(waiting, lengths), idle.pop()
                running[threads.submit(encoder, batch)] = batch, encoder
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                batch, encoder = running.pop(done)
                idle.append(encoder)
                vectors = _result(done, batch, lengths, budget)
                del done  # it holds the failed batch's tensors, which the smaller one needs the room of
                if vectors is None:
                    _empty_cache()
                    waiting.extendleft(reversed(batch))
                    continue
                budget.fitted(was_full=bool(waiting))
                if rows is None:
                    rows = np.empty((len(lengths), vectors.shape[1]), np.float32)
                rows[batch] = vectors
    finally:
        wait(running)
    assert rows is not None, "at least one text"
    return rows


def _result(done: Future[np.ndarray], batch: list[int], lengths: Sequence[int], budget: TokenBudget) -> np.ndarray | None:
    """The rows of a batch, or None when it did not fit and the budget was halved."""
    import torch

    try:
        return done.result()
    except torch.OutOfMemoryError as e:
        if len(batch) == 1:
            raise ModelError(
                f"a text of {lengths[batch[0]]} tokens does not fit into the memory of the device; "
                'free some, or set device = "cpu" in the config'
            ) from e
        budget.shrink()
        return None


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def share_out(lengths: Iterable[int], workers: int, smallest: int, largest: int) -> int:
    """Tokens a batch should have so that a short list still keeps all workers busy."""
    return max(smallest, min(largest, -(-sum(lengths) // workers)))
