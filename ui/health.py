"""`/health`: whether Lectern can answer, and how busy it is; for the staff, with `?probe`, tried by a real search and a real token."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from langchain_core.messages import HumanMessage
from starlette.requests import Request
from starlette.responses import JSONResponse

from rag.config import NONE, Config
from rag.engine import Engine
from rag.errors import GeneratorBusy, LecternError
from rag.generate import stream_chat
from rag.records import Course
from rag.store import Store
from rag.types import Decoding, Scope
from ui import state
from ui.server import entrant

_LOG = logging.getLogger(__name__)
KEPT_S = 10.0
"""For so long what a probe found is told again."""
TURN_S = 10.0
"""So long a probe waits for its turn at the generator."""
BUSY = GeneratorBusy.__name__
"""Told of a generator that others keep busy, which is none that has failed."""


def health(request: Request) -> JSONResponse:
    """200 when there is something to answer from and, if that is tried, search and generator work; 503 names what does not."""
    visitor = entrant(request)  # which courses there are is nobody else's business, and trying costs time
    try:
        config = Config.load()
        told, ready = _told(config, visitor is not None, visitor is not None and visitor.staff and "probe" in request.query_params)
    except LecternError as e:
        _LOG.warning("health: %s", e)
        told, ready = {"status": "unavailable", "reason": type(e).__name__}, False
    return JSONResponse(told, 200 if ready else 503)


def _told(config: Config, admitted: bool, probe: bool) -> tuple[dict[str, Any], bool]:
    courses = _filled_courses(config)
    told: dict[str, Any] = {"status": "ready" if courses else "empty"}
    if not (admitted and courses):
        return told, bool(courses)
    told["courses"] = {course.name: course.chunks for course in courses}
    engine = state.load_engine(config) if probe else state.engine_if_loaded(config)
    told["load"] = asdict(engine.admission.load) if engine else None
    if not probe:
        return told, True
    assert engine is not None
    told["probe"] = dict(_TRIED.of(engine, lambda: _try(engine, courses[0])))
    if engine.chat_model is None and config.generator != NONE:
        told["probe"]["token_ms"] = "it could not be loaded"
    works = not any(isinstance(ms, str) and ms != BUSY for ms in told["probe"].values())
    if not works:
        told["status"] = "degraded"
    return told, works


class _Tried:
    """What the last probe came to: one at a time, and none sooner than KEPT_S after another. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: weakref.ref[Engine] | None = None
        self._at = 0.0
        self._told: dict[str, Any] = {}

    def of(self, engine: Engine, probe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was told of this engine not long ago, else what `probe` tells; nobody waits for a probe of another."""
        if not self._lock.acquire(blocking=False):
            return {"search_ms": BUSY, "token_ms": BUSY}
        try:
            if self._engine is None or self._engine() is not engine or time.monotonic() - self._at > KEPT_S:
                self._told = probe()
                self._engine, self._at = weakref.ref(engine), time.monotonic()
            return self._told
        finally:
            self._lock.release()


_TRIED = _Tried()


def _try(engine: Engine, course: Course) -> dict[str, Any]:
    return {
        "search_ms": _timed(lambda: _search(engine, course)),
        "token_ms": _timed(lambda: _generate(engine)) if engine.chat_model is not None else None,
    }


def _filled_courses(config: Config) -> list[Course]:
    store = Store.open(config.store)
    try:
        return [course for course in store.courses() if course.chunks]
    finally:
        store.close()


def _timed(work: Callable[[], None]) -> float | str:
    """Milliseconds that it took, or the kind of error that ended it."""
    began = time.perf_counter()
    try:
        work()
    except LecternError as e:
        _LOG.warning("health: %s", e)
        return type(e).__name__
    return round(1000 * (time.perf_counter() - began), 1)


def _search(engine: Engine, course: Course) -> None:
    try:
        engine.searcher.search(course.title or course.name, Scope(course.name))
    finally:
        engine.searcher.store.close()


def _generate(engine: Engine) -> None:
    """A token, in the queue like every question.

    Raises:
        GeneratorBusy: as many wait as may, or the turn does not come in time.
    """
    assert engine.chat_model is not None
    with engine.admission.ticket("health") as ticket:
        latest = time.monotonic() + TURN_S
        while ticket.wait() is not None:
            if time.monotonic() > latest:
                raise GeneratorBusy(f"no turn within {TURN_S:g} s")
        for _ in stream_chat(engine.chat_model, [HumanMessage("Say yes.")], [], Decoding(max_new_tokens=1)):
            pass
