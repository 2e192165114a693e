"""The whole read flow: understand → retrieve → gate → prompt → generate → ground → Answer.

`stream_answer` yields what a page can show at once and ends with the finished `Answer`. When the evidence is too weak it refuses; when no
generator is at hand, or too many are asking, it answers with the evidence itself, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace

from rag.composition import Composition
from rag.engine import Engine
from rag.events import Event, Found
from rag.evidence import Evidence, confidence, confidence_when_declined
from rag.prepared import Retrieval, search_for, weigh
from rag.refusal import refusal
from rag.retrieve import Searcher, check_question
from rag.screen import speaks_to_assistant
from rag.timing import Stopwatch
from rag.types import Answer, Hit, Scope, Source, Turn
from rag.writing import PASSING, write

NEAREST_SHOWN = 3
"""Passages shown beside a refusal."""


def answer(question: str, scope: Scope, engine: Engine, history: Sequence[Turn] = (), look: Callable[[], None] = lambda: None) -> Answer:
    """The finished answer; see `stream_answer`.

    Args:
        look: called at each event; what it raises ends the work.
    """
    with closing(stream_answer(question, scope, engine, history)) as events:
        for last in events:
            look()
            if isinstance(last, Answer):
                return last
    raise AssertionError("the stream ended without an answer")


def stream_answer(question: str, scope: Scope, engine: Engine, history: Sequence[Turn] = (), asker: str = "") -> Generator[Event]:
    """Answers a question from the passages in a scope: events as they come, the `Answer` last. Closing the iterator ends the work.

    Args:
        asker: whose question it is: askers take turns at the generator.

    Raises:
        QuestionError: the question is empty or too long.
        UnknownCourse: the scope names no course of the store.
    """
    watch = Stopwatch()
    engine.prepared.stop(asker)
    question = check_question(question, engine.config.question_characters)
    store = engine.searcher.store
    with watch.stage("cache"):
        revision = store.revision()
        settled = store.settle(scope)
        key = question, settled, tuple(history), engine.identity
        known = engine.cache.find(key, revision)
    if known is not None:
        yield replace(known, cached=True, latency=watch.latency())
        return
    ready = engine.prepared.find(question, settled, history, engine.searcher, engine.config.sources, revision)
    with closing(_answer_afresh(question, scope, engine, history, asker, watch, ready)) as events:
        for event in events:
            if isinstance(event, Answer) and PASSING.isdisjoint(event.notices) and engine.searcher.sees(revision):
                engine.cache.keep(key, revision, event, store)
            yield event


def _answer_afresh(
    question: str, scope: Scope, engine: Engine, history: Sequence[Turn], asker: str, watch: Stopwatch, ready: Retrieval | None
) -> Generator[Event]:
    config = engine.config
    searcher = engine.searcher
    if ready is None:
        search = search_for(question, scope, history, searcher, watch)
        yield Found(search.hits)
        retrieval = weigh(search, scope, searcher, config.sources, watch)
    else:
        with watch.stage("prepared"):
            retrieval, search = ready, ready.search
        yield Found(search.hits)
    asked, hits, weights = search.asked, search.hits, retrieval.weights
    with watch.stage("evidence"):
        evidence, screened = _screened(retrieval.evidence) if config.skip_instructions else (list(retrieval.evidence), [])
        sure = confidence(evidence)
    passages = [hit.passage for hit in hits[: config.sources]]
    draft = Composition(question, asked.text, sure, passages, config.unsupported, [*asked.notices, *screened], config.skip_instructions)
    if not evidence or sure < config.confidence_floor:
        yield _refusal(draft, hits, scope, searcher, watch)
        return
    yield from write(draft, evidence, engine, history if asked.leans else (), asked.language, watch, asker)
    if draft.declined:
        draft.confidence = confidence_when_declined(sure)
        if draft.confidence < config.confidence_floor:
            yield _refusal(draft, hits, scope, searcher, watch)
            return
    with watch.stage("ground"):
        draft.add_evidence(evidence, weights)
    yield draft.finished(watch)


def _screened(evidence: Sequence[Evidence]) -> tuple[list[Evidence], list[str]]:
    """The evidence without statements that speak to an assistant, and what a reader is told of these."""
    kept, files = [], []
    for one in evidence:
        if speaks_to_assistant(one.text, one.hit.passage.material):
            files.append(one.hit.passage.source)
        else:
            kept.append(one)
    named = ", ".join(dict.fromkeys(files))
    return kept, [f"instructions to the assistant stand in {named}; they were not followed and not taken for an answer"] if files else []


def _refusal(draft: Composition, hits: Sequence[Hit], scope: Scope, searcher: Searcher, watch: Stopwatch) -> Answer:
    """Says that the materials do not hold the answer and what was searched, with the nearest passages as sources."""
    draft.sources = [Source(n, hit.passage, "") for n, hit in enumerate(hits[:NEAREST_SHOWN], start=1)]
    documents = searcher.store.count_documents(searcher.store.settle(scope))
    return draft.finished(watch, refusal(scope, documents, bool(draft.sources)), abstained=True)
