"""A circuit breaker: a server that fails again and again is left alone for a while, so that nobody waits for what will not come.

Closed, everything passes. After so many failures in a row it is open, and every call is refused at once. When it has been open long
enough, one call is let through as a trial, the others are refused meanwhile: its success closes the breaker, its failure keeps it open for
as long again (Nygard, "Release It!", 2007). Knows nothing of servers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto

from rag.errors import GeneratorUnavailable


class Outcome(Enum):
    """How a call ended."""

    SUCCESS = auto()
    FAILURE = auto()
    UNKNOWN = auto()
    """It was left before anything could be told, or failed for a reason of its own."""


class Call:
    """One call that was let through; whoever makes it says how it ended."""

    def __init__(self) -> None:
        self.outcome = Outcome.UNKNOWN


class CircuitBreaker:
    """Safe to share between threads.

    Args:
        failures: so many in a row open it.
        open_s: for so many seconds.
        clock: seconds on a monotonic clock.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._trial: Call | None = None

    @contextmanager
    def call(self, name: str) -> Iterator[Call]:
        """A call to the server `name`; what stands in its `outcome` when the block is left counts.

        Raises:
            GeneratorUnavailable: the breaker is open.
        """
        call = Call()
        with self._lock:
            self._admit(call, name)
        try:
            yield call
        finally:
            with self._lock:
                self._count(call)

    def _admit(self, call: Call, name: str) -> None:
        if self._opened_at is None:
            return
        closed_for_s = self._opened_at + self._open_s - self._clock()
        if closed_for_s > 0 or self._trial is not None:
            when = f"in {closed_for_s:.0f} s" if closed_for_s > 0 else "just now"
            raise GeneratorUnavailable(f"{name} has failed {self._failures} times in a row; it is tried again {when}")
        self._trial = call

    def _count(self, call: Call) -> None:
        if self._trial is call:
            self._trial = None
        if call.outcome is Outcome.SUCCESS:
            self._failures, self._opened_at = 0, None
        elif call.outcome is Outcome.FAILURE:
            self._failures += 1
            if self._failures >= self._most:
                self._opened_at = self._clock()
