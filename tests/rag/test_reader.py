"""The fitted reader: spans by hand, pairs cut as they are read, both engines alike, and what becomes of the hits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.compose import compose
from rag.config import BUNDLED, Config
from rag.encoder import DTYPES
from rag.engine import Engine
from rag.errors import ModelError
from rag.models import find_embedder
from rag.reader import LONGEST_SPAN, MOST_TOKENS, SETTINGS, WEIGHTS, PairTokenizer, Reader, best_spans, load_reader
from rag.retrieve import Searcher, read_hits
from rag.timing import Stopwatch
from rag.types import Chunk, Hit, Location, LocationKind, Passage, Reading, Scope, ScoredSpan
from support import write_reader

OPTICS = Scope("optics")
PASSAGES = [
    ("Optics › Late work", "Late work costs 5 points a day. After March 9 nothing is accepted."),
    ("", "The lab is in room 12."),
    ("Optics › Exams", "The midterm is on May 3 and counts 30 %. " * 20),
]


def test_the_best_spans_do_not_overlap_and_end_after_they_start() -> None:
    starts = np.array([0.0, 4.0, 1.0, 3.0], np.float32)
    ends = np.array([5.0, 0.0, 2.0, 1.0], np.float32)
    assert list(best_spans(starts, ends)) == [(1, 2, 6.0), (0, 0, 5.0), (3, 3, 4.0)]
    assert list(best_spans(starts[:1], ends[:1])) == [(0, 0, 5.0)]
    assert list(best_spans(starts[:0], ends[:0])) == []


def test_a_span_has_a_longest_length() -> None:
    starts, ends = np.zeros(LONGEST_SPAN + 1, np.float32), np.zeros(LONGEST_SPAN + 1, np.float32)
    starts[0] = ends[-1] = ends[-2] = 9.0
    assert next(best_spans(starts, ends)) == (0, LONGEST_SPAN - 1, 18.0)


@pytest.mark.models
def test_a_pair_is_cut_at_what_is_read_and_knows_the_characters_of_its_text() -> None:
    tokenizer = PairTokenizer(find_embedder(BUNDLED).path / "tokenizer.json")
    first, second, third = tokenizer.pairs("What does late work cost?", PASSAGES)
    text = PASSAGES[0][1]
    assert [text[start:end] for start, end in first.offsets][:5] == ["Late", "work", "costs", "5", "points"]
    assert second.offsets[0] == (0, 3)
    assert first.ids[0] == 101
    assert first.ids.count(102) == 2
    assert len(third.ids) == len(tokenizer.pairs("What does late work cost?", PASSAGES)[2].ids) < MOST_TOKENS
    assert len(PairTokenizer(find_embedder(BUNDLED).path / "tokenizer.json", 40).pairs("?", PASSAGES)[2].ids) == 40
    assert PASSAGES[2][1][slice(*third.offsets[0])] == "The"
    (long_question,) = tokenizer.pairs("why " * 300 + "then", [("", "Because.")])
    assert long_question.first == 1 + 64 + 1
    assert long_question.ids[64] == tokenizer.pairs("then", PASSAGES)[0].ids[1], "the end of a long question is what is asked"


@pytest.mark.models
def test_both_engines_read_alike_and_weights_take_the_place_of_the_encoders(tmp_path: Path) -> None:
    folder = write_reader(tmp_path / "reader")
    packed = Reader(folder, Config(device="cpu", dtype="float32"))
    assert packed.device == "cpu float32"
    found = packed.read("What does late work cost?", PASSAGES)
    assert packed.read("What does late work cost?", PASSAGES[::-1])[::-1] == found
    assert packed.read("?", []) == []
    from safetensors.torch import load_file

    from rag.reader import _DeviceStates, _rows

    heads = packed._engine().heads
    weights = load_file(folder / WEIGHTS)
    twin = _DeviceStates(find_embedder(BUNDLED).path, {name: one for name, one in weights.items() if "encoder" in name}, "cpu")
    rows = _rows(packed._pairs("What does late work cost?", PASSAGES), twin, heads)
    assert [(one.answers, one.relevance) for one in found] == [pytest.approx(tuple(row[:2]), abs=1e-3) for row in rows]
    assert [one.spans[0].score for one in found] == [pytest.approx(row[4], abs=1e-3) for row in rows]


@pytest.mark.models
def test_a_type_that_the_encoder_does_not_compute_leaves_the_choice_to_the_machine(tmp_path: Path) -> None:
    reader = Reader(write_reader(tmp_path / "reader"), Config(device="cpu", dtype="float16"))
    assert reader.device.removeprefix("cpu ") in DTYPES


@pytest.mark.models
def test_it_loads_in_the_background(engine: Engine, tmp_path: Path) -> None:
    reader = Reader(write_reader(tmp_path / "reader"), Config(device="cpu"))
    searcher = Searcher(engine.searcher.store, engine.searcher.embedder, engine.config, reader=reader)
    replace(engine, searcher=searcher, chat_model=None).load_in_background()
    for thread in threading.enumerate():
        if thread.name == "load the models":
            thread.join()
    assert reader.is_loaded


@pytest.mark.models
def test_a_folder_that_is_no_reader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no reader; expected a folder with reader\.safetensors and reader\.json"):
        load_reader(Config(reader=str(tmp_path)))
    folder = write_reader(tmp_path / "reader")
    (folder / SETTINGS).write_text('{"base_revision": "abc"}')
    with pytest.raises(ModelError, match="was fitted over the weights abc"):
        load_reader(Config(reader=str(folder)))
    (folder / SETTINGS).write_text("[1")
    with pytest.raises(ModelError, match=r"reader\.json cannot be read .*; expected JSON with base_revision"):
        load_reader(Config(reader=str(folder)))
    whole = write_reader(tmp_path / "whole")
    (whole / WEIGHTS).write_bytes((whole / WEIGHTS).read_bytes()[:1000])
    damaged = load_reader(Config(reader=str(whole), device="cpu"))
    assert damaged is not None
    with pytest.raises(ModelError, match=r"reader\.safetensors is damaged"):
        damaged.read("?", PASSAGES)
    assert load_reader(Config(reader="none")) is None
    assert load_reader(Config(reader=str(folder), reranker="some/reranker")) is None, "where one ranks no reader reads"


class Said:
    """A reader that says what it was told to, by text."""

    def __init__(self, readings: dict[str, Reading]) -> None:
        self.readings = readings

    def read(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Reading]:
        return [self.readings[text] for _, text in passages]


def hit(text: str, score: float, ordinal: int, start: int) -> Hit:
    chunk = Chunk(text, start, start + len(text), Location(LocationKind.PAGE, 1), "", 4)
    return Hit(Passage(ordinal, "c", "a.pdf", "A", chunk, ordinal), ordinal, score)


def test_the_score_is_the_mean_of_the_searchs_and_the_readers() -> None:
    said = Said({"one": Reading(0.0, 1.0, ()), "two": Reading(2.0, 1.0 + np.log(4), ())})
    hits = [hit("one", 0.9, 1, 0), hit("two", 0.5, 2, 4), hit("not read", 0.4, 3, 8)]
    first, second, third = read_hits("?", hits, said, passages=2, weight=0.5)
    assert (first.passage.chunk.text, first.rank, first.score) == ("two", 1, pytest.approx(0.75))
    assert (second.passage.chunk.text, second.rank, second.score) == ("one", 2, pytest.approx(0.5 * 0.9 + 0.5 * 0.25))
    assert first.reading == said.readings["two"]
    assert (third.passage.chunk.text, third.rank, third.score, third.reading) == ("not read", 3, 0.2, None)


class Ranking(Said):
    """Likes passages that hold a word; keeps what it was shown."""

    def __init__(self, word: str) -> None:
        self.word, self.asked = word, []  # type: ignore[var-annotated]

    def read(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Reading]:
        self.asked.append((question, [text for _, text in passages]))
        return [Reading(2.0, 3.0 if self.word in text else 0.0, ()) for _, text in passages]


def test_a_search_reads_its_first_passages_and_ranks_by_them(engine: Engine) -> None:
    searcher, reader = engine.searcher, Ranking("Spherical")
    config = searcher.config.replace(reader_passages=2, reader_weight=1.0, sources=1, passage_tokens=0)
    watch = Stopwatch()
    before = [hit.passage.chunk.text for hit in searcher.search("Which lens aberration blurs the grade?", OPTICS)]
    reading = Searcher(searcher.store, searcher.embedder, config, reader=reader)
    hits = reading.search("Which lens aberration blurs the grade?", OPTICS, watch=watch)
    assert reader.asked == [("Which lens aberration blurs the grade?", before[:2])]
    assert "Spherical" in hits[0].passage.chunk.text
    assert [hit.reading is not None for hit in hits] == [True, True, *[False] * (len(hits) - 2)]
    assert "read" in watch.latency().stages
    assert reading.over(searcher.store).reader is reader


def test_what_an_answer_may_draw_on_is_read_however_it_came_up(engine: Engine) -> None:
    searcher, reader = engine.searcher, Ranking("nothing")
    config = searcher.config.replace(reader_passages=1, sources=2, passage_tokens=0)
    hits = Searcher(searcher.store, searcher.embedder, config, reader=reader).search("Which lens aberration blurs the grade?", OPTICS)
    assert [len(texts) for _, texts in reader.asked] == [1, 1]
    assert [hit.reading is not None for hit in hits[:3]] == [True, True, False]


def test_the_shipped_reader_is_asked_about_english_alone_another_one_about_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher, reader = engine.searcher, Ranking("nothing")
    for named, times in (("bundled", 0), ("some/folder", 1)):
        reader.asked.clear()
        reading = Searcher(searcher.store, searcher.embedder, searcher.config.replace(reader=named), reader=reader)
        german = replace(reading.interpret("Welche Linse?", OPTICS), language="de")
        reading.search(german, OPTICS)
        assert len(reader.asked) == times, named
        reading.search(replace(german, language="en"), OPTICS)
        assert len(reader.asked) == times + 1, named


def test_a_grown_passage_has_the_spans_of_all_its_chunks() -> None:
    text = "one two three. four five six."
    readings = {
        text[:14]: Reading(-1.0, 0.0, (ScoredSpan(4, 7, 1.0),)),
        text[15:]: Reading(3.0, 2.0, (ScoredSpan(0, 4, 5.0), ScoredSpan(10, 13, 0.5))),
    }
    ranked = read_hits("?", [hit(text[:14], 0.9, 1, 0), hit(text[15:], 0.8, 2, 15)], Said(readings), passages=2, weight=0.0)
    (grown,) = compose(ranked, 10, 100, lambda _, start, end: text[start:end])
    apart = [ranked[0], replace(ranked[1], reading=None)]
    assert len(compose(apart, 10, 100, lambda _, start, end: text[start:end])) == 2, "what was not read joins nothing that was"
    assert grown.passage.chunk.text == text
    assert grown.reading is not None
    assert [text[span.start : span.end] for span in grown.reading.spans] == ["four", "two", "six"]
    assert (grown.reading.answers, grown.reading.relevance) == (3.0, 0.0)


@pytest.mark.models
def test_a_gpu_reads_as_a_cpu_does(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    folder = write_reader(tmp_path / "reader")
    on_cpu = Reader(folder, Config(device="cpu", dtype="float32")).read("What does late work cost?", PASSAGES)
    on_gpu = Reader(folder, Config(device="cuda")).read("What does late work cost?", PASSAGES)
    assert [one.answers for one in on_gpu] == pytest.approx([one.answers for one in on_cpu], abs=0.1)  # fp16
    assert [one.relevance for one in on_gpu] == pytest.approx([one.relevance for one in on_cpu], abs=0.1)
    assert [one.spans[0][:2] for one in on_gpu] == [one.spans[0][:2] for one in on_cpu]
