"""Retrieval before the question: while a reader reads an answer, what the suggested questions would find is searched and kept for a while.

Who then asks one of them gets the very same answer, without the time that searching takes; the stage `prepared` says so. Only retrieval
is prepared: it takes some tens of milliseconds, generating takes seconds, and most suggestions are never asked. One thread an engine does
it, one question after the other, and only while nobody computes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rag.answer_cache import RevisionCache
from rag.errors import LecternError
from rag.evidence import Evidence, select_evidence, word_weights
from rag.interpret import Interpreted
from rag.lane import COMPUTE_LANE
from rag.retrieve import Searcher, check_question
from rag.timing import Stopwatch
from rag.types import Hit, Scope, Turn

MOST_QUESTIONS = 5
"""Prepared for one asker at a time."""
MOST_ASKERS = 32
"""Who wait for their questions to be prepared; the one who has waited longest goes without."""
PATIENCE_S = 10.0
"""How long the cores may be in use by others before an asker's questions are given up: by then he has read the answer."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is found for a question: how it was understood, its vector `(d,) float32` of norm 1, the hits, best first."""

    asked: Interpreted
    query: np.ndarray
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What an answer is made from: all that is known before the gate."""

    search: Search
    weights: Mapping[str, float]
    """Of the question's words, as `word_weights` gives them."""
    evidence: tuple[Evidence, ...]


def search_for(question: str, scope: Scope, history: Sequence[Turn], searcher: Searcher, watch: Stopwatch) -> Search:
    """Understands a question and searches for it."""
    with watch.stage("understand"):
        asked = searcher.interpret(question, scope, history)
    with watch.stage("embed"):
        query = searcher.embedder.embed_query(asked.text)
    hits = searcher.search(asked, scope, watch=watch, query=None if asked.meaning else query)
    return Search(asked, query, tuple(hits))


def weigh(search: Search, scope: Scope, searcher: Searcher, sources: int, watch: Stopwatch) -> Retrieval:
    """The statements of the best `sources` hits that may answer."""
    with watch.stage("evidence"):
        weights = word_weights(search.asked.text, searcher.store, scope.course, search.asked.language)
        return Retrieval(search, weights, tuple(select_evidence(search.query, search.hits[:sources], weights, searcher.embedder)))


@dataclass(slots=True)
class _Request:
    """Questions that one asker may ask next."""

    questions: deque[str]
    scope: Scope
    history: tuple[Turn, ...]
    searcher: Searcher
    sources: int
    is_stopped: bool = field(default=False)
    asked: Hashable = field(init=False)
    """What it was made of, to know it again."""

    def __post_init__(self) -> None:
        self.asked = (tuple(self.questions), self.scope, self.history, self.searcher, self.sources)


class Prepared:
    """Retrievals kept for questions that may be asked, and the thread that makes them. Safe to share between threads.

    Whatever changes in the store drops them all, as with `AnswerCache`: at the next question, within half a minute without one.

    Args:
        longest: retrievals kept; 0: none are made.
    """

    def __init__(self, longest: int = 0) -> None:
        self.kept: RevisionCache[Retrieval] = RevisionCache(longest)
        self._waiting: OrderedDict[str, _Request] = OrderedDict()
        self._current: tuple[str, _Request] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._searching = threading.Lock()
        """Held while a searcher is in use: it may not be closed meanwhile."""

    def prepare(
        self, questions: Sequence[str], scope: Scope, searcher: Searcher, sources: int, history: Sequence[Turn] = (), asker: str = ""
    ) -> None:
        """Has the questions prepared in the background, in place of those that this asker still waits for; if they are the same, nothing
        begins again.

        Args:
            sources: passages that an answer may draw on.
            history: as it will be when one of them is asked.
        """
        if not self.kept.longest or not questions:
            return
        request = _Request(deque(questions[:MOST_QUESTIONS]), scope, tuple(history), searcher, sources)
        with self._lock:
            if self._is_closed or self._is_in_work(asker, request):
                return
            self._stop(asker)
            self._waiting[asker] = request
            while len(self._waiting) > MOST_ASKERS:
                self._waiting.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prepare", daemon=True)
                self._thread.start()

    def stop(self, asker: str) -> None:
        """Prepares no more for an asker, who asks something. Of one who leaves nobody hears: his few questions are still prepared."""
        with self._lock:
            self._stop(asker)

    def close(self) -> None:
        """Prepares nothing more and forgets what was prepared; a search in work is waited for. Then the searcher may be closed."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            if self._current is not None:
                self._current[1].is_stopped = True
        with self._searching:
            self.kept.clear()

    def find(
        self, question: str, settled: Scope, history: Sequence[Turn], searcher: Searcher, sources: int, revision: int
    ) -> Retrieval | None:
        """What was prepared for a question, if the materials are still the same.

        Args:
            question: as `check_question` leaves it.
            settled: the scope as `Store.settle` leaves it.
        """
        return self.kept.find(_key(question, settled, history, searcher, sources), revision)

    def wait(self) -> None:
        """Returns when nothing is being prepared."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _is_in_work(self, asker: str, request: _Request) -> bool:
        of_asker = [self._waiting.get(asker)]
        if self._current is not None and self._current[0] == asker and not self._current[1].is_stopped:
            of_asker.append(self._current[1])
        return any(one is not None and one.asked == request.asked for one in of_asker)

    def _stop(self, asker: str) -> None:
        self._waiting.pop(asker, None)
        if self._current is not None and self._current[0] == asker:
            self._current[1].is_stopped = True

    def _run(self) -> None:
        try:
            while (request := self._next()) is not None:
                if not COMPUTE_LANE.wait_until_idle(PATIENCE_S):
                    request.questions.clear()
                elif not request.is_stopped and request.questions:
                    self._prepare(request.questions.popleft(), request)
        finally:
            with self._lock:
                if self._thread is threading.current_thread():  # an error has ended it
                    self._thread = self._current = None
                    self._waiting.clear()

    def _next(self) -> _Request | None:
        """Whose turn it is: askers go round, a question each. None ends the thread."""
        with self._lock:
            if self._current is not None:
                asker, request = self._current
                self._current = None
                if request.questions and not request.is_stopped:
                    self._waiting[asker] = request
            if not self._waiting:
                self._thread = None
                return None
            self._current = self._waiting.popitem(last=False)
            return self._current[1]

    def _prepare(self, question: str, request: _Request) -> None:
        searcher = request.searcher
        store = searcher.store
        try:
            question = check_question(question, searcher.config.question_characters)
            revision = store.revision()
            key = _key(question, store.settle(request.scope), request.history, searcher, request.sources)
            if self.kept.find(key, revision) is not None:
                return
            watch = Stopwatch()
            with self._searching:
                if request.is_stopped:
                    return
                search = search_for(question, request.scope, request.history, searcher, watch)
            if request.is_stopped or not COMPUTE_LANE.wait_until_idle(PATIENCE_S):
                return
            with self._searching:
                if request.is_stopped:
                    return
                retrieval = weigh(search, request.scope, searcher, request.sources, watch)
                if searcher.sees(revision):
                    self.kept.keep(key, revision, retrieval, store)
        except (LecternError, sqlite3.Error):  # whoever asks the question meets it too, and is told
            request.questions.clear()
        finally:
            store.close()  # this thread's connection


def _key(question: str, settled: Scope, history: Sequence[Turn], searcher: Searcher, sources: int) -> Hashable:
    """All that a retrieval depends on, beside the state of the store."""
    return question, settled, tuple(history), searcher.config, sources
