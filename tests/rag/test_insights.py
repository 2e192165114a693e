"""What staff are told of the questions, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.pipeline import ingest_course
from rag import conversations, insights
from rag.conversations import Feedback
from rag.engine import Engine
from rag.insights import FIRST_TOKEN, TOTAL, Cited, CitedPlace, Counts, Exchange, Outcome, Section, Spread
from rag.records import NewDocument
from rag.store import Store
from rag.topics import Topic, topics
from rag.types import Answer, Latency, Location, LocationKind, Mode, Passage, Source

GENERATED = Latency({"embed": 10.0, "queue": 5.0, "prefill": 85.0, "decode": 200.0, "other": 0.0}, 300.0)
"""First token after 10 + 5 + 85 = 100 ms."""
REFUSED = Latency({"embed": 20.0, "other": 0.0}, 20.0)


def make_answer(
    question: str, confidence: float = 0.9, mode: Mode = Mode.GENERATED, cited: tuple[Passage, ...] = (), latency: Latency = GENERATED,
    abstained: bool = False, cached: bool = False, tokens: int = 0,
) -> Answer:  # fmt: skip
    sources = tuple(Source(number, passage, passage.chunk.text) for number, passage in enumerate(cited, 1))
    return Answer(question, question, "It says.", abstained, confidence, mode, (), sources, latency, 0, tokens, cached=cached)


def keep(
    store: Store, course: str, *answers: Answer, at: str = "2026-03-02T10:00:00+00:00", owner: str = "", feedback: Feedback | None = None
) -> str:
    """A conversation with these answers, all kept at one moment; feedback is of the last."""
    conversation = conversations.start(store, course, answers[0].question, owner)
    for answer in answers:
        conversations.add_exchange(store, conversation.id, answer)
    kept = conversations.messages(store, conversation)
    conversations.give_feedback(store, conversation, kept[-1].id, feedback)
    with store.transaction() as db:
        db.execute("UPDATE messages SET created_at = ? WHERE conversation_id = ?", [at, conversation.id])
    return conversation.id


def exchange(number: int, question: str = "?", outcome: Outcome = Outcome.GENERATED, **more: object) -> Exchange:
    return Exchange(number, "2026-03-02T10:00:00+00:00", "c", question, "", outcome, **more)  # type: ignore[arg-type]


@pytest.fixture
def passages(engine: Engine) -> dict[str, Passage]:
    """The passages of the optics course by the last heading above them."""
    store = engine.searcher.store
    ids = [chunk_id for chunk_id, *_ in store.chunk_texts()]
    return {passage.chunk.location.heading[-1]: passage for passage in store.passages(ids).values()}


def test_nothing_asked_is_nothing_counted(store: Store) -> None:
    read = insights.read_exchanges(store, "optics")
    assert read == []
    assert insights.count(read) == Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert insights.refused(read) == insights.doubtful(read) == insights.disliked(read) == []
    assert insights.cited_places(store, "optics", read) == insights.sections(read) == topics(store, "optics", read) == []
    assert insights.latency_by_stage(read) == {}
    assert insights.over_time(read, hourly=False) == []
    assert insights.tokens_per_second(read) is None


def test_exchanges_are_read_with_what_is_known_of_them(engine: Engine, passages: dict[str, Passage]) -> None:
    store, late = engine.searcher.store, passages["Late work"]
    keep(store, "optics", make_answer("What does a late day cost?", 0.8, cited=(late,), tokens=40), feedback=Feedback(-1, "Wrong sum"))
    keep(store, "optics", make_answer("Is there parking?", 0.1, Mode.EXTRACTIVE, (late,), REFUSED, abstained=True))
    first, second = insights.read_exchanges(store, "optics")
    assert (first.question, first.answer, first.outcome) == ("What does a late day cost?", "It says.", Outcome.GENERATED)
    assert (first.confidence, first.latency, first.completion_tokens, first.cached) == (0.8, GENERATED, 40, False)
    assert (first.rating, first.note) == (-1, "Wrong sum")
    assert first.cited == (Cited("syllabus.md", late.title, late.chunk_id, late.chunk.location),)
    assert insights.read_exchanges(store, "optics", cited=False)[0] == replace(first, cited=())
    assert (second.outcome, second.cited, second.rating, second.note) == (Outcome.REFUSED, (), 0, "")


def test_counts(engine: Engine) -> None:
    store = engine.searcher.store
    keep(store, "optics", make_answer("A?"), make_answer("B?", mode=Mode.EXTRACTIVE), feedback=Feedback(1))
    keep(store, "optics", make_answer("C?", abstained=True), owner="someone")
    keep(store, "optics", make_answer("A?", cached=True), feedback=Feedback(-1))
    counted = insights.count(insights.read_exchanges(store, "optics"))
    assert counted == Counts(questions=4, conversations=3, refused=1, generated=2, extractive=1, forgotten=0, cached=1, liked=1, disliked=1)


def test_a_period_begins_at_its_first_moment_and_ends_before_its_last(engine: Engine) -> None:
    store = engine.searcher.store
    for day in ("01", "02", "03"):
        keep(store, "optics", make_answer(f"Day {day}?"), at=f"2026-03-{day}T00:00:00+00:00")
    read = insights.read_exchanges(store, "optics", "2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00")
    assert [one.question for one in read] == ["Day 02?"]


def test_courses_are_apart_and_a_deleted_conversation_is_gone(engine: Engine) -> None:
    store = engine.searcher.store
    keep(store, "optics", make_answer("Ours?"))
    keep(store, "acoustics", make_answer("Theirs?"))
    deleted = keep(store, "optics", make_answer("Deleted?"), feedback=Feedback(-1, "bad"))
    assert [one.question for one in insights.read_exchanges(store, "optics")] == ["Ours?", "Deleted?"]
    assert [one.question for one in insights.read_exchanges(store, "acoustics")] == ["Theirs?"]
    conversations.delete(store, deleted)
    read = insights.read_exchanges(store, "optics")
    assert [one.question for one in read] == ["Ours?"]
    assert insights.count(read).disliked == 0


def test_the_text_of_a_deleted_document_is_gone_and_its_question_still_counted(
    engine: Engine, passages: dict[str, Passage], course_folder: Path
) -> None:
    store = engine.searcher.store
    keep(store, "optics", make_answer("What blurs the image?", cited=(passages["Aberration"],)))
    (course_folder / "notes" / "week02-lenses.md").unlink()
    ingest_course(course_folder, store, engine.searcher.embedder, engine.config)
    (only,) = insights.read_exchanges(store, "optics")
    assert (only.question, only.outcome, only.cited, only.latency) == ("What blurs the image?", Outcome.FORGOTTEN, (), None)
    assert insights.count([only]).forgotten == 1
    assert insights.cited_places(store, "optics", [only]) == []


def test_refused_questions_that_are_nearly_the_same_are_one_group() -> None:
    refused = [
        exchange(1, "Where can I park my car?", Outcome.REFUSED),
        exchange(2, "When is lab 1 due?", Outcome.REFUSED),
        exchange(3, "where can I park a car", Outcome.REFUSED),
        exchange(4, "When is lab 2 due?", Outcome.REFUSED),
        exchange(5, "What is an encoder?", Outcome.REFUSED),
        exchange(6, "What is a decoder?", Outcome.REFUSED),
        exchange(7, "Where can I park my car?", Outcome.REFUSED),
        exchange(8, "Where can I park my car?", Outcome.GENERATED),
    ]
    groups = insights.refused(refused)
    assert [[one.id for one in group.exchanges] for group in groups] == [[7, 3, 1], [6], [5], [4], [2]]
    assert groups[0].wordings == ["Where can I park my car?", "where can I park a car"]


def test_three_of_four_words_in_common_are_nearly_the_same_and_two_of_three_are_not() -> None:
    four = [exchange(1, "striped zebra gallops home"), exchange(2, "striped zebra gallops")]
    three = [exchange(1, "striped zebra gallops"), exchange(2, "striped zebra")]
    assert len(insights.group_alike(four)) == 1
    assert len(insights.group_alike(three)) == 2
    assert len(insights.group_alike([exchange(1, "???"), exchange(2, "!")])) == 1


def test_doubtful_answers_come_least_sure_first_and_refusals_are_none() -> None:
    found = insights.doubtful([
        exchange(1, confidence=0.45), exchange(2, confidence=0.5), exchange(3, confidence=0.35),
        exchange(4, outcome=Outcome.REFUSED, confidence=0.1), exchange(5, outcome=Outcome.EXTRACTIVE, confidence=0.45),
        exchange(6, outcome=Outcome.FORGOTTEN),
    ])  # fmt: skip
    assert [one.id for one in found] == [3, 5, 1]


def test_cited_places_count_once_an_answer_and_open_what_is_there_now(
    engine: Engine, passages: dict[str, Passage], course_folder: Path
) -> None:
    store, late, thin = engine.searcher.store, passages["Late work"], passages["Thin lenses"]
    keep(store, "optics", make_answer("One?", cited=(late, thin)), make_answer("Two?", cited=(late, late)))
    keep(store, "optics", make_answer("Refused?", cited=(thin,), abstained=True))
    read = insights.read_exchanges(store, "optics")
    first, second = insights.cited_places(store, "optics", read)
    assert first == CitedPlace("syllabus.md", late.title, "Optics › Late work", 2, late.chunk_id)
    assert (second.label, second.answers, second.chunk_id) == ("Lenses › Thin lenses", 1, thin.chunk_id)

    text = (course_folder / "syllabus.md").read_text()
    (course_folder / "syllabus.md").write_text(text.replace("5 points", "6 points"))  # read again: other chunks at the same places
    ingest_course(course_folder, store, engine.searcher.embedder, engine.config)
    again = insights.cited_places(store, "optics", read)[0]
    assert again.chunk_id not in (None, late.chunk_id)
    assert store.passages([again.chunk_id or 0])[again.chunk_id or 0].chunk.location == late.chunk.location

    (course_folder / "syllabus.md").write_text("# Other\n\nNothing of before.\n")
    ingest_course(course_folder, store, engine.searcher.embedder, engine.config)
    assert insights.cited_places(store, "optics", read)[0].chunk_id is None


def test_a_chunk_of_another_course_is_never_opened(engine: Engine, passages: dict[str, Passage]) -> None:
    store = engine.searcher.store
    keep(store, "acoustics", make_answer("One?", cited=(passages["Late work"],)))
    (place,) = insights.cited_places(store, "acoustics", insights.read_exchanges(store, "acoustics"))
    assert place.chunk_id is None


def test_sections_are_named_by_the_outermost_heading_that_tells_them_apart() -> None:
    def cited(title: str, *path: str) -> Cited:
        return Cited(f"{title}.md", title, 1, Location(LocationKind.HEADING, heading=path))

    found = insights.sections([
        exchange(1, cited=(cited("Syllabus", "CS 1", "Grading", "Late days"), cited("Syllabus", "CS 1", "Exams"))),
        exchange(2, cited=(cited("Syllabus", "CS 1", "Grading", "Curve"), cited("Syllabus", "CS 1", "Grading"))),
        exchange(3, cited=(cited("Notes", "Notes"), cited("Plain"))),
    ])  # fmt: skip
    assert sorted(found, key=lambda one: (-one.answers, one.title, one.heading)) == [
        Section("Syllabus", "Grading", 2), Section("Notes", "", 1), Section("Plain", "", 1), Section("Syllabus", "Exams", 1),
    ]  # fmt: skip


def test_percentiles_lie_between_two_values_in_proportion() -> None:
    assert insights.spread([100.0]) == Spread(1, 100.0, 100.0)
    assert insights.spread([400.0, 100.0, 300.0, 200.0]) == Spread(4, 250.0, pytest.approx(385.0))  # 300 + 0.85 of the way to 400


def test_latency_by_stage_leaves_out_the_cache_and_stages_that_were_not_run() -> None:
    found = insights.latency_by_stage([
        exchange(1, latency=GENERATED), exchange(2, outcome=Outcome.REFUSED, latency=REFUSED),
        exchange(3, latency=Latency({"cache": 0.1}, 0.1), cached=True), exchange(4, outcome=Outcome.FORGOTTEN),
    ])  # fmt: skip
    assert found["embed"] == Spread(2, 15.0, pytest.approx(19.5))
    assert found["queue"] == Spread(1, 5.0, 5.0)
    assert found[FIRST_TOKEN] == Spread(1, 100.0, 100.0)
    assert found[TOTAL] == Spread(2, 160.0, pytest.approx(286.0))
    assert "cache" not in found


def test_tokens_a_second_are_those_of_decoding() -> None:
    fast = Latency({"prefill": 500.0, "decode": 1000.0}, 1500.0)
    slow = Latency({"prefill": 500.0, "decode": 2000.0}, 2500.0)
    found = insights.tokens_per_second([
        exchange(1, latency=fast, completion_tokens=40), exchange(2, latency=slow, completion_tokens=40),
        exchange(3, latency=fast, completion_tokens=40, cached=True), exchange(4, latency=REFUSED),
    ])  # fmt: skip
    assert found == Spread(2, 30.0, pytest.approx(39.0))


def test_moments_are_days_or_hours_of_utc_in_order(engine: Engine) -> None:
    store = engine.searcher.store
    for at in ("2026-03-02T10:59:59+00:00", "2026-03-02T11:00:00+00:00", "2026-03-03T00:00:00+00:00"):
        keep(store, "optics", make_answer("?"), at=at)
    keep(store, "optics", make_answer("?", cached=True), at="2026-03-04T00:00:00+00:00")
    read = insights.read_exchanges(store, "optics")
    days = insights.over_time(read, hourly=False)
    assert [(one.start, one.answers) for one in days] == [
        (datetime(2026, 3, 2, tzinfo=UTC), 2),
        (datetime(2026, 3, 3, tzinfo=UTC), 1),
    ]
    assert days[0].spreads[TOTAL] == Spread(2, 300.0, 300.0)
    hours = insights.over_time(read, hourly=True)
    assert [one.start.isoformat()[:13] for one in hours] == ["2026-03-02T10", "2026-03-02T11", "2026-03-03T00"]


def test_topics_are_words_of_headings_and_words_that_the_materials_lack(engine: Engine) -> None:
    asked = [
        exchange(1, "Where is the parking garage?", Outcome.REFUSED),
        exchange(2, "Is parking free?", Outcome.REFUSED),
        exchange(3, "How does spherical aberration arise?"),
        exchange(4, "Spherical aberrations, what are they?"),
        exchange(5, "What blurs the image?"),
        exchange(6, "Why does it blur the image"),
        exchange(7, "What does a thin lens do?"),
    ]
    found = topics(engine.searcher.store, "optics", asked)
    # `blur` and `image` are in no heading; `aberration` belongs to `spherical aberration`; `thin lens` was asked once.
    assert found == [Topic("spherical aberration", 2, 0, True), Topic("parking", 2, 2, False)]


def test_a_word_that_the_materials_use_more_than_the_questions_is_no_topic(engine: Engine) -> None:
    store = engine.searcher.store
    asked = [exchange(1, "Does aberration hurt?"), exchange(2, "Is aberration heavy?")]  # two words of four, and four of some fifty
    assert topics(store, "optics", asked) == [Topic("aberration", 2, 0, True)]
    store.save_document("optics", NewDocument("many.md", "0", "r", "md", "Many", 1, "aberration " * 1000, (), (), {}))
    assert topics(store, "optics", asked) == []


def test_numbers_keep_questions_apart_however_much_they_share() -> None:
    words = "striped zebra gallops home over green hills before lab"
    assert len(insights.group_alike([exchange(1, f"{words} 1"), exchange(2, f"{words} 2")])) == 2
    assert len(insights.group_alike([exchange(1, f"{words} 1"), exchange(2, f"{words} 1 today")])) == 1


def test_of_several_chunks_at_a_place_the_cited_one_opens_while_it_is_there(engine: Engine, course_folder: Path) -> None:
    store = engine.searcher.store
    (course_folder / "long.md").write_text("# Long\n\n" + " ".join(f"Sentence number {n} of a long section." for n in range(80)))
    ingest_course(course_folder, store, engine.searcher.embedder, engine.config)
    of_place = [one for one in store.passages([key for key, *_ in store.chunk_texts()]).values() if one.source == "long.md"]
    assert len({one.chunk.location for one in of_place}) == 1
    first, second = of_place[:2]
    keep(store, "optics", make_answer("One?", cited=(second,)))
    (place,) = insights.cited_places(store, "optics", insights.read_exchanges(store, "optics"))
    assert place.chunk_id == second.chunk_id
    keep(store, "optics", make_answer("Two?", cited=(replace(first, chunk_id=first.chunk_id + 10**6),)))  # an id that is gone
    (place,) = insights.cited_places(store, "optics", insights.read_exchanges(store, "optics"))
    assert (place.chunk_id, place.answers) == (first.chunk_id, 2)
