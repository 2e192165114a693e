from contextlib import ExitStack

import pytest

from rag.breaker import CircuitBreaker, Outcome
from rag.errors import GeneratorUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def end(breaker: CircuitBreaker, outcome: Outcome) -> None:
    with breaker.call("it") as call:
        call.outcome = outcome


def is_open(breaker: CircuitBreaker) -> bool:
    try:
        end(breaker, Outcome.UNKNOWN)
    except GeneratorUnavailable:
        return True
    return False


def test_failures_in_a_row_open_it_and_a_success_between_starts_the_count_again() -> None:
    breaker = CircuitBreaker(2, 10.0, Clock())
    for outcome in (Outcome.FAILURE, Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN):
        end(breaker, outcome)
    assert not is_open(breaker)
    end(breaker, Outcome.FAILURE)
    assert is_open(breaker)


def test_one_trial_after_a_while_decides() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10.0, clock)
    end(breaker, Outcome.FAILURE)
    clock.now = 10.0
    with breaker.call("it") as trial:
        assert is_open(breaker)  # only one is let through
        trial.outcome = Outcome.FAILURE
    assert is_open(breaker)
    clock.now = 20.0
    end(breaker, Outcome.SUCCESS)
    assert not is_open(breaker)


def test_a_trial_that_is_left_makes_room_for_the_next() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10.0, clock)
    end(breaker, Outcome.FAILURE)
    clock.now = 10.0
    stack = ExitStack()
    stack.enter_context(breaker.call("it"))
    with pytest.raises(GeneratorUnavailable, match="it has failed 1 times in a row; it is tried again just now"):
        end(breaker, Outcome.SUCCESS)
    stack.close()
    end(breaker, Outcome.SUCCESS)
    assert not is_open(breaker)
