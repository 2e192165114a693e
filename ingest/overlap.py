"""Work that goes on at the same time: results as they get ready, and saving in the background. Knows nothing of documents."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], executor: Executor, ahead: int, weigh: Callable[[Item], int] = lambda item: 1
) -> Iterator[list[Result]]:
    """Whatever results are ready, at least one at a time, in the order they get ready. An error in `work` is raised here.

    Items are begun at once, before the first result is asked for, until together they weigh `ahead` or more; the next ones as results
    are taken.
    """
    left = iter(items)
    pending: dict[Future[Result], int] = {}

    def begin() -> None:
        while sum(pending.values()) < ahead and (item := next(left, None)) is not None:
            pending[executor.submit(work, item)] = weigh(item)

    def ready() -> Iterator[list[Result]]:
        while pending:
            done = wait(pending, return_when=FIRST_COMPLETED).done
            for future in done:
                del pending[future]
            begin()
            yield [future.result() for future in done]

    begin()
    return ready()


class Saver:
    """Calls functions one after the other in a thread of its own; the caller waits only when more than two are behind.

    An error of one is raised by the next call of `submit`, or at the end of the `with` block. `seconds` is the time that they took.
    """

    BEHIND = 2

    def __init__(self) -> None:
        self.seconds = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._pending: deque[Future[None]] = deque()

    def submit(self, function: Callable[..., None], *arguments: Any) -> None:
        self._wait(self.BEHIND)
        self._pending.append(self._thread.submit(self._timed, function, *arguments))

    def finish(self) -> None:
        """Waits for everything submitted."""
        self._wait(0)

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=error is not None)
        if error is None:
            self.finish()

    def _wait(self, behind: int) -> None:
        while len(self._pending) > behind:
            self._pending.popleft().result()

    def _timed(self, function: Callable[..., None], *arguments: Any) -> None:
        began = time.perf_counter()
        function(*arguments)
        self.seconds += time.perf_counter() - began
