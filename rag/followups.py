"""Questions to ask next, and to begin with: guessed by rule from the headings near what was cited and from what was asked. No model.

What is near is likely to be next: the sections before and after a cited one, then the documents of the same week and the next lecture. Only
what the scope sees is looked at. `rag/headings.py` words the questions; documents without headings give the things that they define.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice, zip_longest

from rag.headings import bare_heading, is_generic, question_about, rule_question
from rag.records import StoredDocument
from rag.screen import speaks_to_assistant
from rag.store import Store
from rag.text import STOPWORDS, content_stems, sentences, words
from rag.types import Answer, LocationKind, Passage, Scope, Source, Turn

FEWEST_WORDS = 30
"""Of a section that can be expected to answer a question about it."""
REACH = 6
"""Sections before and after a cited one that are looked at."""
DOCUMENTS_READ = 10
"""Of a kind, for the first questions: spread over the course."""
OTHER_DOCUMENTS = 3
"""Of the same week, and next lectures, that are looked at after an answer."""

LECTURES = frozenset({"lecture notes", "slides", "transcript"})
PARTS = frozenset({"assignment", "lab"})
RULES = frozenset({"syllabus", "faq"})
NEVER = frozenset({"solution"})
"""Materials that no question is made of: a heading of a solution may give it away."""

_PART_NAME = re.compile(r"\b(?:assignment|homework|lab|problem set)\s*#?\d{1,2}\b|\b(?:final |term )?project\b", re.IGNORECASE)
_NUMBERED_LINE = re.compile(r"^\d{1,2}(?:\.\d{1,2})? [A-Z“\"][^\n.=|?]{3,70}$", re.MULTILINE)
_TITLE_LINE = re.compile(r"^(?:[A-Z][^\W\d]+|AI)(?: (?:[A-Z][\w'’/-]*|of|and|the|for|in|to|on|&)){0,5}:?$(?=\n[^\n]{40})", re.MULTILINE)
_ASKED_LINE = re.compile(r"^(?:\*\*)?Q[:.]\s*(?P<question>[^?]{8,140}\?)", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:An?\s+|The\s+)?(?P<term>[^\W\d_][\w-]*(?: [\w-]+){0,3}?) (?:is|are) (?:an?|the|defined as) \w")


@dataclass(frozen=True, slots=True)
class Topic:
    """A section and the question about it; `first` and `last` are the ordinals of the passages it stands in."""

    question: str
    heading: str
    first: int
    last: int
    text: str
    is_rule: bool
    is_guess: bool
    """Whether the heading was only taken for one."""

    @property
    def is_defined(self) -> bool:
        """Whether the section says what the thing is that its heading names."""
        named = re.escape(bare_heading(self.heading))
        return bool(re.search(rf"\b{named}\b[^.\n]{{0,60}}\s(?:is|are|means?|denotes|is called)\s", self.text, re.IGNORECASE))


@dataclass(frozen=True, slots=True)
class _Section:
    heading: str
    first: int
    last: int
    text: str
    is_guess: bool = False


def suggest_followups(answer: Answer, history: Sequence[Turn], scope: Scope, store: Store, count: int = 3) -> list[str]:
    """Up to `count` questions that may come next, the likeliest first; none is about a cited section or was asked before.

    Args:
        history: the messages before the answer's question.
        scope: the question's.
    """
    documents = {one.source: one for one in store.documents_in(scope) if one.material not in NEVER}
    asked = [answer.question, answer.standalone, *(turn.content for turn in history if turn.role == "user")]
    near: list[Iterator[Topic]] = []
    for source, cited in groupby(sorted(answer.sources, key=_by_document), key=_by_document):
        if source in documents:
            sections = _sections(store.passages_of(scope, source))
            places = sorted({_place(one, sections) for one in cited} - {-1})
            if not answer.abstained:
                asked += [bare_heading(sections[place].heading) for place in places]
            near.append(_around(sections, places, documents[source], with_own=answer.abstained))
            near.append(_elsewhere(documents[source], documents, scope, store))
    # Around every cited document first: what stands elsewhere is a guess of the second order.
    return _distinct((topic.question for topic in chain(_in_turns(near[::2]), _in_turns(near[1::2]))), asked, count)


def suggest_first_questions(store: Store, scope: Scope, count: int = 3) -> list[str]:
    """Up to `count` questions to begin with: in turn of the lectures, of assignments or labs, and of the rules, where there are such."""
    documents = [one for one in store.documents_in(scope) if one.material not in NEVER]
    parts = [one for one in documents if one.material in PARTS]
    rules = [one for one in documents if one.material in RULES]
    lectures = [one for one in documents if one.material in LECTURES]
    lectures = lectures or [one for one in documents if one.material not in PARTS | RULES]
    kinds = [_openings(_spread(lectures), scope, store), _openings(_spread(parts), scope, store), _openings(_spread(rules), scope, store)]
    return _distinct((topic.question for topic in _in_turns(kinds)), (), count)


def _by_document(source: Source) -> str:
    return source.passage.source


def _in_turns(kinds: Sequence[Iterable[Topic]]) -> Iterator[Topic]:
    for ring in zip_longest(*kinds):
        yield from (topic for topic in ring if topic is not None)


def _distinct(questions: Iterable[str], asked: Iterable[str], count: int) -> list[str]:
    """The first `count` of the questions that ask something else than those before them and those that were asked."""
    told = [content_stems(question) for question in asked]
    return list(islice(_new_ones(questions, told), count))  # no more are made than are wanted: each takes its section's text


def _new_ones(questions: Iterable[str], told: list[frozenset[str]]) -> Iterator[str]:
    for question in questions:
        about = content_stems(question) - _FORM
        if about and not any(about <= other for other in told):
            told.append(about)
            yield question


_FORM = content_stems("work explain difference between rules know happens use course have do I") - frozenset({"cours"})
"""What the wording of a question adds to the words of its heading."""


# --- near an answer


def _around(sections: Sequence[_Section], places: Sequence[int], document: StoredDocument, with_own: bool) -> Iterator[Topic]:
    """The topics beside the cited sections: next, before, the one after next, and so on."""
    seen = set() if with_own else {*places}
    for distance in range(0 if with_own else 1, REACH + 1):
        for place in (place + step for place in places for step in ({distance, -distance} if distance == 0 else (distance, -distance))):
            if place in seen or not 0 <= place < len(sections):
                continue
            seen.add(place)
            if topic := _topic(sections[place], document):
                yield topic


def _elsewhere(document: StoredDocument, documents: Mapping[str, StoredDocument], scope: Scope, store: Store) -> Iterator[Topic]:
    """Topics of other documents of the same lecture or week, then of the next lecture."""
    others = [one for one in documents.values() if one.source != document.source and one.material not in RULES]
    beside = [one for one in others if _shares(one.lecture, document.lecture) or _shares(one.week, document.week)]
    ahead = [one for one in others if one.material not in PARTS and 0 <= _number(document) < _number(one)]
    ahead.sort(key=lambda one: (_number(one), one.source))
    for other in list(dict.fromkeys(one.source for one in [*beside, *ahead]))[:OTHER_DOCUMENTS]:
        yield from islice(topics_of(documents[other], scope, store), 2)


def _number(document: StoredDocument) -> int:
    """Of its lecture, else of its week; -1 where it has none."""
    return next((number for number in (document.lecture, document.week) if number is not None), -1)


def _shares(one: int | None, other: int | None) -> bool:
    return one is not None and one == other


def _place(source: Source, sections: Sequence[_Section]) -> int:
    """Which section a source stands in; -1 where there is none: its document was read anew meanwhile, or has no headings there."""
    ordinal, quote = source.passage.ordinal, " ".join(source.quote.split())[:60]
    there = [number for number, one in enumerate(sections) if one.first <= ordinal <= one.last]
    quoted = [number for number in there if quote and quote in " ".join(sections[number].text.split())]
    before = [number for number, one in enumerate(sections) if one.last < ordinal]
    return next(iter([*quoted, *there, *reversed(before)]), -1)


# --- to begin with


def _openings(documents: Iterable[StoredDocument], scope: Scope, store: Store) -> Iterator[Topic]:
    """The best topic of each document, then the next best ones."""
    ranked = [topics for one in documents if (topics := sorted(topics_of(one, scope, store), key=_eagerness))]
    ranked.sort(key=lambda topics: topics[0].is_guess)
    yield from _in_turns(ranked)


def _eagerness(topic: Topic) -> tuple[bool, bool, bool, int]:
    """Rules of an assignment or course first, then real headings, then what is defined; of each kind the longest sections."""
    return not topic.is_rule, topic.is_guess, not topic.is_defined, -min(len(topic.text.split()), 300)


def _spread(documents: Sequence[StoredDocument]) -> list[StoredDocument]:
    """At most `DOCUMENTS_READ` of the documents, from all over the course, in the order of lectures and weeks where these are known."""
    ordered = sorted(documents, key=lambda one: (_number(one) < 0, _number(one), one.source))
    count = min(DOCUMENTS_READ, len(ordered))
    chosen = [ordered[(2 * number + 1) * len(ordered) // (2 * count)] for number in range(count)]
    return chosen[count // 2 :] + chosen[: count // 2]


# --- the sections of a document


def topics_of(document: StoredDocument, scope: Scope, store: Store) -> Iterator[Topic]:
    """The sections of a document that a question can be made of, in reading order."""
    for section in _sections(store.passages_of(scope, document.source)):
        if topic := _topic(section, document):
            yield topic


def _topic(section: _Section, document: StoredDocument) -> Topic | None:
    """The section as a topic, if its heading makes a question and it is long enough to answer one. What speaks to an assistant is never
    offered: a question that is clicked is sent to the model as the reader's own."""
    if len(words(section.text)) < FEWEST_WORDS or speaks_to_assistant(section.heading, document.material):
        return None
    part = _part_name(document)
    question = question_about(section.heading, section.text, document.language, part)
    is_rule = bool(rule_question(bare_heading(section.heading), part))
    if question is None or not (part or is_rule == (document.material in RULES) or section.heading.endswith("?")):
        return None
    return Topic(question, section.heading, section.first, section.last, section.text, is_rule, section.is_guess)


def _part_name(document: StoredDocument) -> str:
    """What an assignment or the like is called inside a sentence: `assignment 1`, `the final project`."""
    named = _PART_NAME.search(document.title) if document.material in PARTS else None
    if named is None:
        return ""
    return f"the {named[0].lower()}" if "project" in named[0].lower() else named[0].lower()


def _sections(passages: Sequence[Passage]) -> list[_Section]:
    """The sections of a document in reading order: by heading path, by headings on its pages, by questions, by what it defines; without
    any of these the whole document under its title.
    """
    found: list[_Section] = []
    for heading, group in groupby(passages, key=lambda passage: passage.chunk.location.heading):
        run = list(group)
        if heading:
            found.append(_Section(heading[-1], run[0].ordinal, run[-1].ordinal, _text(run)))
        for passage in run:
            found += _inside(passage, bool(heading))
    if not found and passages:
        return [_Section(passages[0].title, passages[0].ordinal, passages[-1].ordinal, _text(passages))]
    return found


def _text(passages: Sequence[Passage]) -> str:
    return "\n".join(passage.chunk.text for passage in passages)


def _inside(passage: Passage, has_heading: bool) -> Iterator[_Section]:
    """Sections that begin inside a passage: at lines that are headings of a page, at questions of an FAQ, at definitions."""
    text, place = passage.chunk.text, (passage.ordinal, passage.ordinal)
    is_page = passage.chunk.location.kind is LocationKind.PAGE
    pattern = _NUMBERED_LINE if has_heading else _TITLE_LINE
    starts = list(pattern.finditer(text)) if is_page and not (has_heading and is_generic(passage.chunk.location.heading[-1])) else []
    ends = [*(one.start() for one in starts[1:]), len(text)][: len(starts)]
    for start, end in zip(starts, ends, strict=True):
        yield _Section(start[0].rstrip(":"), *place, text[start.start() : end], is_guess=not has_heading)
    asked = [] if has_heading else list(_ASKED_LINE.finditer(text))
    for one in asked:
        yield _Section(" ".join(one["question"].split()), *place, text[one.start() :])
    if not (has_heading or starts or asked) and passage.chunk.location.kind in (LocationKind.LINE, LocationKind.TIME):
        for term, sentence in defined_terms(text):
            yield _Section(term, *place, text[text.index(sentence) :], is_guess=True)


def defined_terms(text: str) -> Iterator[tuple[str, str]]:
    """What a text defines, each with the sentence that does: `A page table is a …` defines `page table`."""
    for sentence in sentences(text):
        if (defined := _DEFINITION.match(sentence)) and _is_term(defined["term"]):
            yield defined["term"], sentence


def _is_term(term: str) -> bool:
    every = words(term)
    return not {*every} & STOPWORDS and not is_generic(term) and len(term) > 3
