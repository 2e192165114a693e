"""A bounded, fair queue in front of the generator: so many questions are generated at once, so many wait, further ones are refused.

Fair across askers: each asker has a line of his own, and free places go round the lines, one question at a time; an asker who comes joins
the end of the round. Who asks ten questions keeps another waiting for one of them. Knows no engine, model or question: only who asks, and
when places are taken and left.

All of it is one lock. A place that is left is given to the next in line by the thread that leaves it, so that no wake-up can be lost and
nobody who comes in that moment can overtake.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rag.errors import GeneratorBusy
from rag.types import Waiting

SERVICES_REMEMBERED = 20
"""The expected wait rests on the mean time of so many of the last questions: about a minute of a busy small machine."""
TICK_S = 1.0
"""Those who wait hear of their place at least so often: that is also when a reader who has left is noticed."""


class Ticket:
    """One question's way through the queue; made by `Admission.ticket`."""

    def __init__(self, admission: Admission, asker: str) -> None:
        self._admission = admission
        self.asker = asker
        self.told = 0
        """The position it was last told; 0 at first."""
        self.began: float | None = None
        """When it got its slot; None while it waits."""

    def wait(self, timeout_s: float = TICK_S) -> Waiting | None:
        """None once its turn has come; else its place in line, when that is another than it was last told or the time is up."""
        return self._admission._wait(self, timeout_s)


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the generator is: questions being generated, questions waiting, and how many were refused since the start."""

    serving: int
    waiting: int
    refused: int


class Admission:
    """Safe to share between threads.

    Args:
        slots: questions that are generated at once.
        waiting: questions that may wait; 0: none.
        clock: seconds on a monotonic clock.
    """

    def __init__(self, slots: int = 1, waiting: int = 32, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots = slots
        self.places = waiting
        self.clock = clock
        self._condition = threading.Condition()
        self._serving: list[Ticket] = []
        self._lines: dict[str, deque[Ticket]] = {}
        """The lines that are not empty, in the order in which they come round."""
        self._services_s: deque[float] = deque(maxlen=SERVICES_REMEMBERED)
        self._refused = 0

    @contextmanager
    def ticket(self, asker: str) -> Iterator[Ticket]:
        """A place in the queue, and then a slot, held until the block is left, however that happens.

        Raises:
            GeneratorBusy: as many wait as may.
        """
        ticket = self._enter(asker)
        try:
            yield ticket
        finally:
            self._leave(ticket)

    @property
    def load(self) -> Load:
        with self._condition:
            return Load(len(self._serving), sum(map(len, self._lines.values())), self._refused)

    def _enter(self, asker: str) -> Ticket:
        with self._condition:
            ticket = Ticket(self, asker)
            if len(self._serving) < self.slots:  # then nobody waits: a slot never stays free while somebody does
                self._serve(ticket)
                return ticket
            waiting = sum(map(len, self._lines.values()))
            if waiting >= self.places:
                self._refused += 1
                raise GeneratorBusy(f"{self.slots} questions are being answered and {waiting} wait, as many as may; ask again in a while")
            self._lines.setdefault(asker, deque()).append(ticket)
            self._condition.notify_all()  # positions of an asker's later questions may have changed
            return ticket

    def _leave(self, ticket: Ticket) -> None:
        with self._condition:
            if ticket.began is None:
                line = self._lines[ticket.asker]
                line.remove(ticket)
                if not line:
                    del self._lines[ticket.asker]
            else:
                self._serving.remove(ticket)
                self._services_s.append(self.clock() - ticket.began)
                if self._lines:
                    self._serve(self._take_next())
            self._condition.notify_all()

    def _take_next(self) -> Ticket:
        """Takes the first of the line whose turn it is; the rest of that line goes to the end of the round."""
        asker = next(iter(self._lines))
        line = self._lines.pop(asker)
        ticket = line.popleft()
        if line:
            self._lines[asker] = line
        return ticket

    def _serve(self, ticket: Ticket) -> None:
        ticket.began = self.clock()
        self._serving.append(ticket)

    def _wait(self, ticket: Ticket, timeout_s: float) -> Waiting | None:
        with self._condition:
            self._condition.wait_for(lambda: self._position(ticket) == 0 or self._position(ticket) != ticket.told, max(0.0, timeout_s))
            ticket.told = position = self._position(ticket)
            return Waiting(position, self._expected_s(position)) if position else None

    def _position(self, ticket: Ticket) -> int:
        """1 for the next in line, 0 for one that is being served."""
        if ticket.began is not None:
            return 0
        before = list(self._lines[ticket.asker]).index(ticket)
        ahead = 0
        passed = False
        for asker, line in self._lines.items():
            passed = passed or asker == ticket.asker
            # Lines before this one in the round give up one question more than those after it.
            ahead += min(len(line), before if passed else before + 1)
        return ahead + 1

    def _expected_s(self, position: int) -> float | None:
        """When the slot for this position gets free, if every question takes as long as the last ones did on average."""
        if not self._services_s:
            return None
        mean = sum(self._services_s) / len(self._services_s)
        now = self.clock()
        free_in = [max(0.0, mean - (now - ticket.began)) for ticket in self._serving if ticket.began is not None]
        heapq.heapify(free_in)
        for _ in range(position - 1):
            heapq.heapreplace(free_in, free_in[0] + mean)
        return free_in[0]
