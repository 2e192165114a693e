"""The generator's part of an answer: its turn, its prompt, its stream, and what a reader is told where any of these fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing

from langchain_core.messages import AIMessageChunk, BaseMessage

from rag.admission import TICK_S, Ticket
from rag.composition import Composition, complete_sentences, is_looping
from rag.config import BUNDLED, Config
from rag.context import estimate_tokens, fit_prompt
from rag.engine import Engine
from rag.errors import GeneratorBusy, GeneratorUnavailable, OutOfTime
from rag.events import Draft, Event
from rag.evidence import Evidence
from rag.generate import context_length, is_loaded, load, prompt_tokens, stream_chat
from rag.markers import stable_prefix, without_markers
from rag.prompts import AUTO, STOP, Prompt, as_turns, language_name
from rag.refusal import declines, may_decline
from rag.screen import without_foreign_links
from rag.text import sentences
from rag.timing import Stopwatch
from rag.types import Mode, Turn, Waiting

_LOG = logging.getLogger("lectern")

FAILED = "the generator could not answer; these are the materials' own words"
BUSY = "many are asking now; these are the materials' own words"
LATE = "the time for an answer was up; these are the materials' own words"
CUT = "the time for an answer was up; it ends early"
PASSING = frozenset({FAILED, BUSY, LATE, CUT})
"""Notices of answers that would be better another time: those are never kept to be given again."""


def write(
    draft: Composition,
    evidence: Sequence[Evidence],
    engine: Engine,
    history: Sequence[Turn],
    language: str | None,
    watch: Stopwatch,
    asker: str,
) -> Iterator[Event]:
    """Adds the generator's sentences to an answer. Whatever keeps it from writing is a notice: the materials then speak for themselves.

    Args:
        history: what the question leans on.
        language: the question's, where it is known.
    """
    if engine.chat_model is None:
        return
    if unwritten := _unwritten_language(language, engine.config):
        draft.notices.append(unwritten)
        return
    try:
        yield from _write_in_turn(draft, evidence, engine, history, watch, asker)
    except OutOfTime:
        draft.notices.append(CUT if draft.sentences else LATE)
    except GeneratorBusy:
        draft.notices.append(BUSY)
    except GeneratorUnavailable as e:
        # The reader is told what happened; addresses and paths are for the log.
        _LOG.warning("the generator could not answer: %s", e)
        draft.notices.append(FAILED)
        draft.sentences.clear()
    wanted = engine.config.language
    if not draft.sentences and wanted not in (AUTO, language or "en"):
        draft.notices.append(f"an answer in {language_name(wanted)} could not be checked against the materials; these are their own words")


def _write_in_turn(
    draft: Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn], watch: Stopwatch, asker: str
) -> Iterator[Event]:
    """Waits for a slot of the generator, told where in line, then streams its answer.

    Raises:
        GeneratorBusy: the queue is full.
        OutOfTime: the deadline came first.
    """
    deadline = engine.admission.clock() + engine.config.deadline_s
    with engine.admission.ticket(asker) as ticket:
        while (waiting := _wait(ticket, engine, deadline, watch)) is not None:
            yield waiting
        yield from _write(draft, evidence, engine, history, watch, deadline)


def _wait(ticket: Ticket, engine: Engine, deadline: float, watch: Stopwatch) -> Waiting | None:
    with watch.stage("queue"):
        left_s = deadline - engine.admission.clock()
        if left_s <= 0:
            raise OutOfTime(f"no slot of the generator was free within {engine.config.deadline_s:g} s")
        return ticket.wait(min(TICK_S, left_s))


def _in_time(chunks: Iterator[AIMessageChunk], engine: Engine, deadline: float) -> Iterator[AIMessageChunk]:
    for chunk in chunks:
        if engine.admission.clock() >= deadline:
            raise OutOfTime(f"the answer was not finished within {engine.config.deadline_s:g} s")
        yield chunk


def _write(
    draft: Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn], watch: Stopwatch, deadline: float
) -> Iterator[Event]:
    """Streams the generator's answer; sentences that are not supported well enough are left out."""
    assert engine.chat_model is not None
    if not is_loaded(engine.chat_model):
        with watch.stage("load"):
            load(engine.chat_model)
    with watch.stage("prompt"):
        messages = _fit_prompt(draft, evidence, engine, history)
    draft.mode = Mode.GENERATED
    unfinished = ""
    said: set[str] = set()
    known = " ".join(passage.chunk.text for passage in draft.passages).lower()
    with closing(stream_chat(engine.chat_model, messages, STOP, engine.config.decoding)) as chunks:
        for chunk in _in_time(_timed(chunks, watch), engine, deadline):
            draft.count(chunk)
            with watch.stage("ground"):
                complete, unfinished = complete_sentences(unfinished + chunk.text)
                begun = complete[0] if complete else unfinished if unfinished.endswith(".") else ""
                if not said and declines(begun):
                    draft.decline()
                    return
                repeats = not said.isdisjoint(complete)
                added = [draft.take(sentence) for sentence in complete if sentence not in said]
                said.update(complete)
            if any(added):
                yield draft.written()
            if repeats or len(draft.sentences) >= engine.config.answer_sentences or is_looping(unfinished):
                return
            is_held_back = not said and may_decline(unfinished)  # an empty draft still shows that the generator is at it
            yield Draft("" if is_held_back else without_foreign_links(stable_prefix(unfinished), known))
    with watch.stage("ground"):
        rest = sentences(without_markers(unfinished))
        if not said and rest and declines(rest[0]):
            draft.decline()
            return
        if rest and draft.completion_tokens >= engine.config.decoding.max_new_tokens and not rest[-1].endswith((".", "!", "…")):
            rest.pop()  # cut off amid a sentence
        for sentence in rest:
            draft.take(sentence)
    yield draft.written()


def _timed(chunks: Iterator[AIMessageChunk], watch: Stopwatch) -> Iterator[AIMessageChunk]:
    """The chunks, with the wait for the first text booked as queue and prefill, for the others as decode. Empty ones only show that the
    generator is still at it.
    """
    stage = "prefill"
    while True:
        with watch.stage(stage):
            chunk = next(chunks, None)
        if chunk is None:
            return
        if queue_s := chunk.response_metadata.get("queue_s", 0.0):
            watch.move(stage, "queue", queue_s)
        yield chunk
        if chunk.text:
            stage = "decode"


def _fit_prompt(draft: Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn]) -> list[BaseMessage]:
    """The messages for the generator, kept with the answer; what did not fit is told.

    Args:
        history: what the question leans on; a question that leans on nothing is given as it stands by itself.
    """
    assert engine.chat_model is not None
    model, config = engine.chat_model, engine.config

    def count(messages: Sequence[BaseMessage]) -> int:
        return prompt_tokens(model, messages) or estimate_tokens(messages)

    fitted = fit_prompt(
        draft.question if history else draft.standalone,
        _strongest(evidence, engine),
        history,
        Prompt.named(config.prompt, config.length, config.language),
        count,
        longest=context_length(model, config) - config.max_new_tokens,
        history_tokens=config.history_tokens,
    )
    draft.prompt = as_turns(fitted.messages)
    draft.prompt_parts = fitted.tokens
    draft.notices += fitted.notices
    return list(fitted.messages)


def _strongest(evidence: Sequence[Evidence], engine: Engine) -> list[Evidence]:
    """The strongest statements within the context budget."""
    chosen: list[Evidence] = []
    budget = engine.config.context_tokens
    for one, tokens in zip(evidence, engine.searcher.embedder.count_tokens([one.text for one in evidence]), strict=True):
        if len(chosen) == engine.config.prompt_statements or (chosen and tokens > budget):
            break
        chosen.append(one)
        budget -= tokens
    return chosen


def _unwritten_language(asked: str | None, config: Config) -> str:
    """What a reader is told where the answer cannot be written in the language that is wanted; empty where it can.

    Args:
        asked: the question's language, where it is known.
    """
    wanted = asked if config.language == AUTO else config.language
    if config.generator != BUNDLED or config.base_url or wanted in (None, "en"):
        return ""
    return f"the bundled generator writes English only, not {language_name(wanted)}; these are the materials' own words"
