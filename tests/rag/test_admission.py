import threading
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.admission import Admission, Load, Ticket
from rag.errors import GeneratorBusy
from rag.types import Waiting


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Asking:
    """Questions that come and go in one thread."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self._open: dict[str, ExitStack] = {}
        self.tickets: dict[str, Ticket] = {}

    def come(self, name: str) -> None:
        """`a1` is the question 1 of the asker a."""
        stack = ExitStack()
        self.tickets[name] = stack.enter_context(self.admission.ticket(name[0]))
        self._open[name] = stack

    def go(self, name: str) -> None:
        del self.tickets[name]
        self._open.pop(name).close()

    def positions(self) -> dict[str, int]:
        """0 for those that are served."""
        told = {name: ticket.wait(0) for name, ticket in self.tickets.items()}
        return {name: waiting.position if waiting else 0 for name, waiting in told.items()}


def test_a_free_slot_is_had_at_once() -> None:
    admission = Admission(slots=2)
    with admission.ticket("a") as first, admission.ticket("b") as second:
        assert first.wait(0) is None
        assert second.wait(0) is None
        assert admission.load == Load(serving=2, waiting=0, refused=0)
    assert admission.load == Load(0, 0, 0)


def test_who_asks_much_does_not_keep_others_waiting_for_all_of_it() -> None:
    asking = Asking(Admission(slots=1))
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        asking.come(name)
    assert asking.positions() == {"a1": 0, "a2": 1, "b1": 2, "c1": 3, "a3": 4, "b2": 5, "a4": 6}
    order = []
    while asking.tickets:
        (serving,) = (name for name, position in asking.positions().items() if position == 0)
        order.append(serving)
        asking.go(serving)
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_a_full_queue_refuses_at_once_and_says_so() -> None:
    admission = Admission(slots=1, waiting=1)
    with admission.ticket("a"), admission.ticket("b"):
        with pytest.raises(GeneratorBusy, match="1 questions are being answered and 1 wait, as many as may"), admission.ticket("c"):
            pass
        assert admission.load == Load(1, 1, 1)
    with admission.ticket("c") as ticket:
        assert ticket.wait(0) is None


def test_the_expected_wait_is_worked_out_from_the_last_service_times() -> None:
    clock = Clock()
    asking = Asking(Admission(slots=2, clock=clock))
    asking.come("a1")
    clock.now = 4.0
    asking.come("b1")
    asking.come("c1")
    assert asking.tickets["c1"].wait(0) == Waiting(1, None)  # nothing is known of how long a question takes
    asking.go("a1")  # after 4 s, the only one so far: the mean is 4
    asking.come("d1")
    asking.come("e1")
    asking.come("f1")
    clock.now = 5.0  # b1 and c1 have run for 1 s of 4: both slots are free in 3 s, and again in 7
    assert [asking.tickets[name].wait(0) for name in ("d1", "e1", "f1")] == [Waiting(1, 3.0), Waiting(2, 3.0), Waiting(3, 7.0)]
    clock.now = 100.0  # longer than the mean: any moment now
    assert asking.tickets["d1"].wait(0) == Waiting(1, 0.0)


def test_leaving_the_queue_frees_the_place_and_those_behind_move_up() -> None:
    asking = Asking(Admission(slots=1, waiting=3))
    for name in ("a1", "b1", "c1", "c2"):
        asking.come(name)
    assert asking.positions() == {"a1": 0, "b1": 1, "c1": 2, "c2": 3}
    asking.go("b1")
    assert asking.positions() == {"a1": 0, "c1": 1, "c2": 2}
    asking.come("d1")
    asking.go("a1")
    assert asking.positions() == {"c1": 0, "d1": 1, "c2": 2}


def test_an_exception_frees_the_slot() -> None:
    admission = Admission(slots=1)
    with pytest.raises(ZeroDivisionError), admission.ticket("a"):
        1 / 0  # noqa: B018
    assert admission.load == Load(0, 0, 0)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 9)), max_size=40))
def test_slots_are_never_exceeded_nor_left_free_and_positions_have_no_gap(slots: int, steps: list[tuple[str, bool, int]]) -> None:
    asking = Asking(Admission(slots=slots, waiting=6))
    for number, (asker, comes, which) in enumerate(steps):
        names = list(asking.tickets)
        if comes:
            try:
                asking.come(f"{asker}{number}")
            except GeneratorBusy:
                assert len(asking.tickets) == slots + 6
        elif names:
            asking.go(names[which % len(names)])
        positions = sorted(asking.positions().values())
        serving = min(slots, len(positions))
        assert positions == [0] * serving + list(range(1, len(positions) - serving + 1))
        assert asking.admission.load.serving == serving
    for name in list(asking.tickets):
        asking.go(name)
    assert asking.admission.load.serving == asking.admission.load.waiting == 0


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_nobody_waits_for_more_than_one_question_of_each_other_asker(askers: list[str]) -> None:
    asking = Asking(Admission(slots=1, waiting=20))
    asking.come("z0")  # keeps the slot
    for number, asker in enumerate(askers):
        asking.come(f"{asker}{number}")
    first = {asker: f"{asker}{askers.index(asker)}" for asker in askers}
    positions = asking.positions()
    assert all(positions[name] <= len(first) for name in first.values())


def test_many_threads_all_get_their_turn_and_no_slot_is_used_twice() -> None:
    admission = Admission(slots=3, waiting=100)
    inside, most, served = [0], [0], []
    lock = threading.Lock()

    def ask(asker: str) -> None:
        for _ in range(40):
            with admission.ticket(asker) as ticket:
                while ticket.wait(60.0) is not None:  # woken by others alone: with a lost wake-up this test takes minutes
                    pass
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= 1
                    served.append(asker)

    threads = [threading.Thread(target=ask, args=(str(number),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(served) == 16 * 40
    assert most[0] <= 3
    assert admission.load == Load(0, 0, 0)


def test_those_who_wait_are_woken_when_they_move_up() -> None:
    admission = Admission(slots=1)
    told: list[Waiting | None] = []
    with admission.ticket("a"):
        heard = threading.Event()

        def wait() -> None:
            with admission.ticket("c") as ticket:
                told.append(ticket.wait(60.0))
                heard.set()
                told.append(ticket.wait(60.0))

        with admission.ticket("b"):
            thread = threading.Thread(target=wait)
            thread.start()
            heard.wait()
        thread.join()  # b has left the queue: c hears of it at once, not after 60 s
    assert told == [Waiting(2, None), Waiting(1, None)]
