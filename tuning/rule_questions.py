"""Questions made by rule from a course's own documents: from headings, from sentences that define something, from tables.

A course without golden questions can be learnt from all the same. What is made is worded stiffly and its answers are the first sentences of
sections, so that it teaches where things are told and what a definition looks like more than what an exact answer is; `docs/tuning.md`
tells what it was worth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from rag.followups import defined_terms, topics_of
from rag.golden import Golden
from rag.headings import question_about
from rag.records import StoredDocument
from rag.store import Store
from rag.text import content_stems, sentences, words
from rag.types import Passage, Scope

FEWEST_WORDS, MOST_WORDS = 6, 60
"""Of a sentence that may stand for its section."""
MOST_ROWS = 4
"""Of a table that are asked about."""
MOST_CELL_WORDS = 12
MOST_NAME_WORDS = 5
"""Of what a column or a row is called."""

_CELL_BORDER = re.compile(r"\s*\|\s*")
_RULE_LINE = re.compile(r"[\s|:+=-]+")
_MARKUP = re.compile(r"[`*_]{1,3}(?=\w)|(?<=\w)[`*_]{1,3}")


def rule_questions(store: Store, course: str) -> list[Golden]:
    """The questions of a course, each with the places that answer it; one question about several places has them all."""
    scope = Scope(course, at="any")
    made: dict[str, Golden] = {}
    for document in store.documents_in(scope):
        passages = store.passages_of(scope, document.source)
        for golden in (
            *_of_sections(document, passages, scope, store),
            *_of_definitions(document, passages),
            *_of_tables(document, passages),
        ):
            before = made.get(golden.question)
            made[golden.question] = golden if before is None else replace(before, relevant=(*before.relevant, *golden.relevant))
    return list(made.values())


def _golden(document: StoredDocument, question: str, category: str, answer: str, quotes: list[str]) -> Golden:
    relevant = tuple({"source": document.source, "quote": quote} for quote in quotes)
    return Golden(f"{document.source}: {question}", question, True, (answer,), relevant, category=category)


def _of_sections(document: StoredDocument, passages: list[Passage], scope: Scope, store: Store) -> Iterator[Golden]:
    """The question of each section's heading; its answers are the sentences that open the section and each passage of it."""
    for topic in topics_of(document, scope, store):
        inside = [passage.chunk.text for passage in passages if topic.first <= passage.ordinal <= topic.last]
        about = content_stems(topic.heading)
        quotes = [quote for text in inside if (quote := _telling(text, topic.text, about))]
        if quotes:
            yield _golden(document, topic.question, "section", quotes[0], quotes)


def _telling(text: str, section: str, about: frozenset[str]) -> str:
    """The sentence of a passage that speaks most of what the section is about, the first of equals; empty where there is none."""
    able = [one for one in sentences(text) if _is_plain(one) and one in section]
    return max(able, key=lambda one: len(about & content_stems(one)), default="")


def _is_plain(sentence: str) -> bool:
    """Whether it is a sentence of prose: neither heading nor row, nor one that only opens what follows."""
    is_told = sentence.endswith((".", "!")) and not sentence.startswith("#") and "|" not in sentence
    return is_told and FEWEST_WORDS <= len(words(sentence)) <= MOST_WORDS


def _of_definitions(document: StoredDocument, passages: list[Passage]) -> Iterator[Golden]:
    for passage in passages:
        for term, sentence in defined_terms(passage.chunk.text):
            question = question_about(term, passage.chunk.text, document.language)
            if question and len(words(sentence)) <= MOST_WORDS:
                yield _golden(document, question, "definition", sentence, [sentence])


def _of_tables(document: StoredDocument, passages: list[Passage]) -> Iterator[Golden]:
    """Of a table's first rows, what each column says of what the first names."""
    if document.language not in (None, "en"):
        return
    for passage in passages:
        for names, rows in _tables(passage.chunk.text):
            for line, cells in rows[:MOST_ROWS]:
                for name, cell in list(zip(names, cells, strict=True))[1:]:
                    if _may_be_asked(name, cells[0], cell):
                        yield _golden(document, f"What is the {_lowered(name)} of {cells[0]}?", "table", cell, [line])


def _tables(text: str) -> Iterator[tuple[list[str], list[tuple[str, list[str]]]]]:
    """The names of the columns of each table, and its rows: the line and its cells."""
    lines = [(line.strip(), _cells(line)) for line in text.splitlines()]
    for count, group in groupby((one for one in lines if not _RULE_LINE.fullmatch(one[0])), key=lambda one: len(one[1])):
        head, *rows = group
        if count > 1:
            yield head[1], rows


def _cells(line: str) -> list[str]:
    return [_MARKUP.sub("", cell) for cell in _CELL_BORDER.split(line.strip().strip("|").strip())]


def _may_be_asked(name: str, row: str, cell: str) -> bool:
    is_named = all(1 <= len(words(one)) <= MOST_NAME_WORDS and any(map(str.isalpha, one)) for one in (name, row))
    return is_named and 1 <= len(words(cell)) <= MOST_CELL_WORDS and ":" not in name


def _lowered(name: str) -> str:
    """A column's name inside a sentence: `Due date` → `due date`, `GPU hours` as it is."""
    return " ".join(word if any(map(str.isupper, word[1:])) else word.lower() for word in name.split())
