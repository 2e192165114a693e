"""`tune embedder`: questions and the passages that answer them brought together, away from what our retriever took for an answer.

The result is a folder for `embedder = FOLDER` in the config. Vectors of another embedder are of no use with it: a store must be built anew.
Adapters are merged into the weights, so that it loads without peft, and computes as fast as the one it was fitted from.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.config import Config
from rag.text import embedded_text
from tuning.encoders import (
    MRR,
    add_encoder_arguments,
    answerable,
    find_start,
    mean_reciprocal_rank,
    prepare_for_trainer,
    shown,
    with_lora,
)
from tuning.examples import Example, LabelledPassage
from tuning.settings import Settings

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraModel
    from sentence_transformers import SentenceTransformer
    from transformers import Trainer, TrainerCallback

DEFAULTS: Mapping[str, Any] = {"learning_rate": 1e-4, "batch": 32}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_encoder_arguments(parser, negatives=2)


def make_task(
    fit: Sequence[Example], validate: Sequence[Example], settings: Settings, config: Config, options: argparse.Namespace
) -> EmbedderTask:
    start = find_start(options, config)
    return EmbedderTask(answerable(fit), answerable(validate), start, settings.device, options.negatives, options.lora, settings.seed)


@dataclass(slots=True)
class EmbedderTask:
    """See `tuning.task.Task`. A sample is a question, the passage that answers it, and hard negatives.

    The other passages of a batch are negatives, too (van den Oord et al., "Representation Learning with Contrastive Predictive Coding",
    2018). So a smaller batch with more accumulation is not the same here: each pass compares within itself.
    """

    fit: Sequence[Example]
    validate: Sequence[Example]
    start: Path
    device: str
    negatives: int = 2
    rank: int = 16
    seed: int = 0
    measure: str = MRR
    _adapted: LoraModel | None = field(default=None, init=False)

    def make_trainer(self, arguments: Mapping[str, Any], callbacks: Sequence[TrainerCallback]) -> Trainer:
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        model = self._model()
        return SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(**arguments, batch_sampler="no_duplicates"),
            train_dataset=_rows(self.fit, self.negatives, self.seed),
            loss=MultipleNegativesRankingLoss(model),
            callbacks=list(callbacks),
        )

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        encode = trainer.model.encode
        texts = sorted({_text(passage) for one in self.validate for passage in one.passages})
        vectors = dict(zip(texts, encode(texts, show_progress_bar=False, normalize_embeddings=True), strict=True))
        questions = encode([one.question for one in self.validate], show_progress_bar=False, normalize_embeddings=True)
        pairs = zip(self.validate, questions, strict=True)
        scores = [[float(np.dot(question, vectors[_text(passage)])) for passage in one.passages] for one, question in pairs]
        return {MRR: mean_reciprocal_rank(self.validate, scores)}

    def save(self, trainer: Trainer, folder: Path) -> None:
        if self._adapted is not None:
            self._adapted.merge_and_unload(safe_merge=True)
        trainer.model.save_pretrained(str(folder), create_model_card=False)

    def notes(self, folder: Path) -> Sequence[str]:
        return (
            f'To use it: embedder = "{folder}" in the config, then build the store anew: python -m ingest --rebuild.',
            "Measure it: python -m rag evaluate, with both embedders, each with a store of its own.",
        )

    def _model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(self.start), device=self.device, trust_remote_code=False, model_kwargs={"use_safetensors": True})
        self._adapted = with_lora(model.transformers_model, self.rank)
        prepare_for_trainer(model)
        return model


def _text(passage: LabelledPassage) -> str:
    """As the store embeds it."""
    return embedded_text(passage.context, passage.text)


def _rows(examples: Sequence[Example], negatives: int, seed: int) -> Dataset:
    """A row for each question: the answering passage that was found first, and so many that do not answer.

    Where a question has fewer, passages of other questions make up the number.
    """
    from datasets import Dataset

    chance = random.Random(seed)
    others = sorted({_text(passage) for one in examples for passage in one.passages})
    rows = []
    for example in examples:
        right, wrong = shown(example, negatives)
        own = {_text(passage) for passage in example.passages}
        spare = [text for text in others if text not in own] or others
        texts = [_text(passage) for passage in wrong]
        texts += [chance.choice(spare) for _ in range(negatives - len(texts))]
        columns = {f"negative_{number}": text for number, text in enumerate(texts, 1)}
        rows.append({"anchor": example.question, "positive": _text(right[0])} | columns)
    return Dataset.from_list(rows)
