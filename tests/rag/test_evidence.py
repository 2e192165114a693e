import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.engine import Engine
from rag.evidence import (
    CLEAR_LEAD,
    UNNAMED,
    Evidence,
    answering,
    confidence,
    floor_of_cost,
    narrowed,
    overlap,
    quoted_statements,
    select_evidence,
    statement_spans,
    word_weights,
)  # fmt: skip
from rag.types import Chunk, Hit, Location, LocationKind, Passage, Reading, Scope, ScoredSpan
from support import HashingEmbedder


def hits(engine: Engine, question: str) -> Sequence[Hit]:
    return engine.searcher.search(question, Scope("optics"))


def test_the_statement_that_answers_comes_first(engine: Engine) -> None:
    question = "How many points does a late day cost?"
    weights = word_weights(question, engine.searcher.store, "optics", None)
    evidence = select_evidence(engine.searcher.embedder.embed_query(question), hits(engine, question), weights, engine.searcher.embedder)
    assert evidence[0].text.endswith("Each late day costs 5 points.")
    assert evidence[0].hit.passage.source == "syllabus.md"
    assert [one.strength for one in evidence] == sorted((one.strength for one in evidence), reverse=True)


def test_overlap_by_hand() -> None:
    weights = {"late": 3.0, "day": 1.0}
    assert overlap("Late work", weights) == pytest.approx(0.75)
    assert overlap("nothing here", weights) == 0
    assert overlap("anything", {}) == 0


def test_rare_words_tell_more(engine: Engine) -> None:
    weights = word_weights("lens aberration", engine.searcher.store, "optics", None)
    assert weights["aberr"] > weights["len"] > 0


def test_a_label_is_read_with_what_follows() -> None:
    text = "Late days\nEach student has five of them.\n- one\n- two of the other kind are enough"
    statements = [text[start:end] for start, end in statement_spans(text)]
    assert statements == ["Late days\nEach student has five of them.", "- one\n- two of the other kind are enough"]


WHOLE = {
    "a numbered list": ["Requirements:\n1. A midterm is in May. 2. A final is in July."],
    "a list after a colon": ["You must bring all of these:\n\n- a laptop\n- a pen", "Grades follow in May."],
    "a question with its answer": ["Q: Are lectures recorded?\nA: Yes, all of them are.", "They stay online."],
    "a colon amid a sentence": ["It comes in these forms: problem sets, quizzes.", "They are due on Friday."],
}


@pytest.mark.parametrize("statements", WHOLE.values(), ids=WHOLE.keys())
def test_a_statement_keeps_what_it_cannot_be_read_without(statements: list[str]) -> None:
    text = "\n\n".join(statements)
    assert [text[start:end] for start, end in statement_spans(text)] == statements


def test_a_table_of_contents_states_nothing() -> None:
    text = "1 Getting help ........................... 3\n\nHelp is given in the office hours."
    assert [text[start:end] for start, end in statement_spans(text)] == ["Help is given in the office hours."]


@given(st.text(alphabet="aB 1.:?-\n•|", max_size=80))
def test_statements_are_spans_in_order_without_overlap(text: str) -> None:
    ends = [0]
    for start, end in statement_spans(text):
        assert ends[-1] <= start < end <= len(text)
        ends.append(end)


def stated(text: str, similarity: float = 0.5, overlap: float = 0.0) -> Evidence:
    place = Location(LocationKind.PAGE, 1)
    hit = Hit(Passage(1, "c", "a.pdf", "A", Chunk(f"before {text} after", 0, len(text) + 13, place)), 1, 0.0, 0.4)
    return Evidence(hit, 7, 7 + len(text), similarity, overlap)


TABLE = "Grades\nAttendance\t5%\nFinal\t25%\nBonus Points\t9%"


def test_of_a_table_the_row_that_answers_is_quoted() -> None:
    weights = {"bonus": 3.0, "point": 2.0, "final": 1.0, "grade": 1.0}
    assert narrowed(stated(TABLE), weights).text == "Bonus Points\t9%"
    assert narrowed(stated(TABLE), {"scale": 1.0}).text == TABLE
    assert narrowed(stated(TABLE), {"final": 1.0, "attend": 1.0}).text == TABLE  # two rows: no one leads
    assert narrowed(stated("Bonus\nPoints"), weights).text == "Bonus\nPoints"
    opened = "Bonus points are given for:\n- a talk\n- a poster"
    assert narrowed(stated(opened), weights).text == opened


def test_as_many_statements_as_the_question_wants() -> None:
    near, far, other = stated("One.", 0.9), stated("Two.", 0.9 - CLEAR_LEAD - 0.01), stated("Three.", 0.1)
    assert [one.text for one in quoted_statements([near, far, other], {}, "When is it due?")] == ["One."]
    close = stated("Two.", 0.9 - CLEAR_LEAD + 0.01)
    assert [one.text for one in quoted_statements([near, close, other], {}, "When is it due?")] == ["One.", "Two."]
    assert len(quoted_statements([near, far, other], {}, "What are the objectives?")) == 3


def test_the_floor_follows_from_the_cost() -> None:
    assert floor_of_cost(2, 0.2) == pytest.approx(1 / 3)
    assert floor_of_cost(1, 0.5) == 0.5
    assert floor_of_cost(0, 0.2) == 0


def test_without_evidence_there_is_no_confidence(engine: Engine) -> None:
    assert select_evidence(engine.searcher.embedder.embed_query("x"), [], {}, engine.searcher.embedder) == []
    assert confidence([]) == 0


def test_confidence_is_higher_for_what_the_materials_hold(engine: Engine) -> None:
    def sure(question: str) -> float:
        searcher = engine.searcher
        query = searcher.embedder.embed_query(question)
        return confidence(
            select_evidence(query, hits(engine, question), word_weights(question, searcher.store, "optics", None), searcher.embedder)
        )

    assert sure("How many points does a late day cost?") > sure("Where can I park my bicycle?")


READ = "The room is bright. Late work costs five points. Ask the tutor."


def read(rank: int, answers: float, *spans: ScoredSpan, score: float = 0.0) -> Hit:
    place = Location(LocationKind.PAGE, 1)
    chunk = Chunk(READ, 0, len(READ), place)
    return Hit(Passage(rank, "c", f"{rank}.pdf", "A", chunk), rank, score, 0.4, reading=Reading(answers, 0.0, spans))


def test_what_the_reader_names_is_the_strongest_statement() -> None:
    costs = ScoredSpan(READ.index("five"), READ.index(" Ask") - 1, 6.0)
    tutor = ScoredSpan(READ.index("the tutor"), len(READ), 2.0)
    reading = read(1, 1.5, costs, tutor).reading
    assert reading is not None
    assert answering(reading, 20, 48) == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert answering(reading, 49, 63) == pytest.approx(1 / (1 + math.exp(-(1.5 - 2)))), "four logits behind the best stretch"
    assert answering(reading, 0, 19) == pytest.approx(1 / (1 + math.exp(-(1.5 - UNNAMED / 2))))
    hits = [read(1, -3.0, costs), read(2, 1.5, costs, tutor)]
    first, second, *others = select_evidence(np.zeros(0, np.float32), hits, {}, NoEmbedder())
    assert (first.hit.rank, first.text) == (2, "Late work costs five points.")
    assert (second.hit.rank, second.text) == (2, "Ask the tutor.")
    assert len(others) == 4


def test_confidence_rises_with_what_the_reader_says() -> None:
    costs = ScoredSpan(READ.index("five"), READ.index(" Ask") - 1, 6.0)

    def sure(answers: float) -> float:
        return confidence(select_evidence(np.zeros(0, np.float32), [read(1, answers, costs)], {}, NoEmbedder()))

    assert sure(-4.0) < sure(0.0) < sure(4.0)


def test_readings_count_only_where_all_hits_were_read() -> None:
    costs = ScoredSpan(READ.index("five"), READ.index(" Ask") - 1, 6.0)
    embedder, weights = HashingEmbedder(), {"late": 1.0}
    query = embedder.embed_query("What does late work cost?")
    for mixed in ([read(1, 3.0, costs), unread(2)], [unread(1), read(2, 3.0, costs)]):
        evidence = select_evidence(query, mixed, weights, embedder)
        as_if_unread = select_evidence(query, [replace(hit, reading=None) for hit in mixed], weights, embedder)
        assert evidence == as_if_unread
        assert confidence(evidence) == confidence(as_if_unread)


def unread(rank: int) -> Hit:
    return replace(read(rank, 0.0), reading=None)


class NoEmbedder(HashingEmbedder):
    """Where a reader has read, nothing is embedded."""

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(f"embedded {texts}")
