"""Readers of a generator's server leave at random moments: the server hears of it, slots are free again, no thread is left."""

from __future__ import annotations

import random
import statistics
import threading
import time
from dataclasses import replace

from openai_server import Exchange, serving

from faults.conftest import times
from rag.admission import Admission
from rag.answer import stream_answer
from rag.config import Config
from rag.engine import Engine
from rag.events import Draft
from rag.remote import RemoteChatModel
from rag.types import Answer, Scope

QUESTION = "How many points does a late day cost?"
SLOW_S = 0.005


def test_readers_leave_a_server(engine: Engine) -> None:
    noticed: list[float] = []

    def talk_or_stall(exchange: Exchange) -> None:
        """Words without end, or, for one in three, nothing at all."""
        try:
            exchange.begin()
            if len(noticed) % 3 == 0:
                exchange.stall()
            else:
                while not exchange.has_left(SLOW_S):
                    exchange.say("and ")
        finally:  # who has left before a word is written is noticed by the write that fails
            noticed.append(time.perf_counter())

    chance = random.Random(23)
    lags: list[float] = []
    attempts = times(in_ci=30)
    with serving(talk_or_stall) as server:
        model = RemoteChatModel(Config(base_url=server.url, generator="any"))
        assert model.models() == []  # the client's library is imported: a reader who leaves meanwhile would be before any request
        serving_engine = replace(engine, chat_model=model, admission=Admission(slots=1, waiting=0))
        before = {thread for thread in threading.enumerate() if not thread.name.startswith("lexical")}
        for attempt in range(attempts):
            server.left.clear()
            events = stream_answer(QUESTION, Scope("optics"), serving_engine)
            while not isinstance(event := next(events), Draft):
                assert not isinstance(event, Answer)
            for _ in range(chance.randrange(4) if attempt % 3 else 0):
                next(events)
            left = time.perf_counter()
            events.close()
            while len(noticed) == attempt:
                time.sleep(0.001)
            lags.append(noticed[-1] - left)
            assert serving_engine.admission.load.serving == 0
        served = {thread for thread in threading.enumerate() if "process_request_thread" in thread.name}
        after = {thread for thread in threading.enumerate() if not thread.name.startswith("lexical")}
        assert after - before - served == set()
        assert len(server.requests) == attempts
    print(f"{attempts} readers left: the server heard of it after {1000 * statistics.median(lags):.0f} ms, {1000 * max(lags):.0f} at most")
