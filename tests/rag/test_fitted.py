"""The weights that ship: small, with a card each, loaded by default, off by config; and what they do to answers of the sample course."""

from __future__ import annotations

import pytest

from rag.adapter import WEIGHTS as ADAPTER
from rag.answer import answer
from rag.config import NONE, Config
from rag.engine import Engine
from rag.models import BUNDLED_ADAPTER
from rag.reader import BUNDLED_READER, WEIGHTS, load_reader
from rag.types import Answer, Scope

SAMPLE = Scope("llm-systems")
LATE = "How many percentage points does each late day cost?"
ELSEWHERE = "What does a parking permit for bicycles cost?"


def test_weights_are_small_and_each_has_a_card() -> None:
    files = [BUNDLED_READER / WEIGHTS, BUNDLED_ADAPTER / ADAPTER]
    assert sum(file.stat().st_size for file in files) < 30_000_000
    for file in files:
        card = (file.parent / "README.md").read_text("utf-8")
        assert all(told in card for told in ("| Base |", "| Data |", "| Licence |", "| Command |", "**Limits.**")), file


@pytest.mark.models
def test_the_reader_is_on_by_default_and_off_by_config(sample_engine: Engine) -> None:
    assert sample_engine.searcher.reader is not None
    assert load_reader(Config(reader=NONE)) is None
    hits = sample_engine.searcher.search(LATE, SAMPLE)
    read = [hit for hit in hits if hit.reading is not None]
    assert read
    best = max(read, key=lambda hit: hit.reading.answers if hit.reading else 0.0)
    assert best.reading is not None
    span = best.reading.spans[0]
    assert "10" in best.passage.chunk.text[span.start : span.end]


@pytest.mark.models
def test_it_tells_what_the_materials_hold_from_what_they_do_not(sample_engine: Engine) -> None:
    held, not_held = _quoted(LATE, sample_engine), _quoted(ELSEWHERE, sample_engine)
    assert not held.abstained
    assert "10 percentage points" in held.text
    assert not_held.confidence < 0.5 < held.confidence


@pytest.mark.models
def test_the_adapted_generator_writes_what_the_materials_hold(sample_engine: Engine) -> None:
    written = [answer(question, SAMPLE, sample_engine) for question in (LATE, "What is paged attention?", "When is the final project due?")]
    by_generator = [sentence for one in written for sentence in one.sentences if not sentence.quoted]
    dropped = [sentence for one in written for sentence in one.dropped]
    assert len(by_generator) > len(dropped)
    assert any("10 percentage points" in sentence.text for sentence in by_generator)


def _quoted(question: str, engine: Engine) -> Answer:
    """The answer by the evidence alone."""
    return answer(question, SAMPLE, Engine(engine.searcher, None, engine.config.replace(generator=NONE, confidence_floor=0.0)))
