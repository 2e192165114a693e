"""Answers while others ask: turns, deadlines, readers who leave, a generator that fails once."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from rag.admission import Admission, Load
from rag.answer import answer, stream_answer
from rag.answer_cache import AnswerCache
from rag.engine import Engine
from rag.errors import GeneratorUnavailable
from rag.events import Draft, Found
from rag.generate import load_chat_model
from rag.types import Answer, Mode, Scope, Waiting
from rag.writing import BUSY, CUT, FAILED, LATE

OPTICS = Scope("optics")
QUESTION = "How many points does a late day cost?"
WORDS = "Each late day costs 5 points. No work is accepted after March 9.".split()


class Scripted(BaseChatModel):
    """Says these words; `before` is called before each of them with its index, and whether the stream was closed is counted."""

    words: list[str] = WORDS
    before: Callable[[int], None] = lambda index: None
    begun: list[int]
    ended: list[int]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.begun.append(1)
        try:
            for index, word in enumerate(self.words):
                self.before(index)
                yield ChatGenerationChunk(message=AIMessageChunk(content=word and word + " "))
        finally:
            self.ended.append(1)


def scripted(engine: Engine, admission: Admission | None = None, **fields: Any) -> tuple[Engine, Scripted]:
    model = Scripted(**{"begun": [], "ended": []} | fields)
    return replace(engine, chat_model=model, admission=admission or Admission(slots=1)), model


def test_who_waits_is_told_where_in_line_and_the_time_is_booked_as_queue(engine: Engine) -> None:
    serving, _ = scripted(engine)
    events = stream_answer(QUESTION, OPTICS, serving, asker="b")
    with serving.admission.ticket("a"):
        assert isinstance(next(events), Found)
        assert next(events) == Waiting(1, None)
    finished = list(events)[-1]
    assert isinstance(finished, Answer)
    assert finished.mode is Mode.GENERATED
    assert finished.latency.stages["queue"] > 0
    assert sum(finished.latency.stages.values()) == pytest.approx(finished.latency.total, rel=1e-6)
    assert serving.admission.load == Load(0, 0, 0)


def test_a_full_queue_is_told_and_the_materials_answer_at_once(engine: Engine) -> None:
    serving, model = scripted(engine, Admission(slots=1, waiting=0))
    with serving.admission.ticket("a"):
        events = list(stream_answer(QUESTION, OPTICS, serving, asker="b"))
    refused = events[-1]
    assert not any(isinstance(event, Waiting) for event in events)
    assert isinstance(refused, Answer)
    assert (refused.mode, refused.notices) == (Mode.EXTRACTIVE, (BUSY,))
    assert "5 points" in refused.text
    assert model.begun == []
    assert answer(QUESTION, OPTICS, serving).notices == ()


def test_a_deadline_ends_the_waiting(engine: Engine) -> None:
    now = [0.0]
    serving, model = scripted(engine, Admission(slots=1, clock=lambda: now[0]))
    events = stream_answer(QUESTION, OPTICS, serving, asker="b")
    with serving.admission.ticket("a"):
        assert isinstance(next(events), Found)
        assert next(events) == Waiting(1, None)
        now[0] = 60.0
        late = list(events)[-1]
        assert serving.admission.load.waiting == 0
    assert isinstance(late, Answer)
    assert (late.mode, late.notices) == (Mode.EXTRACTIVE, (LATE,))
    assert model.begun == []


@pytest.mark.parametrize(
    ("word", "mode", "notice", "text"),
    [
        (8, Mode.GENERATED, CUT, "Each late day costs 5 points."),  # the first sentence has been checked, the second one is begun
        (3, Mode.EXTRACTIVE, LATE, "Each late day costs 5 points. No work is accepted after March 9."),
    ],
)
def test_a_deadline_ends_the_generation_and_what_was_checked_stays(engine: Engine, word: int, mode: Mode, notice: str, text: str) -> None:
    now = [0.0]

    def pass_time(index: int) -> None:
        if index == word:
            now[0] = 60.0

    serving, model = scripted(engine, Admission(slots=1, clock=lambda: now[0]), before=pass_time)
    late = answer(QUESTION, OPTICS, serving)
    assert (late.mode, late.notices) == (mode, (notice,))
    assert late.text.startswith("Each late day costs 5 points.")
    assert model.ended == [1]
    assert serving.admission.load == Load(0, 0, 0)


def test_running_out_of_memory_fails_one_request_and_the_next_works(engine: Engine) -> None:
    requests = []

    def fail_the_first(index: int) -> None:
        requests.append(index)
        if len(requests) == 1:
            raise GeneratorUnavailable("the generator failed: out of memory")

    serving, _ = scripted(engine, before=fail_the_first)
    first = answer(QUESTION, OPTICS, serving)
    assert (first.mode, first.notices) == (Mode.EXTRACTIVE, (FAILED,))
    assert "5 points" in first.text
    second = answer(QUESTION, OPTICS, serving)
    assert (second.mode, second.notices) == (Mode.GENERATED, ())


def working_threads() -> set[threading.Thread]:
    """Those that are there for one answer, not for all: the search keeps a few, and the cache a timer."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith(("lexical", "forget an earlier state"))}


def leave_at_random(
    serving: Engine, times: int, randomly: random.Random, most: int, question: str = QUESTION, scope: Scope = OPTICS
) -> None:
    """Reads a random number of events of each answer, then leaves."""
    for number in range(times):
        with closing(stream_answer(question, scope, serving, asker=str(number % 7))) as events:
            for _ in range(randomly.randrange(1, most)):
                if isinstance(next(events), Answer):
                    break


def test_300_readers_who_leave_free_their_slots_and_leave_no_thread(engine: Engine) -> None:
    serving, model = scripted(engine, Admission(slots=2, waiting=4))
    threads = working_threads()
    askers = [
        threading.Thread(target=leave_at_random, args=(serving, 50, random.Random(seed), 16), name=f"asker {seed}") for seed in range(6)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(model.begun) == len(model.ended) > 100
    load = serving.admission.load
    assert (load.serving, load.waiting) == (0, 0)
    assert working_threads() <= threads
    assert answer(QUESTION, OPTICS, serving).notices == ()


@pytest.mark.models
def test_readers_of_the_bundled_model_who_leave_free_their_slots_and_leave_no_thread(sample_engine: Engine) -> None:
    config = sample_engine.config.replace(max_new_tokens=12, confidence_floor=0.0)
    serving = replace(sample_engine, chat_model=load_chat_model(config), config=config, admission=Admission(2, 4), cache=AnswerCache())
    scope, question = Scope("llm-systems"), "How many bytes a token does the KV cache of Wren take?"
    whole = answer(question, scope, serving)
    threads = working_threads()
    leave_at_random(serving, 30, random.Random(5), 10, question, scope)
    assert working_threads() <= threads
    assert serving.admission.load == Load(0, 0, 0)
    assert answer(question, scope, serving).text == whole.text


def test_a_reader_who_leaves_in_line_makes_room(engine: Engine) -> None:
    serving, _ = scripted(engine, Admission(slots=1, waiting=1))
    with serving.admission.ticket("a"):
        events = stream_answer(QUESTION, OPTICS, serving, asker="b")
        while not isinstance(next(events), Waiting):
            pass
        assert serving.admission.load.waiting == 1
        events.close()
        assert serving.admission.load.waiting == 0


def test_empty_chunks_show_nothing_and_do_not_count_as_the_first_token(engine: Engine) -> None:
    serving, _ = scripted(engine, words=["", "", "Each late day costs 5 points."])
    events = list(stream_answer(QUESTION, OPTICS, serving))
    assert {event.text for event in events if isinstance(event, Draft)} <= {"", "Each late day costs 5 points."}
    assert isinstance(events[-1], Answer)
    assert events[-1].mode is Mode.GENERATED
