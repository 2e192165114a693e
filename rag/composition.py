"""An answer in the making: which sentences it takes, what each of them stands on, what is left out. Knows no generator and no search."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessageChunk

from rag.config import MARK, REPLACE
from rag.events import Written
from rag.evidence import Evidence, quoted_statements
from rag.ground import Grounding, adds_nothing, ground, says_something, without_lead_in, without_verdict
from rag.markers import without_markers
from rag.screen import holds_links, speaks_to_assistant
from rag.text import sentence_spans, words
from rag.timing import Stopwatch
from rag.types import Answer, Mode, Passage, Sentence, Source, Support, Turn


@dataclass(slots=True)
class Composition:
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
    declined: bool = False
    """Whether the generator wrote the refusal phrase."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0

    def take(self, sentence: str) -> bool:
        """Adds a sentence of the generator's if it is supported and says something that was not said already; tells whether it did."""
        sentence = without_lead_in(sentence)
        if not says_something(sentence) or adds_nothing(sentence, [earlier.text for earlier in self.sentences], self.standalone):
            return False
        if self.unsupported != MARK:
            sentence = without_verdict(sentence)
        grounding = ground(sentence, self.passages, self.standalone)
        if not self._is_harmless(sentence, grounding):
            return False
        if grounding.support is not Support.SUPPORTED and self.unsupported != MARK:
            self.dropped.append(Sentence(sentence, grounding.support))
            return False
        self._add(sentence, grounding)
        return True

    def decline(self) -> None:
        """The generator refuses: nothing of what it wrote is shown."""
        self.declined, self.mode = True, Mode.EXTRACTIVE

    def _is_harmless(self, sentence: str, grounding: Grounding) -> bool:
        """Whether a sentence may be shown at all, if only as left out: it has no address of its own and gives no orders to an assistant."""
        material = grounding.passage.material if grounding.passage else None
        speaks = self.skips_instructions and any(speaks_to_assistant(text, material) for text in (sentence, grounding.quote))
        return not speaks and holds_links(sentence, grounding.quote)

    def add_evidence(self, evidence: Sequence[Evidence], weights: Mapping[str, float]) -> None:
        """Quotes the statements where nothing else is left to show, the answer then being extractive; otherwise the strongest one, where
        the answer does not rest on it already and is to have it."""
        quoted = quoted_statements(evidence, weights, self.standalone)
        if not self.sentences:
            self.mode = Mode.EXTRACTIVE
            self.sources.clear()
            for one in quoted:
                self._quote(one)
        elif not self._rests_on(evidence[0]):
            is_supported = any(sentence.support is Support.SUPPORTED for sentence in self.sentences)
            if self.unsupported == REPLACE or not is_supported:
                self._quote(quoted[0])

    def count(self, chunk: AIMessageChunk) -> None:
        """Adds the tokens that a chunk of the generator's tells."""
        if usage := chunk.usage_metadata:
            self.prompt_tokens += usage["input_tokens"]
            self.completion_tokens += usage["output_tokens"]
        self.reused_tokens += chunk.response_metadata.get("reused_tokens", 0)

    def _add(self, text: str, grounding: Grounding) -> None:
        cited = () if grounding.passage is None else (self._number(grounding.passage, grounding.quote),)
        self.sentences.append(Sentence(text, grounding.support, cited))

    def _quote(self, evidence: Evidence) -> None:
        """Adds a statement of the materials."""
        number = self._number(evidence.hit.passage, evidence.text)
        self.sentences.append(Sentence(_as_sentence(evidence.text), Support.SUPPORTED, (number,), quoted=True))

    def _number(self, passage: Passage, quote: str) -> int:
        for source in self.sources:
            if source.passage.chunk_id == passage.chunk_id and source.quote == quote:
                return source.n
        self.sources.append(Source(len(self.sources) + 1, passage, quote))
        return len(self.sources)

    def _rests_on(self, evidence: Evidence) -> bool:
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
            reused_tokens=self.reused_tokens,
            notices=tuple(self.notices),
            prompt=self.prompt,
            prompt_parts=self.prompt_parts,
            dropped=tuple(self.dropped),
        )


def complete_sentences(text: str) -> tuple[list[str], str]:
    """The sentences of a streamed text that are surely complete (another has begun), and the rest."""
    clean = without_markers(text)
    spans = list(sentence_spans(clean))
    if len(spans) < 2:
        return [], text
    return [clean[start:end] for start, end in spans[:-1]], clean[spans[-1][0] :]


def is_looping(text: str, length: int = 6) -> bool:
    """Whether the last words of a text have stood in it before: greedy decoding never leaves such a loop."""
    every = words(text)
    tail = every[-length:]
    return len(tail) == length and any(every[start : start + length] == tail for start in range(len(every) - length))


def _as_sentence(statement: str) -> str:
    """A statement of the materials as running text: its label before a colon, no line breaks, no list marker."""
    labelled = re.sub(r"(?<=[^\s:])\s*\n\s*\n\s*(?:[-*•]\s+)?", ": ", statement)
    return re.sub(r"^[-*•]\s+|^#+\s+", "", " ".join(labelled.split()))
