"""The whole read flow: understand → retrieve → gate → prompt → generate → ground → Answer.

`stream_answer` yields what a page can show at once and ends with the finished `Answer`. When the evidence is too weak it refuses; when no
generator is at hand it answers with the evidence itself, and says so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk

from rag.config import MARK, REPLACE, Config
from rag.errors import GeneratorUnavailable
from rag.evidence import Evidence, confidence, quoted_statements, select_evidence, word_weights
from rag.generate import load_chat_model, stream_chat
from rag.ground import Grounding, adds_nothing, ground, says_something, without_lead_in
from rag.markers import stable_prefix, without_markers
from rag.prompts import STOP, build_messages
from rag.refusal import refusal
from rag.retrieve import Searcher, check_question
from rag.text import sentence_spans, sentences, words
from rag.timing import Stopwatch
from rag.types import Answer, Hit, Mode, Passage, Scope, Sentence, Source, Support, Turn

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


Event = Found | Draft | Written | Answer


@dataclass(frozen=True, slots=True)
class Engine:
    """What answering needs, loaded once and shared by all askers."""

    searcher: Searcher
    chat_model: BaseChatModel | None
    config: Config

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
        return cls(searcher, chat_model, config)


def answer(question: str, scope: Scope, engine: Engine, history: Sequence[Turn] = ()) -> Answer:
    """The finished answer; see `stream_answer`."""
    *_, last = stream_answer(question, scope, engine, history)
    assert isinstance(last, Answer)
    return last


def stream_answer(question: str, scope: Scope, engine: Engine, history: Sequence[Turn] = ()) -> Iterator[Event]:
    """Answers a question from the passages in a scope: events as they come, the `Answer` last. Closing the iterator ends the work.

    Raises:
        QuestionError: the question is empty or too long.
        UnknownCourse: the scope names no course of the store.
    """
    watch = Stopwatch()
    config = engine.config
    question = check_question(question, config.question_characters)
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
        sure = confidence(evidence)
    passages = [hit.passage for hit in hits[: config.sources]]
    draft = _Composition(question, standalone, sure, passages, config.unsupported, list(asked.notices))
    if not evidence or sure < config.confidence_floor:
        yield _refusal(draft, hits, scope, searcher, watch)
        return
    if engine.chat_model is not None:
        try:
            yield from _generate(draft, evidence, engine, history, watch)
        except GeneratorUnavailable as e:
            # The reader is told what happened; addresses and paths are for the log.
            _LOG.warning("the generator could not answer: %s", e)
            draft.notices.append("the generator could not answer; these are the materials' own words")
            draft.sentences.clear()
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
    mode: Mode = Mode.EXTRACTIVE
    sentences: list[Sentence] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
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
            dropped=tuple(self.dropped),
        )


def _refusal(draft: _Composition, hits: Sequence[Hit], scope: Scope, searcher: Searcher, watch: Stopwatch) -> Answer:
    """Says that the materials do not hold the answer and what was searched, with the nearest passages as sources."""
    draft.sources = [Source(n, hit.passage, "") for n, hit in enumerate(hits[:NEAREST_SHOWN], start=1)]
    documents = searcher.store.count_documents(searcher.store.settle(scope))
    return draft.finished(watch, refusal(scope, documents, bool(draft.sources)), abstained=True)


def _generate(
    draft: _Composition, evidence: Sequence[Evidence], engine: Engine, history: Sequence[Turn], watch: Stopwatch
) -> Iterator[Event]:
    """Streams the generator's answer; sentences that are not supported well enough are left out."""
    assert engine.chat_model is not None
    with watch.stage("prompt"):
        messages = build_messages(draft.question, _prompt_sources(evidence, engine), history)
    draft.mode = Mode.GENERATED
    unfinished = ""
    with closing(stream_chat(engine.chat_model, messages, STOP, engine.config.decoding)) as chunks:
        for chunk in _timed(chunks, watch):
            _count_tokens(draft, chunk)
            with watch.stage("ground"):
                complete, unfinished = _complete_sentences(unfinished + chunk.text)
                added = [_ground_into(draft, sentence) for sentence in complete]
            if any(added):
                yield draft.written()
            if len(draft.sentences) >= engine.config.answer_sentences or is_looping(unfinished):
                return
            yield Draft(stable_prefix(unfinished))
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
    """The chunks, with the wait for the first booked as queue and prefill, for the others as decode."""
    with watch.stage("prefill"):
        chunk = next(chunks, None)
        if chunk is not None:
            watch.move("prefill", "queue", chunk.response_metadata.get("queue_s", 0.0))
    while chunk is not None:
        yield chunk
        with watch.stage("decode"):
            chunk = next(chunks, None)


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
    draft.add(sentence, grounding)
    return True


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


def _prompt_sources(evidence: Sequence[Evidence], engine: Engine) -> list[tuple[int, str, str]]:
    """The strongest statements within the context budget, grouped by passage, in reading order."""
    chosen: list[Evidence] = []
    budget = engine.config.context_tokens
    for one, tokens in zip(evidence, engine.searcher.embedder.count_tokens([one.text for one in evidence]), strict=True):
        if len(chosen) == engine.config.prompt_statements or (chosen and tokens > budget):
            break
        chosen.append(one)
        budget -= tokens
    by_passage: dict[int, list[Evidence]] = {}
    for one in sorted(chosen, key=lambda one: (one.hit.rank, one.start)):
        by_passage.setdefault(one.hit.passage.chunk_id, []).append(one)
    return [
        (n, statements[0].hit.passage.chunk.context, " ".join(one.text for one in statements))
        for n, statements in enumerate(by_passage.values(), start=1)
    ]


def _count_tokens(draft: _Composition, chunk: AIMessageChunk) -> None:
    if usage := chunk.usage_metadata:
        draft.prompt_tokens += usage["input_tokens"]
        draft.completion_tokens += usage["output_tokens"]
