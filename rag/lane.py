"""One compute lane: embedding and generation take turns on the cores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TypeVar

Result = TypeVar("Result")


class Lane:
    """A lock in order of arrival whose holder can let those who wait go first: a search need not wait for a whole answer."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next_ticket = 0
        self._serving = 0
        self._left: set[int] = set()
        """Tickets of those who wait no longer and whose turn has not come."""

    def __enter__(self) -> None:
        with self._condition:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._condition.wait_for(lambda: self._serving == ticket)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave(self._serving)

    @contextmanager
    def turn(self, look: Callable[[], None], every_s: float) -> Iterator[None]:
        """The lane as in `with lane`, but while it waits `look` is called every so often; when that raises, it has left the line."""
        with self._condition:
            ticket = self._next_ticket
            self._next_ticket += 1
        with ExitStack() as leave:
            leave.callback(self._leave, ticket)
            while not self._comes(ticket, every_s):
                look()
            yield

    def _comes(self, ticket: int, timeout_s: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._serving == ticket, timeout_s)

    def _leave(self, ticket: int) -> None:
        """Of the holder or of one who waits."""
        with self._condition:
            self._left.add(ticket)
            while self._serving in self._left:
                self._left.remove(self._serving)
                self._serving += 1
            self._condition.notify_all()

    @property
    def waiting(self) -> int:
        """How many wait behind the holder."""
        with self._condition:
            return max(0, self._next_ticket - self._serving - len(self._left) - 1)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Returns when nobody holds the lane or waits for it; False when that was not so for as long. For work that can be left undone."""
        with self._condition:
            return self._condition.wait_for(lambda: self._next_ticket == self._serving, timeout_s)

    def give_way(self) -> None:
        """Called by the holder: when others wait, they go first and the holder queues again."""
        if self.waiting:
            self.__exit__(None, None, None)
            self.__enter__()


COMPUTE_LANE = Lane()


def in_own_thread(work: Callable[[], Result]) -> Result:
    """What `work` returns, done in a thread that ends with it, and torch's OpenMP threads of that thread with it.

    While there are more of these than cores, libgomp puts them to sleep between two regions instead of letting them spin: a generator
    whose weights were loaded in another thread, still alive, took 37 ms a token instead of 22.
    """
    with ThreadPoolExecutor(1, "short-lived") as pool:
        return pool.submit(work).result()
