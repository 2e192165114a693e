"""The fits of reranker and embedder: with an encoder of two layers, and with the bundled one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoder import examples, save_tiny_encoder

from rag.config import BUNDLED, Config
from rag.embed import SentenceTransformerEmbedder
from rag.encoder import read_recipe
from rag.errors import LecternError
from rag.models import find_embedder, load_reranker
from tuning.embedder import EmbedderTask, _rows
from tuning.encoders import MRR, answerable, mean_reciprocal_rank, shown, with_lora
from tuning.examples import Example, LabelledPassage
from tuning.fit import fit
from tuning.report import Report
from tuning.reranker import BCE, LISTWISE, RerankerTask, _lists, _pairs
from tuning.settings import Precision, Settings
from tuning.task import Task

SETTINGS = Settings(learning_rate=0.01, steps=40, precision=Precision.FP32, device="cpu", validations=0.1, patience=0)
CPU = Config(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(autouse=True)
def _trials_are_kept_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def passage(text: str, relevant: bool) -> LabelledPassage:
    return LabelledPassage("", text, answers=relevant, relevant=relevant)


def example(*relevant: bool) -> Example:
    return Example("q", tuple(passage(f"text {number}", one) for number, one in enumerate(relevant)), (), "fact", "g")


def run(task: Task, out: Path, settings: Settings = SETTINGS) -> Report:
    return fit("encoder", task, settings, out, {}, lambda line: None)


def test_mrr_by_hand() -> None:
    asked = [example(False, True, False), example(True, False, True)]
    assert mean_reciprocal_rank(asked, [[0.9, 0.5, 0.1], [0.2, 0.1, 0.0]]) == (1 / 2 + 1) / 2
    assert mean_reciprocal_rank(asked, [[0.9, 0.0, 0.1], [0.2, 0.9, 0.8]]) == (1 / 3 + 1 / 2) / 2
    assert mean_reciprocal_rank(asked, [[1, 1, 1], [1, 1, 1]]) == (1 / 3 + 1 / 2) / 2, "a model that says the same of all has not ranked"


def test_questions_without_an_answer_or_without_a_wrong_passage_teach_no_ranking() -> None:
    assert answerable([example(True), example(False), example(True, False), example()]) == [example(True, False)]
    with pytest.raises(LecternError, match="of 1 questions none has both"):
        answerable([example(True)])


def test_the_wrong_passages_shown_are_those_found_first() -> None:
    right, wrong = shown(example(False, True, False, True, False), 2)
    assert [one.text for one in right] == ["text 1", "text 3"]
    assert [one.text for one in wrong] == ["text 0", "text 2"]


def test_rows_of_a_cross_encoder() -> None:
    asked = [example(False, True, False, False)]
    assert _lists(asked, 2).to_list() == [{"query": "q", "docs": ["text 1", "text 0", "text 2"], "labels": [1.0, 0.0, 0.0]}]
    assert [tuple(row.values()) for row in _pairs(asked, 1).to_list()] == [("q", "text 1", 1.0), ("q", "text 0", 0.0)]


def test_rows_of_an_embedder_have_all_as_many_negatives_and_none_that_is_among_the_questions_own() -> None:
    first = Example("first?", (passage("right one", True), passage("wrong one", False)), (), "fact", "g")
    second = Example("second?", (LabelledPassage("Optics", "right two", answers=True, relevant=True),), (), "fact", "g")
    rows = _rows([first, second], 2, seed=0).to_list()
    assert rows[0] == {"anchor": "first?", "positive": "right one", "negative_1": "wrong one", "negative_2": "Optics\nright two"}
    assert rows[1]["positive"] == "Optics\nright two"
    assert {rows[1]["negative_1"], rows[1]["negative_2"]} <= {"right one", "wrong one"}


@pytest.mark.parametrize("loss", [LISTWISE, BCE])
@pytest.mark.parametrize("rank", [4, 0])
def test_a_reranker_learns_to_rank_what_it_was_shown_and_loads_as_the_config_loads_one(
    encoder: Path, tmp_path: Path, rank: int, loss: str
) -> None:
    asked = examples()
    task = RerankerTask(asked, asked, encoder, "cpu", 3, rank, loss, max_tokens=64)
    report = run(task, tmp_path / "out", replace(SETTINGS, batch=4 if loss == LISTWISE else 12, steps=100))
    assert report.before is not None
    assert report.after is not None
    assert report.after[MRR] > report.before[MRR] + 0.1
    reranker = load_reranker(str(tmp_path / "out"), CPU)
    scores = [reranker.predict([(one.question, read.text) for read in one.passages]).tolist() for one in asked]
    assert mean_reciprocal_rank(asked, scores) == report.after[MRR]


@pytest.mark.parametrize("rank", [4, 0])
def test_an_embedder_learns_to_find_and_loads_as_the_config_loads_one(encoder: Path, tmp_path: Path, rank: int) -> None:
    asked = examples()
    report = run(EmbedderTask(asked, asked, encoder, "cpu", 2, rank), tmp_path / "out", replace(SETTINGS, batch=12))
    assert report.before is not None
    assert report.after is not None
    assert report.after[MRR] > report.before[MRR] + 0.02
    embedder = SentenceTransformerEmbedder.from_config(CPU.replace(embedder=str(tmp_path / "out")))
    scores = []
    for one in asked:
        vectors = embedder.embed_documents([f"{read.context}\n{read.text}" for read in one.passages])
        scores.append((vectors @ embedder.embed_query(one.question)).tolist())
    assert mean_reciprocal_rank(asked, scores) == report.after[MRR]
    assert embedder.notice == "", "it runs on the fast engine as the one that it was fitted from"


def test_what_a_killed_fit_kept_of_adapters_is_gone_on_from(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint holds adapters and head; the weights below them are the encoder's."""
    settings = replace(SETTINGS, batch=4, steps=12, validations=1)
    whole = run(RerankerTask(examples(), examples(), encoder, "cpu", 3, 4, LISTWISE, 64), tmp_path / "whole", settings)

    class Cut(RerankerTask):
        def evaluate(self, trainer):  # type: ignore[no-untyped-def]
            if trainer.state.global_step == 9:
                raise KeyboardInterrupt
            return super().evaluate(trainer)

    with pytest.raises(KeyboardInterrupt):
        run(Cut(examples(), examples(), encoder, "cpu", 3, 4, LISTWISE, 64), tmp_path / "cut", settings)
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-6" / "fitted.safetensors").stat().st_size < 60_000
    after = run(RerankerTask(examples(), examples(), encoder, "cpu", 3, 4, LISTWISE, 64), tmp_path / "cut", settings)
    assert (after.after, after.before) == (whole.after, whole.before)
    ours, theirs = (load_reranker(str(tmp_path / name), CPU).transformers_model.state_dict() for name in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_checkpointing_computes_the_same(encoder: Path, tmp_path: Path) -> None:
    is_on: list[bool] = []

    class Watched(EmbedderTask):
        def evaluate(self, trainer):  # type: ignore[no-untyped-def]
            is_on.append(trainer.model.transformers_model.is_activation_checkpointing)
            return super().evaluate(trainer)

    settings = replace(SETTINGS, batch=12, steps=5)
    for name, checkpointing in (("kept", False), ("again", True)):
        run(Watched(examples(), examples(), encoder, "cpu", 2, 0), tmp_path / name, replace(settings, checkpointing=checkpointing))
    assert is_on == [False, False, False, True, True, True], "before the fit, at its end, and of the weights kept"
    texts = [one.question for one in examples()]
    kept, again = (
        SentenceTransformerEmbedder.from_config(CPU.replace(embedder=str(tmp_path / name))).embed_documents(texts)
        for name in ("kept", "again")
    )
    np.testing.assert_allclose(kept, again, atol=1e-5)


def test_adapters_are_in_every_linear_layer_and_the_rest_is_frozen(encoder: Path) -> None:
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(encoder)
    assert with_lora(model, 0) is None
    with_lora(model, 4, "classifier")
    fitted = {name.rpartition(".")[0] for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(fitted) == 2 * (2 * 6 + 1) + 1, "two matrices in each of six linear layers of two, in the pooler's, and the head"
    assert "classifier" in fitted


@pytest.mark.models
def test_a_few_steps_on_a_dozen_questions_teach_the_bundled_encoder_to_rank_them(tmp_path: Path) -> None:
    """The encoder has no head to rank with: before, it ranks by chance."""
    start, asked = find_embedder(BUNDLED).path, examples()
    settings = replace(SETTINGS, learning_rate=1e-3, batch=6, steps=16, validations=0.25)
    report = run(RerankerTask(asked, asked, start, "cpu", 3, 8, LISTWISE, 64), tmp_path / "reranker", settings)
    assert report.before is not None
    assert report.after is not None
    assert report.before[MRR] < 0.7
    assert report.after[MRR] > 0.75
    assert load_reranker(str(tmp_path / "reranker"), CPU).predict([(asked[0].question, asked[0].passages[3].text)]).shape == (1,)


@pytest.mark.models
def test_the_bundled_embedder_keeps_its_speed_and_what_it_knows_through_a_fit(tmp_path: Path) -> None:
    start = find_embedder(BUNDLED).path
    asked = [replace(one, question=f"zq{number} vx{number}") for number, one in enumerate(examples())]  # words that nothing has taught it
    settings = replace(SETTINGS, learning_rate=2e-3, batch=12, steps=16)
    report = run(EmbedderTask(asked, asked, start, "cpu", 2, 8), tmp_path / "embedder", settings)
    assert report.before is not None
    assert report.after is not None
    assert report.after[MRR] > report.before[MRR] + 0.2
    assert replace(read_recipe(tmp_path / "embedder"), folder=start) == read_recipe(start), "256 word pieces are read, as before"
