"""What is asked about a course and how it is answered, from the catalogue alone. About questions, never about who asked them.

Exchanges are read in one pass, only the keys that are needed, which SQLite takes out of the answers' JSON: 20,000 answers of 9 KB take
0.6 s of a core, 1.7 s with what they cite. The rest are pure functions of them. Whoever sees this is staff: answers from materials that are
hidden at present are in it. An answer from materials that were deleted is gone from the catalogue already; its question still counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from rag.store import Store
from rag.text import content_stems
from rag.types import Latency, Location, Mode

SURE = 0.5
"""Below this confidence an answer counts as doubtful: that the materials hold it is less likely than not."""
ALIKE = 0.75
"""Share of common stems (Jaccard) from which on two questions are nearly the same."""
TOTAL = "total"
FIRST_TOKEN = "first token"
LONGEST_HOURLY = timedelta(days=2)
"""Periods up to this long are shown by the hour, longer ones by the day."""


class Outcome(Enum):
    """What became of a question. FORGOTTEN: the answer quoted a document that was deleted."""

    GENERATED = "generated"
    EXTRACTIVE = "extractive"
    REFUSED = "refused"
    FORGOTTEN = "forgotten"


class Cited(NamedTuple):
    """A passage that an answer cites."""

    source: str
    title: str
    chunk_id: int
    location: Location


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and what is known of its answer. `at` is UTC; `confidence` and `latency` are None for a forgotten one; `rating` is 1, -1
    or, without feedback, 0. A refusal cites nothing: the passages it shows are only the nearest."""

    id: int
    at: str
    conversation: str
    question: str
    answer: str
    outcome: Outcome
    confidence: float | None = None
    latency: Latency | None = None
    completion_tokens: int = 0
    cached: bool = False
    cited: tuple[Cited, ...] = ()
    rating: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    questions: int
    conversations: int
    refused: int
    generated: int
    extractive: int
    forgotten: int
    cached: int
    liked: int
    disliked: int


@dataclass(slots=True)
class Group:
    """Questions that are nearly the same, the newest first."""

    exchanges: list[Exchange]

    @property
    def newest(self) -> Exchange:
        return self.exchanges[0]

    @property
    def wordings(self) -> list[str]:
        return list(dict.fromkeys(exchange.question for exchange in self.exchanges))


@dataclass(frozen=True, slots=True)
class CitedPlace:
    """A place in a document with how many answers cite it. `chunk_id` opens it; None: the document has changed, and it is gone."""

    source: str
    title: str
    label: str
    answers: int
    chunk_id: int | None


@dataclass(frozen=True, slots=True)
class Section:
    """A document, or the part of it under one of its outermost headings, with how many answers cite it."""

    title: str
    heading: str
    answers: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile of `n` values."""

    n: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A day or an hour, by its beginning in UTC: milliseconds by stage, of the first token and of the total."""

    start: datetime
    answers: int
    spreads: Mapping[str, Spread] = field(default_factory=dict)


# --- reading


def read_exchanges(store: Store, course: str, since: str | None = None, until: str | None = None, cited: bool = True) -> list[Exchange]:
    """The exchanges of a course, oldest first.

    Args:
        since: moment as `rag.moments` writes it, included; None: from the first.
        until: the same, not included; None: to the last.
        cited: whether what they cite is read, too, which takes most of the time.
    """
    rows = store.db.execute(_EXCHANGES, {"course": course, "since": since or "", "until": until or "~", "cited": cited})
    # The same places are cited again and again, and making them anew would take most of the time. Remembered for this reading alone: a
    # place holds headings, which must go with their document.
    place = cache(lambda text: Location.from_json(json.loads(text)))
    return [_exchange(place, *row) for row in rows]


_EXCHANGES = """SELECT m.id, q.created_at, m.conversation_id, m.content, q.content,
        json_extract(m.answer, '$.abstained', '$.mode', '$.confidence', '$.cached', '$.tokens.completion', '$.latency_ms'),
        CASE WHEN :cited THEN
            (SELECT json_group_array(json_array(json_extract(s.value, '$.source'), json_extract(s.value, '$.title'),
                    json_extract(s.value, '$.chunk_id'), json_extract(s.value, '$.location') || ''))
                FROM json_each(m.answer, '$.sources') s)
            ELSE '[]' END,
        f.rating, f.note
    FROM conversations c
        JOIN messages q ON q.conversation_id = c.id AND q.role = 'user' AND q.created_at >= :since AND q.created_at < :until
        JOIN messages m ON m.id = (SELECT min(id) FROM messages WHERE conversation_id = c.id AND id > q.id) AND m.role = 'assistant'
        LEFT JOIN feedback f ON f.message_id = m.id
    WHERE c.course = :course ORDER BY m.id"""
"""By the moment of the question, whose row is short: that of an answer stands behind 9 KB of it, and SQLite would read them all."""


def _exchange(
    place: Callable[[str], Location],
    number: int,
    at: str,
    conversation: str,
    said: str,
    question: str,
    facts: str | None,
    cited: str,
    rating: int | None,
    note: str,
) -> Exchange:
    known: dict[str, Any] = {"outcome": Outcome.FORGOTTEN}
    if facts is not None:
        abstained, mode, confidence, cached, tokens, stages = json.loads(facts)
        known = {
            "outcome": Outcome.REFUSED if abstained else Outcome.GENERATED if mode == Mode.GENERATED else Outcome.EXTRACTIVE,
            "confidence": confidence,
            "latency": Latency(stages, stages.pop("total")),
            "completion_tokens": tokens,
            "cached": bool(cached),
            "cited": ()
            if abstained
            else tuple(Cited(source, title, chunk, place(where)) for source, title, chunk, where in json.loads(cited)),
        }
    return Exchange(number, at, conversation, question, said, rating=rating or 0, note=note or "", **known)


# --- counting and listing


def count(exchanges: Sequence[Exchange]) -> Counts:
    outcomes = Counter(exchange.outcome for exchange in exchanges)
    return Counts(
        questions=len(exchanges),
        conversations=len({exchange.conversation for exchange in exchanges}),
        refused=outcomes[Outcome.REFUSED],
        generated=outcomes[Outcome.GENERATED],
        extractive=outcomes[Outcome.EXTRACTIVE],
        forgotten=outcomes[Outcome.FORGOTTEN],
        cached=sum(exchange.cached for exchange in exchanges),
        liked=sum(exchange.rating > 0 for exchange in exchanges),
        disliked=sum(exchange.rating < 0 for exchange in exchanges),
    )


def refused(exchanges: Iterable[Exchange]) -> list[Group]:
    """Questions without an answer, nearly the same ones together, the newest first."""
    return group_alike([exchange for exchange in exchanges if exchange.outcome is Outcome.REFUSED])


def doubtful(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Answers that were given and are not sure, the least sure first."""
    given = (Outcome.GENERATED, Outcome.EXTRACTIVE)
    found = [one for one in exchanges if one.outcome in given and one.confidence is not None and one.confidence < SURE]
    return sorted(found, key=lambda one: (one.confidence, -one.id))


def disliked(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Answers with a thumb down, the newest first."""
    return sorted((one for one in exchanges if one.rating < 0), key=lambda one: -one.id)


def group_alike(exchanges: Iterable[Exchange]) -> list[Group]:
    """Exchanges whose questions are nearly the same, together; groups and what is in them newest first.

    Each question, from the newest on, joins the first group whose newest question has the same numbers in it and shares at least ALIKE of
    the stems of both; else it begins one. `lab 1` and `lab 2` stay apart, and so do words that only look alike. To have so many in common,
    two sets must share one of their rarest stems (prefix filtering; Chaudhuri et al., ICDE 2006), so that few are compared.
    """
    newest_first = sorted(exchanges, key=lambda one: -one.id)
    stems = [content_stems(one.question) for one in newest_first]
    rarity = Counter(stem for one in stems for stem in one)
    groups: list[Group] = []
    known: list[frozenset[str]] = []
    by_stem: defaultdict[str, list[int]] = defaultdict(list)
    for exchange, own in zip(newest_first, stems, strict=True):
        ordered = sorted(own, key=lambda stem: (rarity[stem], stem))
        rarest = ordered[: len(ordered) - math.ceil(ALIKE * len(ordered)) + 1] or [""]
        near = sorted({number for stem in rarest for number in by_stem[stem]})
        place = next((number for number in near if _alike(own, known[number])), None)
        if place is not None:
            groups[place].exchanges.append(exchange)
            continue
        for stem in rarest:
            by_stem[stem].append(len(groups))
        groups.append(Group([exchange]))
        known.append(own)
    return groups


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    numbers = {stem for stem in one ^ other if any(map(str.isdigit, stem))}
    return not numbers and len(one & other) >= ALIKE * len(one | other)


# --- what is cited


def cited_places(store: Store, course: str, exchanges: Sequence[Exchange], limit: int = 100) -> list[CitedPlace]:
    """The places that most answers cite, each counted once an answer; of equal ones the one cited last comes first."""
    answers: Counter[tuple[str, str]] = Counter()
    newest: dict[tuple[str, str], Cited] = {}
    for exchange in reversed(exchanges):
        cited = {(one.source, one.location.label): one for one in exchange.cited}
        answers.update(cited.keys())
        for place, one in cited.items():
            newest.setdefault(place, one)
    most = answers.most_common(limit)
    there = _chunks_there(store, course, [newest[place] for place, _ in most])
    return [
        CitedPlace(place[0], newest[place].title, place[1], number, chunk_id) for (place, number), chunk_id in zip(most, there, strict=True)
    ]


def _chunks_there(store: Store, course: str, places: Sequence[Cited]) -> list[int | None]:
    """The chunk that is at each place now: the one that was cited, or, where its document has been read again, the first of the place."""
    wanted = [[place.chunk_id, place.source, json.dumps(place.location.to_json())] for place in places]
    found = dict(store.db.execute(_CHUNKS_THERE, {"course": course, "wanted": json.dumps(wanted)}).fetchall())
    return [found.get(number) for number in range(len(places))]


_CHUNKS_THERE = """WITH wanted AS (
        SELECT key AS place, json_extract(value, '$[0]') AS chunk_id, json_extract(value, '$[1]') AS source,
            json_extract(value, '$[2]') AS location
        FROM json_each(:wanted))
    SELECT wanted.place, c.id FROM wanted
        JOIN documents d ON d.course_id = (SELECT id FROM courses WHERE name = :course) AND d.source = wanted.source
        JOIN chunks c ON c.document_id = d.id AND (c.id = wanted.chunk_id OR c.location = wanted.location)
    ORDER BY c.id = wanted.chunk_id, c.ordinal DESC"""
"""Of several rows of a place the last is the one that counts."""


def sections(exchanges: Sequence[Exchange]) -> list[Section]:
    """What the answers are about, by the parts of documents that they cite, the most cited first; each counts once an answer.

    A part is named by the outermost heading that tells it from other cited parts of its document: a headline over all of them, which most
    documents have, would say no more than the title.
    """
    paths: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for exchange in exchanges:
        for one in exchange.cited:
            paths[one.title].add(one.location.heading)
    shared = {title: _shared_levels(of_title) for title, of_title in paths.items()}
    answers: Counter[tuple[str, str]] = Counter()
    for exchange in exchanges:
        answers.update({(one.title, _part(one, shared[one.title])) for one in exchange.cited})
    return [Section(title, part, number) for (title, part), number in answers.most_common()]


def _shared_levels(paths: Iterable[tuple[str, ...]]) -> int:
    """How many headings, from the outermost on, all paths begin with."""
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False)))


def _part(cited: Cited, shared: int) -> str:
    path = cited.location.heading
    part = path[min(shared, len(path) - 1)] if path else ""
    return "" if part.casefold() == cited.title.casefold() else part


# --- latency


def spread(values: Sequence[float]) -> Spread:
    """Median and 95th percentile, linear between two values. At least one value."""
    p50, p95 = np.percentile(values, (50, 95))
    return Spread(len(values), float(p50), float(p95))


def latency_by_stage(exchanges: Iterable[Exchange]) -> dict[str, Spread]:
    """Milliseconds of each stage, over the answers that went through it; of the first token, where a generator wrote; of the total.

    Answers from the cache are left out: they say how quick a dictionary is.
    """
    times: defaultdict[str, list[float]] = defaultdict(list)
    for exchange in exchanges:
        if exchange.latency is None or exchange.cached:
            continue
        for stage, ms in exchange.latency.stages.items():
            times[stage].append(ms)
        if (first := exchange.latency.first_token_ms) is not None:
            times[FIRST_TOKEN].append(first)
        times[TOTAL].append(exchange.latency.total)
    return {name: spread(values) for name, values in times.items()}


def tokens_per_second(exchanges: Iterable[Exchange]) -> Spread | None:
    """How fast answers were written; None when no generator wrote. `p95` is the speed that only one in twenty exceeds."""
    speeds = [
        1000 * exchange.completion_tokens / exchange.latency.stages["decode"]
        for exchange in exchanges
        if exchange.latency and not exchange.cached and exchange.completion_tokens and exchange.latency.stages.get("decode", 0) > 0
    ]
    return spread(speeds) if speeds else None


def over_time(exchanges: Sequence[Exchange], hourly: bool) -> list[Moment]:
    """Latency by hour or day (UTC), oldest first; those without an answer of their own are left out."""
    begin: Callable[[datetime], datetime] = (
        (lambda at: at.replace(minute=0, second=0)) if hourly else (lambda at: at.replace(hour=0, minute=0, second=0))
    )
    by_start: defaultdict[datetime, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        by_start[begin(datetime.fromisoformat(exchange.at))].append(exchange)
    moments = []
    for start, members in sorted(by_start.items()):
        if spreads := latency_by_stage(members):
            moments.append(Moment(start, spreads[TOTAL].n, spreads))
    return moments
