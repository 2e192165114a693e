"""The whole read flow: understand → retrieve → gate → prompt → generate → ground → Answer.

`stream_answer` yields what a page can show at once and ends with the finished `Answer`. When the evidence is too weak it refuses; when no
generator is at hand, or too many are asking, it answers with the evidence itself, and says so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage

from rag.admission import TICK_S, Admission, Ticket
from rag.answer_cache import AnswerCache
from rag.config import BUNDLED, MARK, REPLACE, Config
from rag.context import estimate_tokens, fit_prompt
from rag.errors import GeneratorBusy, GeneratorUnavailable, OutOfTime
from rag.evidence import Evidence, confidence, quoted_statements, select_evidence, word_weights
from rag.generate import context_length, load_chat_model, prompt_tokens, stream_chat
from rag.ground import Grounding, adds_nothing, ground, says_something, without_lead_in
from rag.markers import stable_prefix, without_markers
from rag.prompts import AUTO, STOP, Prompt, language_name
from rag.refusal import refusal
from rag.retrieve import Searcher, check_question
from rag.screen import holds_links, speaks_to_assistant, without_foreign_links
from rag.text import sentence_spans, sentences, words
from rag.timing import Stopwatch
from rag.types import Answer, Hit, Mode, Passage, Scope, Sentence, Source, Support, Turn, Waiting

_LOG = logging.getLogger("lectern")

NEAREST_SHOWN = 3
"""Passages shown beside a refusal."""


@dataclass(frozen=True, slots=True)
class Found:
    """Retrieval has finished: the passages, best first."""

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The sentence being written, so far and as shown: not yet checked, replaced by what follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The checked sentences so far."""

    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]


Event = Waiting | Found | Draft | Written | Answer

FAILED = "the generator could not answer; these are the materials' own words"
BUSY = "many are asking now; these are the materials' own words"
LATE = "the time for an answer was up; these are the materials' own words"
CUT = "the time for an answer was up; it ends early"
PASSING = frozenset({FAILED, BUSY, LATE, CUT})
"""Notices of answers that would be better another time: those are never kept to be given again."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What answering needs, loaded once and shared by all askers."""

    searcher: Searcher
    chat_model: BaseChatModel | None
    config: Config
    admission: Admission = field(default_factory=Admission)
    cache: AnswerCache = field(default_factory=AnswerCache)

    @classmethod
    def from_config(cls, config: Config, notify: Callable[[str], None] = _LOG.warning) -> Engine:
        """Everything the config names. A generator that cannot be had is a notice, not an error: answers are then extractive.

        Args:
            notify: told, in a sentence, of whatever is missing or had to be repaired, now or later.
        """
        searcher = Searcher.from_config(config, notify)
        try:
            chat_model = load_chat_model(config)
        except GeneratorUnavailable as e:
            chat_model = None
            notify(f"answers are extractive: {e}")
        admission = Admission(config.generation_slots, config.waiting)
        return cls(searcher, chat_model, config, admission, AnswerCache(config.cached_answers))

    @property
    def identity(self) -> Hashable:
        """What, beside question, scope and history, an answer depends on."""
        model = self.chat_model
        return self.config, None if model is None else (model._llm_type, repr(model._identifying_params))


def answer(question: str, scope: Scope, engine: Engine, history: Sequence[Turn] = ()) -> Answer:
    """The finished answer; see `stream_answer`."""
    *_, last = stream_answer(question, scope, engine, history)
    assert isinstance(last, Answer)
    return last


def stream_answer(question: str, scope: Scope, engine: Engine, history: Sequence[Turn] = (), asker: str = "") -> Generator[Event]:
    """Answers a question from the passages in a scope: events as they come, the `Answer` last. Closing the iterator ends the work.

    Args:
        asker: whose question it is: askers take turns at the generator.

    Raises:
        QuestionError: the question is empty or too long.
        UnknownCourse: the scope names no course of the store.
    """
    watch = Stopwatch()
    question = check_question(question, engine.config.question_characters)
    store = engine.searcher.store
    with watch.stage("cache"):
        revision = store.revision()
        key = question, store.settle(scope), tuple(history), engine.identity
        known = engine.cache.find(key, revision)
    if known is not None:
        yield replace(known, cached=True, latency=watch.latency())
        return
    with closing(_answer_afresh(question, scope, engine, history, asker, watch)) as events:
        for event in events:
            if isinstance(event, Answer) and PASSING.isdisjoint(event.notices) and _searched(engine.searcher, revision):
                engine.cache.keep(key, revision, event, store)
            yield event


def _searched(searcher: Searcher, revision: int) -> bool:
    """Whether searches see the vectors of this revision of the store: just after a change the older ones are used for a moment."""
    return searcher.snapshots.current().generation.revision == revision


def _answer_afresh(question: str, scope: Scope, engine: Engine, history: Sequence[Turn], asker: str, watch: Stopwatch) -> Generator[Event]:
    config = engine.config
    searcher = engine.searcher
    with watch.stage("understand"):
        asked = searcher.interpret(question, scope, history)
    standalone = asked.text
    with watch.stage("embed"):
        query = searcher.embedder.embed_query(standalone)
    hits = searcher.search(asked, scope, watch=watch, query=None if asked.meaning else query)
    yield Found(tuple(hits))
    with watch.stage("evidence"):
        weights = word_weights(standalone, searcher.store, scope.course, asked.language)
        evidence = select_evidence(query, hits[: config.sources], weights, searcher.embedder)
        evidence, screened = _screened(evidence) if config.skip_instructions else (evidence, [])
        sure = confidence(evidence)
    passages = [hit.passage for hit in hits[: config.sources]]
    draft = _Composition(question, standalone, sure, passages, config.unsupported, [*asked.notices, *screened], config.skip_instructions)
    if not evidence or sure < config.confidence_floor:
        yield _refusal(draft, hits, scope, searcher, watch)
        return
    unwritten = _unwritten_language(asked.language, engine)
    if unwritten:
        draft.notices.append(unwritten)
    if engine.chat_model is not None and not unwritten:
        try:
            yield from _generate_in_turn(draft, evidence, engine, history if asked.leans else (), watch, asker)
        except OutOfTime:
            draft.notices.append(CUT if draft.sentences else LATE)
        except GeneratorBusy:
            draft.notices.append(BUSY)
        except GeneratorUnavailable as e:
            # The reader is told what happened; addresses and paths are for the log.
            _LOG.warning("the generator could not answer: %s", e)
            draft.notices.append(FAILED)
            draft.sentences.clear()
        if not draft.sentences and config.language not in (AUTO, asked.language or "en"):
            draft.notices.append(
                f"an answer in {language_name(config.language)} could not be checked against the materials; these are their own words"
            )
    with watch.stage("ground"):
        _add_evidence(draft, evidence, weights)
    yield draft.finished(watch)


@dataclass(slots=True)
class _Composition:
    """An answer in the making: sentences are added, each with its source numbered when it is first cited."""

    question: str
    standalone: str
    confidence: float
    passages: list[Passage]
    unsupported: str
    """What becomes of generated sentences that are not supported: see `Config.unsupported`."""
    notices: list[str] = field(default_factory=list)
    skips_instructions: bool = True
    mode: Mode = Mode.EXTRACTIVE
    sentences: list[Sentence] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    prompt: tuple[Turn, ...] = ()
    prompt_parts: dict[str, int] = field(default_factory=dict)
    dropped: list[Sentence] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, text: str, grounding: Grounding) -> None:
        """Adds a sentence of the generator's."""
        cited = () if grounding.passage is None else (self._number(grounding.passage, grounding.quote),)
        self.sentences.append(Sentence(text, grounding.support, cited))

    def quote(self, evidence: Evidence) -> None:
        """Adds a statement of the materials."""
        number = self._number(evidence.hit.passage, evidence.text)
        self.sentences.append(Sentence(_as_sentence(evidence.text), Support.SUPPORTED, (number,), quoted=True))

    def _number(self, passage: Passage, quote: str) -> int:
        for source in self.sources:
            if source.passage.chunk_id == passage.chunk_id and source.quote == quote:
                return source.n
        self.sources.append(Source(len(self.sources) + 1, passage, quote))
        return len(self.sources)

    def rests_on(self, evidence: Evidence) -> bool:
        """Whether the answer already has a sentence that this statement holds."""
        return any(source.passage.chunk_id == evidence.hit.passage.chunk_id and evidence.text in source.quote for source in self.sources)

    def written(self) -> Written:
        return Written(tuple(self.sentences), tuple(self.sources))

    def finished(self, watch: Stopwatch, text: str | None = None, abstained: bool = False) -> Answer:
        return Answer(
            question=self.question,
            standalone=self.standalone,
            text=" ".join(sentence.text for sentence in self.sentences) if text is None else text,
            abstained=abstained,
            confidence=self.confidence,
            mode=self.mode,
            sentences=tuple(self.sentences),
            sources=tuple(self.sources),
            latency=watch.latency(),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            notices=tuple(self.notices),
            prompt=self.prompt,
            prompt_parts=self.prompt_parts,
            dropped=tuple(self.dropped),
        )


def _refusal(draft: _Composition, hits: Sequence[Hit], scope: Scope, searcher: Searcher, watch: Stopwatch) -> Answer:
    """Says that the materials do not hold the answer and what was searched, with the nearest passages as sources."""
    draft.sources = [Source(n, hit.passage, "") for n, hit in enumerate(hits[:NEAREST_SHOWN], start=1)]
    documents = searcher.store.count_documents(searcher.store.settle(scope))
    return draft.finished(watch, refusal(scope, documents, bool(draft.sources)), abstained=True)


def _generate_in_turn(
    draft: _Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn], watch: Stopwatch, asker: str
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
        yield from _generate(draft, evidence, engine, history, watch, deadline)


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


def _generate(
    draft: _Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn], watch: Stopwatch, deadline: float
) -> Iterator[Event]:
    """Streams the generator's answer; sentences that are not supported well enough are left out."""
    assert engine.chat_model is not None
    with watch.stage("prompt"):
        messages = _fit_prompt(draft, evidence, engine, history)
    draft.mode = Mode.GENERATED
    unfinished = ""
    known = " ".join(passage.chunk.text for passage in draft.passages).lower()
    with closing(stream_chat(engine.chat_model, messages, STOP, engine.config.decoding)) as chunks:
        for chunk in _in_time(_timed(chunks, watch), engine, deadline):
            _count_tokens(draft, chunk)
            with watch.stage("ground"):
                complete, unfinished = _complete_sentences(unfinished + chunk.text)
                added = [_ground_into(draft, sentence) for sentence in complete]
            if any(added):
                yield draft.written()
            if len(draft.sentences) >= engine.config.answer_sentences or is_looping(unfinished):
                return
            yield Draft(without_foreign_links(stable_prefix(unfinished), known))
    with watch.stage("ground"):
        rest = sentences(without_markers(unfinished))
        if rest and draft.completion_tokens >= engine.config.decoding.max_new_tokens and not rest[-1].endswith((".", "!", "…")):
            rest.pop()  # cut off amid a sentence
        for sentence in rest:
            _ground_into(draft, sentence)
    yield draft.written()


def is_looping(text: str, length: int = 6) -> bool:
    """Whether the last words of a text have stood in it before: greedy decoding never leaves such a loop."""
    every = words(text)
    tail = every[-length:]
    return len(tail) == length and any(every[start : start + length] == tail for start in range(len(every) - length))


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


def _complete_sentences(text: str) -> tuple[list[str], str]:
    """The sentences of a streamed text that are surely complete (another has begun), and the rest."""
    clean = without_markers(text)
    spans = list(sentence_spans(clean))
    if len(spans) < 2:
        return [], text
    return [clean[start:end] for start, end in spans[:-1]], clean[spans[-1][0] :]


def _ground_into(draft: _Composition, sentence: str) -> bool:
    """Adds the sentence if it is supported and says something that was not said already."""
    sentence = without_lead_in(sentence)
    if not says_something(sentence) or adds_nothing(sentence, [earlier.text for earlier in draft.sentences], draft.standalone):
        return False
    grounding = ground(sentence, draft.passages, draft.standalone)
    if grounding.support is not Support.SUPPORTED and draft.unsupported != MARK:
        draft.dropped.append(Sentence(sentence, grounding.support))
        return False
    material = grounding.passage.material if grounding.passage else None
    speaks = draft.skips_instructions and any(speaks_to_assistant(text, material) for text in (sentence, grounding.quote))
    if speaks or not holds_links(sentence, grounding.quote):
        draft.dropped.append(Sentence(sentence, Support.UNSUPPORTED))
        return False
    draft.add(sentence, grounding)
    return True


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


def _add_evidence(draft: _Composition, evidence: Sequence[Evidence], weights: Mapping[str, float]) -> None:
    """Quotes the statements where nothing else is left to show, the answer then being extractive; otherwise the strongest one, where the
    answer does not rest on it already and is to have it."""
    quoted = quoted_statements(evidence, weights, draft.standalone)
    if not draft.sentences:
        draft.mode = Mode.EXTRACTIVE
        draft.sources.clear()
        for one in quoted:
            draft.quote(one)
    elif not draft.rests_on(evidence[0]):
        is_supported = any(sentence.support is Support.SUPPORTED for sentence in draft.sentences)
        if draft.unsupported == REPLACE or not is_supported:
            draft.quote(quoted[0])


def _as_sentence(statement: str) -> str:
    """A statement of the materials as running text: its label before a colon, no line breaks, no list marker."""
    labelled = re.sub(r"(?<=[^\s:])\s*\n\s*\n\s*(?:[-*•]\s+)?", ": ", statement)
    return re.sub(r"^[-*•]\s+|^#+\s+", "", " ".join(labelled.split()))


def _fit_prompt(draft: _Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn]) -> list[BaseMessage]:
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
    draft.prompt = tuple(Turn(_ROLES[message.type], message.text) for message in fitted.messages)
    draft.prompt_parts = fitted.tokens
    draft.notices += fitted.notices
    return list(fitted.messages)


_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


def _unwritten_language(asked: str | None, engine: Engine) -> str:
    """What a reader is told where the answer cannot be written in the language that is wanted; empty where it can.

    Args:
        asked: the question's language, where it is known.
    """
    wanted = asked if engine.config.language == AUTO else engine.config.language
    is_bundled = engine.config.generator == BUNDLED and not engine.config.base_url
    if engine.chat_model is None or not is_bundled or wanted in (None, "en"):
        return ""
    return f"the bundled generator writes English only, not {language_name(wanted)}; these are the materials' own words"


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


def _count_tokens(draft: _Composition, chunk: AIMessageChunk) -> None:
    if usage := chunk.usage_metadata:
        draft.prompt_tokens += usage["input_tokens"]
        draft.completion_tokens += usage["output_tokens"]
