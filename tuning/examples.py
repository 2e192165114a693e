"""Golden questions to what every fit learns from: the passages that our own retriever finds for a question, and what each of them answers.

What a model meets while it is fitted is thus what it meets later: chunks as they were cut, in the order and with the near misses of the
search. Hard negatives need no mining of their own.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ingest.pipeline import ingest_course
from rag.config import NONE, Config
from rag.embed import Embedder
from rag.errors import LecternError
from rag.evidence import statement_spans
from rag.golden import Golden, read_questions
from rag.retrieve import Searcher
from rag.store import Store
from rag.text import fold
from rag.types import Passage, Scope
from tuning.rule_questions import rule_questions

CANDIDATES = 20
"""Passages of an example: as many as the reader reads of a question."""
QUESTIONS = "questions.jsonl"
CORPUS = "corpus"
FEWEST_SHARED = 5
"""Words at either end of a quote: a passage that holds them may answer in part, and is no example of one that does not."""
MOST_OF_A_TEXT = 0.8
FEWEST_GROUPS = 5
"""Of which whole ones are held out. Of fewer, one is a large share of the examples, or all of a kind."""
LINE_EVERY_S = 15.0
"""While documents are indexed and questions are searched for."""
CATEGORIES_WITHOUT_SPAN = frozenset({"yesno", "list", "reason", "summary"})
"""Their short answers are said of the quote; they do not stand in it."""

_WORD = re.compile(r"\w+")
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LabelledPassage:
    """A passage found for a question. `spans` are the characters of `text` that answer it: one of them, where there are several.

    `hole` is what must go for the passage to answer no more; None where that leaves nothing to read.
    """

    context: str
    text: str
    answers: bool
    relevant: bool
    spans: tuple[Span, ...] = ()
    hole: Span | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A question with the passages found for it, best first. None of them answers one that the materials do not answer.

    `group` is what a split must not tear apart: questions on the same documents would tell each other's answers. It is a course, or one of
    its documents where every question of the course is about one: the same by whatever path the folder was named.
    """

    question: str
    passages: tuple[LabelledPassage, ...]
    answers: tuple[str, ...]
    category: str
    group: str
    by_rule: bool = False


class Unusable(StrEnum):
    """Why a question is no example, worded to follow a count."""

    NO_QUOTE = "without a quote"
    NOT_IN_DOCUMENTS = "whose quote stands in no passage of its document"
    NOT_FOUND = f"whose passage is not among the first {CANDIDATES} found"
    NOTHING_FOUND = "for which no passage was found that certainly does not answer"


class Split(NamedTuple):
    """Examples to fit on, those held out, and in words how these were chosen."""

    fit: list[Example]
    validate: list[Example]
    how: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """A golden question and where it is asked: in a course of the store."""

    golden: Golden
    course: str
    group: str
    is_by_rule: bool


def read_examples(
    folders: Sequence[Path],
    store: Path,
    embedder: Embedder,
    config: Config,
    by_rule: Sequence[Path] = (),
    notify: Callable[[str], None] = lambda _: None,
) -> list[Example]:
    """The examples of course folders, each with its `questions.jsonl` and its documents beside it or in `corpus/`.

    Args:
        store: a folder for the documents of any courses, indexed; kept, so that a second run embeds nothing.
        by_rule: folders whose questions are made from their documents (`tuning.rule_questions`); one may be among `folders`, too.
        notify: told, a line each, how it goes, and how many questions cannot be used for which reasons.

    Raises:
        LecternError: a folder has no questions, or none of them could be used.
    """
    config = config.replace(hits=CANDIDATES, passage_tokens=0, hits_per_document=0, collapse_duplicates=False, reranker=NONE, reader=NONE)
    catalogue, tell = Store.create(store / store_name(embedder)), _at_intervals(notify)
    asked = _read_courses(folders, by_rule, catalogue, embedder, config, tell)
    with closing(Searcher(catalogue, embedder, config)) as searcher:
        made: list[Example | Unusable] = []
        for one in asked:
            made.append(_example(one, searcher))
            tell(f"{len(made):,} of {len(asked):,} questions searched for")
    examples = [one for one in made if isinstance(one, Example)]
    if left_out := Counter(one for one in made if isinstance(one, Unusable)):
        reasons = ", ".join(f"{left_out[reason]:,} {reason}" for reason in Unusable if reason in left_out)
        notify(f"{left_out.total():,} of {len(asked):,} questions cannot be learnt from: {reasons}")
    if not examples:
        named = ", ".join(map(str, (*folders, *by_rule)))
        raise LecternError(f"no question of {named} can be used; expected quotes that stand in the documents")
    return examples


def _read_courses(
    folders: Sequence[Path], by_rule: Sequence[Path], store: Store, embedder: Embedder, config: Config, tell: Callable[[str], None]
) -> list[_Asked]:
    """The questions of each folder, its documents brought into the store. A folder that is named twice is read once."""
    named = {(folder.resolve(), is_by_rule): folder for is_by_rule, several in ((False, folders), (True, by_rule)) for folder in several}
    found: list[tuple[str, Golden, bool]] = []
    for number, ((_, is_by_rule), folder) in enumerate(named.items(), 1):
        questions = [] if is_by_rule else read_questions(folder / QUESTIONS)
        documents = folder / CORPUS if (folder / CORPUS).is_dir() else folder
        course, at = course_name(documents), f"course {number:,} of {len(named):,}"

        def progress(done: int, count: int, _: str, at: str = at) -> None:
            tell(f"{at}: {done:,} of {count:,} documents read and indexed")

        ingest_course(documents, store, embedder, config, name=course, progress=progress)
        tell(f"{at}: indexed")
        found += [(course, golden, is_by_rule) for golden in (rule_questions(store, course) if is_by_rule else questions)]
    whole = {course for course, golden, _ in found if not golden.scope}
    return [
        _Asked(golden, course, course if course in whole else f"{course}/{golden.scope}", is_by_rule)
        for course, golden, is_by_rule in found
    ]


def store_name(embedder: Embedder) -> str:
    """Of the folder with the store for one revision of an embedder: a store holds vectors of one."""
    model, revision = embedder.identity
    return f"{Path(model).name}-{_short_hash(f'{model} {revision}')}"


def course_name(documents: Path) -> str:
    """What the course of a folder is called in the store: the same wherever it is named from, and no other's."""
    place = documents.resolve()
    shown = place.parent.name if place.name == CORPUS else place.name
    return f"{shown}-{_short_hash(str(place))}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def _at_intervals(notify: Callable[[str], None]) -> Callable[[str], None]:
    """Hands a line on when some time has gone by since the last; lines between are not told."""
    last = time.monotonic()

    def tell(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            notify(line)

    return tell


def split(examples: Sequence[Example], share: float, seed: int) -> Split:
    """To fit on and to validate on. Of `FEWEST_GROUPS` groups or more whole ones are held out, of fewer some questions of each.

    Examples by rule never validate; those of a group that is held out are left out altogether.

    Args:
        share: of the examples that are not by rule, for validation.

    Raises:
        LecternError: there is nothing to hold out, or nothing would be left.
    """
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        if not example.by_rule:
            groups.setdefault(example.group, []).append(number)
    kind = "documents" if any("/" in group for group in groups) else "courses"
    drawn = random.Random(seed)
    left_out: set[int] = set()
    if len(groups) >= FEWEST_GROUPS:
        chosen = _whole_groups(groups, share, drawn)
        held = {number for group in chosen for number in groups[group]}
        left_out = {number for number, one in enumerate(examples) if one.by_rule and one.group in chosen}
        how = f"whole {kind} held out: {len(chosen):,} of {len(groups):,}"
        how += f"; {len(left_out):,} questions by rule on them are left out" if left_out else ""
    else:
        held = {number for members in groups.values() for number in _some_of_each_kind(examples, members, share, drawn)}
        how = "questions held out from " + (f"each of {len(groups)} {kind}" if len(groups) > 1 else f"the only {kind[:-1]}")
    if not held:
        usable = sum(map(len, groups.values()))
        raise LecternError(f"{usable} questions that are not by rule are too few to hold some out; name course folders with --validate")
    fit = [one for number, one in enumerate(examples) if number not in held | left_out]
    return Split(fit, [examples[number] for number in sorted(held)], how)


def _whole_groups(groups: Mapping[str, Sequence[int]], share: float, drawn: random.Random) -> frozenset[str]:
    """Groups in any order, each where it brings their examples nearer to the share; at least one, and never all."""
    wanted = share * sum(map(len, groups.values()))
    order = drawn.sample(list(groups), len(groups))
    chosen: list[str] = []
    count = 0
    for group in order:
        if abs(count + len(groups[group]) - wanted) < abs(count - wanted) and len(chosen) < len(groups) - 1:
            chosen.append(group)
            count += len(groups[group])
    return frozenset(chosen or [min(order, key=lambda group: len(groups[group]))])


def _some_of_each_kind(examples: Sequence[Example], members: Sequence[int], share: float, drawn: random.Random) -> Iterator[int]:
    """The share of the answerable and of the unanswerable; of two or more of a kind at least one, and never all."""
    for is_answerable in (True, False):
        kind = [number for number in members if any(one.answers for one in examples[number].passages) == is_answerable]
        if len(kind) > 1:
            yield from drawn.sample(kind, min(max(1, round(share * len(kind))), len(kind) - 1))


def _example(asked: _Asked, searcher: Searcher) -> Example | Unusable:
    """One where it is known which passages answer: a quote is given, and was found."""
    golden = asked.golden
    scope = Scope(asked.course, path=golden.scope, at="any")
    interpreted = searcher.interpret(golden.question, scope, golden.history)
    passages = [hit.passage for hit in searcher.search(interpreted, scope)]
    labelled = tuple(one for passage in passages if (one := label(passage, golden)) is not None)
    if golden.answerable and not any(one.answers for one in labelled):
        return _why_none_answers(asked, searcher.store)
    if not labelled:
        return Unusable.NOTHING_FOUND
    return Example(interpreted.text, labelled, golden.answers, golden.category, asked.group, asked.is_by_rule)


def _why_none_answers(asked: _Asked, store: Store) -> Unusable:
    quoted = [entry for entry in asked.golden.relevant if entry.get("quote")]
    if not quoted:
        return Unusable.NO_QUOTE
    scope = Scope(asked.course, at="any")
    sources = [(document.source, entry) for document in store.documents_in(scope) for entry in quoted if _is_of(document.source, entry)]
    stands = any(locate(one.chunk.text, entry["quote"]) for source, entry in sources for one in store.passages_of(scope, source))
    return Unusable.NOT_FOUND if stands else Unusable.NOT_IN_DOCUMENTS


def _is_of(source: str, entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a golden question names this document, by its path without suffix."""
    return Path(entry["source"]).with_suffix("") == Path(source).with_suffix("")


def label(passage: Passage, golden: Golden) -> LabelledPassage | None:
    """What a passage says to a golden question; None where that is uncertain: it holds part of a quote, or the answer elsewhere."""
    context, text = passage.chunk.context, passage.chunk.text
    if not golden.answerable:
        return LabelledPassage(context, text, answers=False, relevant=False)
    entries = [entry for entry in golden.relevant if entry.get("quote")]
    of_source = [entry["quote"] for entry in entries if _is_of(passage.source, entry)]
    quotes = [(quote, at) for quote in of_source for at in locate(text, quote)]
    if not quotes:
        shorts = [answer for answer in golden.answers if len(answer) > 3]
        is_uncertain = any(_begins_or_ends_in(text, entry["quote"]) for entry in entries) or any(locate(text, one) for one in shorts)
        return None if is_uncertain else LabelledPassage(context, text, answers=False, relevant=False)
    spans = tuple(sorted({span for quote, at in quotes for span in _answer_spans(text, quote, at, golden)}))
    return LabelledPassage(context, text, answers=True, relevant=True, spans=spans, hole=_hole(text, spans))


def locate(text: str, quote: str) -> list[Span]:
    """Every place where the words of a quote stand in the text one after the other, whatever stands between them that is no word."""
    wanted = [fold(word) for word in _WORD.findall(quote)]
    found = list(_WORD.finditer(text))
    there = [fold(match[0]) for match in found]
    if not wanted:
        return []
    last = len(wanted) - 1
    return [
        (found[at].start(), found[at + last].end())
        for at in range(len(there) - last)
        if there[at] == wanted[0] and there[at : at + len(wanted)] == wanted
    ]


def _answer_spans(text: str, quote: str, at: Span, golden: Golden) -> Iterator[Span]:
    """The first of the answers that stands in the quote, else the quote."""
    if golden.category in CATEGORIES_WITHOUT_SPAN:
        yield at
        return
    start, end = at
    yield next(((start + s, start + e) for answer in golden.answers for s, e in locate(text[start:end], answer)), at)


def _begins_or_ends_in(text: str, quote: str) -> bool:
    every = _WORD.findall(quote)
    return any(
        len(part) == FEWEST_SHARED and bool(locate(text, " ".join(part))) for part in (every[:FEWEST_SHARED], every[-FEWEST_SHARED:])
    )


def _hole(text: str, spans: Sequence[Span]) -> Span | None:
    """The statements that hold the spans, where they are no more than most of the text."""
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    around = [span for span in statement_spans(text) if span[0] < last and span[1] > first]
    start, end = min([first, *(s for s, _ in around)]), max([last, *(e for _, e in around)])
    return (start, end) if end - start <= MOST_OF_A_TEXT * len(text) else None
