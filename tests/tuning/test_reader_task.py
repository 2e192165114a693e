"""The reader fitted: what it is shown, its losses by hand, a tiny one that learns, and its files read back."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_encoder import examples, save_tiny_encoder

from rag.config import BUNDLED, Config
from rag.errors import LecternError, ModelError
from rag.models import ModelFiles, find_embedder
from rag.reader import BUNDLED_READER, SETTINGS, WEIGHTS, PairTokenizer, Reader, best_spans
from tuning.examples import Example, LabelledPassage
from tuning.fit import fit
from tuning.reader import Collator, ReaderTask, batch_of, make_task, token_spans
from tuning.reader_model import NEVER, ranking_loss, span_loss
from tuning.settings import Precision, Settings

SETTLED = Settings(epochs=60, learning_rate=3e-3, batch=4, precision=Precision.FP32, device="cpu", patience=0, validations=0.1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return ModelFiles("tiny", save_tiny_encoder(tmp_path_factory.mktemp("encoder")), "1")


def spanned() -> list[Example]:
    """The hand-made examples, the last three words of each right passage for an answer; every third question loses what answers."""
    made = []
    for number, example in enumerate(examples()):
        *others, right = example.passages
        start = right.text.rindex(" ", 0, right.text.rindex(" ", 0, right.text.rindex(" "))) + 1
        span = (start, len(right.text) - 1)
        passages = tuple(others) if number % 3 == 2 else (*others, replace(right, spans=(span,), hole=(start, len(right.text))))
        made.append(replace(example, passages=passages))
    return made


def test_the_loss_of_spans_adds_up_the_places_of_an_answer() -> None:
    starts = torch.tensor([[NEVER, 0.0, math.log(3.0)], [NEVER, 5.0, 5.0]])
    ends = torch.tensor([[NEVER, 0.0, 0.0], [NEVER, 5.0, 5.0]])
    once = torch.tensor([[[2, 2], [-1, -1]], [[-1, -1], [-1, -1]]])
    assert span_loss(starts, ends, once).item() == pytest.approx(-math.log(3 / 4 * 1 / 2) / 2), "the second pair has no answer"
    twice = torch.tensor([[[2, 2], [1, 2]], [[-1, -1], [-1, -1]]])
    assert span_loss(starts, ends, twice).item() == pytest.approx(-math.log(3 / 8 + 1 / 8) / 2)
    assert span_loss(starts, ends, torch.full((2, 2, 2), -1)).item() == 0


def test_the_loss_of_ranking_is_over_the_passages_of_one_question() -> None:
    relevance = torch.tensor([0.0, math.log(3.0), 7.0, 1.0, 2.0])
    relevant = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0])
    question = torch.tensor([0, 0, 1, 2, 2])
    assert ranking_loss(relevance, relevant, question).item() == pytest.approx(-math.log(3 / 4)), "the others have nothing to rank"


def test_a_span_is_told_in_tokens_as_far_as_it_is_read(base: ModelFiles) -> None:
    tokenizer = PairTokenizer(base.path / "tokenizer.json")
    text = "The midterm takes place on March 9 in the big hall."
    (pair,) = tokenizer.pairs("When is the midterm?", [("Optics", text)])
    start = text.index("March 9")
    (span,) = token_spans(pair, LabelledPassage("Optics", text, True, True, ((start, start + 7),)))
    first = len("[CLS] when is the midterm ? [SEP] optics".split())
    assert pair.first == first
    assert span == (first + 5, first + 6)
    batch = batch_of([pair], [LabelledPassage("Optics", text, True, True, ((start, start + 7),))], [3])
    assert batch["spans"][0, 0].tolist() == [first + 5, first + 6]
    assert batch["spans"][0, 1].tolist() == [-1, -1]
    assert batch["in_text"][0].nonzero().flatten().tolist() == list(range(first, len(pair.ids) - 1))
    assert (batch["answers"].item(), batch["relevant"].item(), batch["example"].item()) == (1, 1, 3)


def test_a_question_is_shown_with_a_hole_where_its_answer_was(base: ModelFiles) -> None:
    example = spanned()[0]
    with_hole = Collator(PairTokenizer(base.path / "tokenizer.json"), negatives=2, holes=1.0)([{"example": example}])
    assert with_hole["answers"].tolist() == [1, 0, 0, 0]
    right = example.passages[-1]
    assert right.hole is not None
    without = Collator(PairTokenizer(base.path / "tokenizer.json"), negatives=1, holes=0.0)([{"example": example}])
    assert without["answers"].tolist() == [1, 0]
    lengths = with_hole["attention_mask"].sum(1)
    assert lengths[0] - lengths[1] == 4, "three words and the full stop are gone"
    of_none = Collator(PairTokenizer(base.path / "tokenizer.json"), negatives=1, holes=1.0)([{"example": spanned()[2]}])
    assert of_none["answers"].tolist() == [0, 0], "the likeliest passage, and one of the others"


def test_a_tiny_reader_learns_its_examples_and_is_found_in_its_files(base: ModelFiles, tmp_path: Path) -> None:
    task = ReaderTask(spanned(), spanned(), base, negatives=3, holes=0.5)
    report = fit("reader", task, SETTLED, tmp_path / "out", {}, lambda line: None)
    assert report.before["score"] < 0.7 < 0.8 < report.after["score"]
    assert json.loads((tmp_path / "out" / SETTINGS).read_text()) == {"base": "tiny", "base_revision": "1"}

    from safetensors.torch import load_file

    weights = load_file(tmp_path / "out" / WEIGHTS)
    assert {name.split(".")[0] for name in weights} == {"encoder", "span", "judge"}, "no word embeddings"
    begun = ReaderTask(spanned(), spanned(), base, 3, 0.5, start=tmp_path / "out")
    again = fit("reader", begun, replace(SETTLED, steps=1, learning_rate=0.0), tmp_path / "again", {}, lambda line: None)
    assert again.before["score"] == pytest.approx(report.after["score"], abs=0.02), "it goes on from there, rounded to bf16"


@pytest.mark.models
def test_what_is_fitted_is_what_is_read(tmp_path: Path) -> None:
    """The shapes of the real encoder: one step, saved, then the reader in use against the model that torch computes."""
    options = argparse.Namespace(negatives=1, holes=0.0, start="encoder")
    settings = Settings(steps=1, batch=2, precision=Precision.FP32, device="cpu", learning_rate=1e-3, warmup=0.0)
    task = make_task(spanned()[:2], spanned()[:2], settings, Config(), options)
    fit("reader", task, settings, tmp_path / "out", {}, lambda line: None)
    reader = Reader(tmp_path / "out", Config(device="cpu", dtype="float32"))
    begun = replace(task, start=tmp_path / "out")
    model, tokenizer = begun._model().eval(), begun._tokenizer()
    passages = [(one.context, one.text) for one in spanned()[0].passages]
    pairs = tokenizer.pairs("What is the late policy?", passages)
    blank = LabelledPassage("", "", answers=False, relevant=False)
    batch = batch_of(pairs, [blank] * len(pairs), [0] * len(pairs))
    with torch.inference_mode():
        output = model(batch["input_ids"], batch["attention_mask"], batch["in_text"])
    readings = reader.read("What is the late policy?", passages)
    assert [one.answers for one in readings] == pytest.approx(output.answers.tolist(), abs=1e-3)
    assert [one.relevance for one in readings] == pytest.approx(output.relevance.tolist(), abs=1e-3)
    for number, (pair, one) in enumerate(zip(pairs, readings, strict=True)):
        text = slice(pair.first, pair.first + len(pair.offsets))
        first, last, score = next(best_spans(output.starts[number, text].numpy(), output.ends[number, text].numpy()))
        assert one.spans[0].score == pytest.approx(score, abs=2e-3)
        assert (one.spans[0].start, one.spans[0].end) == (pair.offsets[first][0], pair.offsets[last][1])
    assert find_embedder(BUNDLED).revision == json.loads((tmp_path / "out" / SETTINGS).read_text())["base_revision"]


@pytest.mark.models
def test_a_fit_begins_from_the_shipped_reader_unless_another_start_is_named(tmp_path: Path) -> None:
    def start(named: str) -> Path | None:
        options = argparse.Namespace(negatives=1, holes=0.0, start=named)
        return make_task(spanned(), spanned(), SETTLED, Config(), options).start

    assert start("bundled") == BUNDLED_READER
    assert start("encoder") is None
    with pytest.raises(ModelError, match="is no reader"):
        start(str(tmp_path))


@pytest.mark.models
def test_questions_without_any_answer_are_not_enough() -> None:
    options = argparse.Namespace(negatives=1, holes=0.0, start="encoder")
    without = [example for number, example in enumerate(spanned()) if number % 3 == 2]
    with pytest.raises(LecternError, match="of the 4 questions held out none has a passage that answers it"):
        make_task(spanned(), without, SETTLED, Config(), options)
