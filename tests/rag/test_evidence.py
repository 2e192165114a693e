from collections.abc import Sequence

import pytest

from rag.answer import Engine
from rag.evidence import confidence, overlap, select_evidence, statement_spans, word_weights
from rag.types import Hit, Scope


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
