"""What questions are about, by rule: terms of one or two words, held against the words that the course names its parts by.

A term is a content word, or two that stand side by side with no stop word or punctuation between them; words are compared by their
stems and shown as they were mostly written. It counts once a question, and is a topic when at least two questions have it and one of its
words stands in a title or heading of the course, or nowhere in its materials: the latter is what staff should know of, and is told. One
word alone must be asked more than the materials say it, word for word (`model` in a course about models says nothing), and gives way to a
term of two words that holds it in at least half of its questions: `cache` to `kv cache`.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from rag.insights import Exchange, Outcome
from rag.store import Store
from rag.text import STOPWORDS, content_stems, fold, stem, words
from rag.vocabulary import count_all, is_vocabulary, occurrences

FEWEST = 2
"""Questions that make a term a topic."""
ASKING = frozenset(
    """answer anyone bad best better big bigger call called case change come comes compare course differ difference different enough exact
    exactly find first follow full get give go goes going good happen happens hard help important kind know lecture let like long
    look main make makes mean meaning mention need needs new next old one part per point possible problem question reason right say
    says second see show simple small still sure take takes talk tell thing things think three time try two understand use used
    useful uses using want way week word words work works worth write wrong year years""".split()
)
"""Words of asking, which tell nothing of what is asked about."""
_BREAK = re.compile(r"[^\w\s'’-]+")

Term = tuple[str, ...]
"""One stem or two."""


@dataclass(frozen=True, slots=True)
class Topic:
    """`words` as they were mostly written; how many questions had them, and how many of these had no answer. `known`: whether the
    materials have all of its words."""

    words: str
    questions: int
    refused: int
    known: bool


@dataclass(slots=True)
class _Found:
    """A term in the questions: its written forms, and how many questions had it."""

    forms: Counter[tuple[str, ...]] = field(default_factory=Counter)
    questions: int = 0
    refused: int = 0

    @property
    def form(self) -> tuple[str, ...]:
        return self.forms.most_common(1)[0][0]


def topics(store: Store, course: str, exchanges: Sequence[Exchange], limit: int = 30) -> list[Topic]:
    """The topics of the questions, those of most questions first."""
    found = _count_terms((exchange.question, exchange.outcome is Outcome.REFUSED) for exchange in exchanges)
    often = {term: one for term, one in found.items() if one.questions >= FEWEST}
    in_course = occurrences(store.db, course, {word for one in often.values() for form in one.forms for word in form})
    named = _words_of_headings(store, course)
    unknown = {term for term, one in often.items() if not _is_known(store, course, one, in_course)}
    asked = sum(one.questions for term, one in found.items() if len(term) == 1)
    said = max(1, count_all(store.db, course))
    longer = _longer(often)

    def is_topic(term: Term) -> bool:
        if term not in unknown and named.isdisjoint(term):
            return False
        one = often[term]
        in_materials = sum(in_course.get(form[0], 0) for form in one.forms)
        return len(term) == 2 or (one.questions / asked >= in_materials / said and longer[term[0]] < one.questions / 2)

    kept = sorted(filter(is_topic, often), key=lambda term: (-often[term].questions, -len(term), term))
    return [Topic(" ".join(often[term].form), often[term].questions, often[term].refused, term not in unknown) for term in kept[:limit]]


def _count_terms(asked: Iterable[tuple[str, bool]]) -> dict[Term, _Found]:
    found: defaultdict[Term, _Found] = defaultdict(_Found)
    for question, refused in asked:
        forms = {tuple(map(stem, form)): form for form in _forms(question)}
        for term, form in forms.items():
            one = found[term]
            one.forms[form] += 1
            one.questions += 1
            one.refused += refused
    return found


def _forms(question: str) -> Iterator[tuple[str, ...]]:
    """The terms of a question as they are written. A number counts beside a word only: `lab 2`."""
    for stretch in _BREAK.split(fold(question)):
        for speaks, run in groupby(words(stretch), _says_something):
            if not speaks:
                continue
            these = list(run)
            yield from ((word,) for word in these if len(word) > 1 and not word.isdigit())
            yield from ((one, other) for one, other in pairwise(these) if one != other and not one.isdigit())


def _says_something(word: str) -> bool:
    return word not in STOPWORDS and word not in ASKING and "'" not in word and "’" not in word


def _longer(often: Mapping[Term, _Found]) -> Counter[str]:
    """For each stem, how many questions have the most frequent term of two words that holds it."""
    most: Counter[str] = Counter()
    for term, one in often.items():
        for word in term if len(term) == 2 else ():
            most[word] = max(most[word], one.questions)
    return most


def _words_of_headings(store: Store, course: str) -> set[str]:
    """The stems of the words that the course's documents and their parts are called by."""
    rows = store.db.execute(
        """SELECT DISTINCT d.title, json_extract(c.location, '$.heading') FROM chunks c JOIN documents d ON d.id = c.document_id
        WHERE d.course_id = (SELECT id FROM courses WHERE name = ?)""",
        [course],
    )
    texts = {text for title, path in rows for text in (title, *json.loads(path or "[]"))}
    return {found for text in texts for found in content_stems(text)}


def _is_known(store: Store, course: str, one: _Found, in_course: Mapping[str, int]) -> bool:
    """Whether the course has each word, in this or another form; numbers and very short words are not in its vocabulary, and pass."""
    return all(word in in_course or not is_vocabulary(word) or _has_other_form(store, course, word) for word in one.form)


def _has_other_form(store: Store, course: str, word: str) -> bool:
    return any(stem(other) == stem(word) for other in store.words_beginning(course, stem(word)))
