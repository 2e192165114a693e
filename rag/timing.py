"""Where time goes: stages on the monotonic clock, which together with `other` add up to the wall time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rag.types import Latency


class Stopwatch:
    """Adds up the time of named stages. A stage inside another one is taken out of the outer, so that nothing counts twice."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._inner: list[float] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._seconds.setdefault(name, 0.0)
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - began
            self._seconds[name] += elapsed - self._inner.pop()
            if self._inner:
                self._inner[-1] += elapsed

    def move(self, stage: str, to: str, seconds: float) -> None:
        """Books time that a stage has taken, or is taking, under another name."""
        self._seconds[stage] = self._seconds.get(stage, 0.0) - seconds
        self._seconds[to] = self._seconds.get(to, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, then `other` and `total`."""
        total = time.perf_counter() - self._started
        return {**self._seconds, "other": total - sum(self._seconds.values()), "total": total}

    def latency(self) -> Latency:
        """The same in milliseconds."""
        milliseconds = {stage: 1000 * seconds for stage, seconds in self.seconds().items()}
        total = milliseconds.pop("total")
        return Latency(milliseconds, total)
