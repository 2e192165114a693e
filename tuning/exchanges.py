"""Labelled passages to exchanges: what the generator is sent for a question, and what it should write.

The messages are made by what makes them when a reader asks (`rag.prompts`, `rag.context`, `rag.evidence`): the statements that answer among
the strongest that do not, in varied order, under the very words of the prompt. What should be written must be what may be shown: an answer
that `rag.ground` would not find held by those statements teaches the generator to write what is then left out. The materials' own words
stand in for it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage

from rag.config import Config
from rag.context import CountTokens, prompt_sources
from rag.embed import Embedder
from rag.evidence import Evidence, select_evidence, statement_spans
from rag.ground import ground, says_something
from rag.prompts import REFUSAL, Prompt, build_messages
from rag.text import content_words, sentence_spans, sentences, stem, words
from rag.types import Chunk, Hit, Location, LocationKind, Passage, Support
from tuning.examples import Example, LabelledPassage

STATEMENTS = {2: 1, 3: 3, 4: 1}
"""How many statements a prompt has, and how often: `Config.prompt_statements` (3) mostly."""
MOST_ANSWERING = 4
"""Statements that hold one answer, such as a list; an answer out of more is no short one."""
SECOND_SHARE = 0.3
"""How often a statement that answers too is given beside the first, where there is one."""
SHUFFLED_SHARE = 0.5
"""How often the order of the passages is drawn: the search mostly has the right one first, and the generator must not learn that alone."""
LONGEST_WORDS = 35
"""Of a sentence of the materials that is to be said again; a longer one is cut to the clause that answers."""
FEWEST_WORDS = 4
"""Fewer are a span and no sentence."""
CONCLUDED = frozenset({"yesno", "reason", "summary"})
"""Categories of questions whose answer follows from the materials' words and is not said by them."""

_CLAUSE = re.compile(r"\s*(?:[;—|]|:(?=\s)|\s[-–]\s|,\s+(?=(?:and|but|or|so|which|who|while|although|because|where|when|if|unless)\b))\s*")
_BORDER = " \t\n|*#•▪◦–-;,"
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Form:
    """How exchanges are made of examples."""

    refusals: float = 0.15
    """Share of the exchanges in which the phrase is the answer. With half of them a generator refused most of what has an answer."""
    held: bool = True
    """Whether an answer that the statements do not hold word by word gives way to their own words."""
    markers: bool = True
    """Whether the number of its source stands in the answer: `… on Friday [2].` No marker of the generator's is ever shown."""
    longest: int = 512
    """Tokens of a prompt; the weakest statements give way."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """`messages` are sent, `target` should come back; `answers` are the golden ones, none where the phrase is to come."""

    messages: tuple[BaseMessage, ...]
    target: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]

    @property
    def declines(self) -> bool:
        return not self.answers


def make_exchanges(
    examples: Sequence[Example], embedder: Embedder, config: Config, form: Form, count: CountTokens, seed: int
) -> list[Exchange]:
    """The exchanges of examples, those with an answer first.

    Questions without an answer are refused as they are; where they are too few for the wanted share, questions with one are asked once
    more, without the statements that answer.

    Args:
        count: tokens of a whole prompt in the generator's chat format.
    """
    maker = _Maker(embedder, config, form, count, random.Random(seed))
    answered = [made for example in examples if example.answers and (made := maker.answered(example)) is not None]
    wanted = round(form.refusals / (1 - form.refusals) * len(answered))
    without = [example for example in examples if not any(passage.answers for passage in example.passages)]
    with_one = [example for example in examples if any(passage.answers for passage in example.passages)]
    return answered + list(maker.declined(without, with_one, wanted))


@dataclass(frozen=True, slots=True)
class Answering:
    """An answer in a passage: its characters, and the statements that hold them, in order."""

    statements: Sequence[Evidence]
    span: Span

    @property
    def passage(self) -> Passage:
        """The passage with nothing but these statements."""
        whole, start, end = self.statements[0].hit.passage, self.statements[0].start, self.statements[-1].end
        return replace(whole, chunk=replace(whole.chunk, text=whole.chunk.text[start:end], start=start, end=end))


@dataclass(frozen=True, slots=True)
class _Maker:
    embedder: Embedder
    config: Config
    form: Form
    count: CountTokens
    dice: random.Random

    def answered(self, example: Example) -> Exchange | None:
        """The exchange that answers; None where no short text does, or no passage."""
        hits = self._hits(example)
        right = [found for hit, passage in hits for found in _answering(hit, passage)]
        if not right or len(right[0].statements) > MOST_ANSWERING:
            return None
        first = right[0].statements
        chosen = list(first)
        if len(right) > 1 and self.dice.random() < SECOND_SHARE and right[1].statements[0] not in first:
            chosen.append(right[1].statements[0])
        wrong = [one for one in self._strongest(example, hits) if not _is_among(one, right)]
        chosen += wrong[: max(0, self._statements() - len(chosen))]
        target = target_of(example, right[0], self.form.held)
        if target is None:
            return None
        chosen = self._ordered(chosen)
        messages = self._fitted(example.question, chosen, len(first))
        if messages is None:
            return None
        if self.form.markers:
            target = with_marker(target, source_number(chosen, chosen[0]))
        return Exchange(messages, target, example.question, example.answers, tuple(hit.passage for hit, _ in hits))

    def declined(self, without: Sequence[Example], with_one: Sequence[Example], wanted: int) -> Iterator[Exchange]:
        """At most `wanted` exchanges that refuse."""
        for example in (*self._shuffled(without), *self._shuffled(with_one)):
            if wanted <= 0:
                return
            hits = self._hits(example)
            right = [found for hit, passage in hits for found in _answering(hit, passage)]
            wrong = [one for one in self._strongest(example, hits) if not _is_among(one, right)]
            chosen = self._ordered(wrong[: self._statements()])
            messages = self._fitted(example.question, chosen, 1) if chosen else None
            if messages is not None:
                wanted -= 1
                yield Exchange(messages, REFUSAL, example.question, (), tuple(hit.passage for hit, _ in hits))

    def _shuffled(self, examples: Sequence[Example]) -> list[Example]:
        return self.dice.sample(list(examples), len(examples))

    def _statements(self) -> int:
        return self.dice.choices(list(STATEMENTS), list(STATEMENTS.values()))[0]

    def _hits(self, example: Example) -> list[tuple[Hit, LabelledPassage]]:
        """The passages that an answer may draw on, as the search would give them; the best one that answers is among them."""
        best = list(enumerate(example.passages))[: self.config.sources]
        if not any(passage.answers for _, passage in best):
            best[-1:] = [(at, passage) for at, passage in enumerate(example.passages) if passage.answers][:1] or best[-1:]
        return [(_hit(at, passage), passage) for at, passage in best]

    def _strongest(self, example: Example, hits: Sequence[tuple[Hit, LabelledPassage]]) -> list[Evidence]:
        """The statements that the pipeline would choose, the strongest first."""
        texts = [set(map(stem, content_words(passage.text))) for passage in example.passages]
        asked = dict.fromkeys(map(stem, content_words(example.question)))
        weights = {word: len(texts) / (1 + sum(word in text for text in texts)) for word in asked}
        query = self.embedder.embed_query(example.question)
        return select_evidence(query, [hit for hit, _ in hits], weights, self.embedder)

    def _ordered(self, chosen: Sequence[Evidence]) -> list[Evidence]:
        """The same statements, the order of their passages drawn or left."""
        if self.dice.random() >= SHUFFLED_SHARE:
            return list(chosen)
        ranks = sorted({one.hit.rank for one in chosen})
        drawn = dict(zip(ranks, self.dice.sample(ranks, len(ranks)), strict=True))
        return [replace(one, hit=replace(one.hit, rank=drawn[one.hit.rank])) for one in chosen]

    def _fitted(self, question: str, chosen: list[Evidence], fewest: int) -> tuple[BaseMessage, ...] | None:
        """The messages; statements are taken from the end of `chosen` until they fit. None where the first `fewest` do not."""
        prompt = Prompt.named(self.config.prompt, self.config.length, self.config.language)
        while True:
            messages = build_messages(question, prompt_sources(chosen), (), prompt)
            if self.count(messages) <= self.form.longest:
                return tuple(messages)
            if len(chosen) <= fewest:
                return None
            chosen.pop()


def target_of(example: Example, answering: Answering, held: bool) -> str | None:
    """What should be written: the golden answer, or the words of the materials that answer; None where neither is a short sentence.

    Args:
        held: whether the statements that answer must hold it: what others say the generator may not have been given.
    """
    golden = " ".join(example.answers[0].split())
    if (
        len(words(golden)) >= FEWEST_WORDS
        and golden.endswith((".", "!"))
        and (not held or _is_held(golden, answering.passage, example.question))
    ):
        return golden
    parts = [_own_words(one, answering.span) for one in answering.statements]
    if example.category in CONCLUDED or not all(parts):
        return None
    quoted = " ".join(parts)
    is_short = len(words(quoted)) <= 2 * LONGEST_WORDS
    return quoted if is_short and (not held or _is_held(quoted, answering.passage, example.question)) else None


def with_marker(text: str, number: int) -> str:
    """The text with a marker of its source before the full stop."""
    end = text[-1] if text.endswith((".", "!", "?")) else ""
    return f"{text.removesuffix(end)} [{number}]{end}"


def source_number(statements: Sequence[Evidence], one: Evidence) -> int:
    """The number under which a statement stands in the prompt."""
    return sorted({other.hit.rank for other in statements}).index(one.hit.rank) + 1


def _is_held(text: str, passage: Passage, question: str) -> bool:
    """Whether every sentence of a text would be shown."""
    return all(ground(one, [passage], question).support is Support.SUPPORTED for one in sentences(text))


def _own_words(one: Evidence, span: Span) -> str:
    """The sentences of a statement that hold a span, as running text; of a long one the clause in which the span begins. Empty where one
    of them is still long, or no sentence."""
    told = []
    text = one.hit.passage.chunk.text
    for start, end in sentence_spans(one.text):
        start, end = one.start + start, one.start + end
        if start >= span[1] or end <= span[0]:
            continue
        if len(words(text[start:end])) > LONGEST_WORDS:
            start, end = _clause(text, start, end, max(start, span[0]))
        plain = " ".join(text[start:end].split()).strip(_BORDER)
        if not (FEWEST_WORDS <= len(words(plain)) <= LONGEST_WORDS and says_something(plain)):
            return ""
        told.append(plain if plain.endswith((".", "!", "…")) else f"{plain}.")
    return " ".join(told)


def _clause(text: str, start: int, end: int, at: int) -> Span:
    """The clause of the sentence `text[start:end]` that a place lies in."""
    borders = [(match.start(), match.end()) for match in _CLAUSE.finditer(text, start, end)]
    return max([start, *(e for _, e in borders if e <= at)]), min([end, *(s for s, _ in borders if s > at)])


def _hit(at: int, passage: LabelledPassage) -> Hit:
    """A labelled passage as the search gives it. Its score falls with its place, as the fused one does."""
    chunk = Chunk(passage.text, 0, len(passage.text), Location(LocationKind.LINE, 1), passage.context)
    return Hit(Passage(at, "", str(at), "", chunk), at + 1, max(0.0, 1 - at / 10))


def _answering(hit: Hit, passage: LabelledPassage) -> Iterator[Answering]:
    """For each answer in a passage the statements that hold it."""
    statements = list(statement_spans(passage.text))
    for start, end in passage.spans if passage.answers else ():
        found = [Evidence(hit, s, e, 0.0, 0.0) for s, e in statements if s < end and e > start]
        if found:
            yield Answering(found, (start, end))


def _is_among(one: Evidence, right: Sequence[Answering]) -> bool:
    """Whether a statement is one of those that answer."""
    answering = [other for each in right for other in each.statements]
    return any(one.hit.passage.chunk_id == other.hit.passage.chunk_id and one.start == other.start for other in answering)
