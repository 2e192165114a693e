"""`tune reranker`: a cross-encoder that reads question and passage together, fitted on what our retriever found.

The result is a folder for `reranker = FOLDER` in the config. Adapters are merged into the weights, so that it loads without peft.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.command_line import positive
from rag.config import Config
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
from tuning.examples import Example
from tuning.settings import Settings

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraModel
    from sentence_transformers import CrossEncoder
    from transformers import Trainer, TrainerCallback

DEFAULTS: Mapping[str, Any] = {"learning_rate": 2e-4, "batch": 8}
LISTWISE, BCE = "listwise", "bce"
HEAD = "classifier"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_encoder_arguments(parser, negatives=7)
    parser.add_argument(
        "--loss",
        choices=(LISTWISE, BCE),
        default=LISTWISE,
        help="listwise: LambdaLoss over a question's passages; bce: each passage for itself (default listwise)",
    )
    parser.add_argument("--max-tokens", type=positive, default=320, metavar="N", help="question and passage together (default 320)")


def make_task(
    fit: Sequence[Example], validate: Sequence[Example], settings: Settings, config: Config, options: argparse.Namespace
) -> RerankerTask:
    start = find_start(options, config)
    return RerankerTask(
        answerable(fit), answerable(validate), start, settings.device, options.negatives, options.lora, options.loss, options.max_tokens
    )


@dataclass(slots=True)
class RerankerTask:
    """See `tuning.task.Task`. A sample is a question with its passages (listwise), or one pair of both."""

    fit: Sequence[Example]
    validate: Sequence[Example]
    start: Path
    device: str
    negatives: int = 7
    rank: int = 16
    loss: str = LISTWISE
    max_tokens: int = 320
    measure: str = MRR
    _adapted: LoraModel | None = field(default=None, init=False)

    def make_trainer(self, arguments: Mapping[str, Any], callbacks: Sequence[TrainerCallback]) -> Trainer:
        from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
        from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss

        model = self._model()
        rows = _lists(self.fit, self.negatives) if self.loss == LISTWISE else _pairs(self.fit, self.negatives)
        return CrossEncoderTrainer(
            model=model,
            args=CrossEncoderTrainingArguments(**arguments),
            train_dataset=rows,
            loss=LambdaLoss(model) if self.loss == LISTWISE else BinaryCrossEntropyLoss(model),
            callbacks=list(callbacks),
        )

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        pairs = [(one.question, passage.text) for one in self.validate for passage in one.passages]
        scores = iter(trainer.model.predict(pairs, show_progress_bar=False).tolist())
        return {MRR: mean_reciprocal_rank(self.validate, [[next(scores) for _ in one.passages] for one in self.validate])}

    def save(self, trainer: Trainer, folder: Path) -> None:
        if self._adapted is not None:
            self._adapted.merge_and_unload(safe_merge=True)
        trainer.model.save_pretrained(str(folder), create_model_card=False)

    def notes(self, folder: Path) -> Sequence[str]:
        retrieved = mean_reciprocal_rank(self.validate, [range(0, -len(one.passages), -1) for one in self.validate])
        return (
            f"Without a reranker, as they are retrieved, the held-out passages have MRR {retrieved:.3f}: below that one does harm.",
            f'To use it: reranker = "{folder}" in the config.',
            "Measure it: python -m rag evaluate, with and without that line.",
        )

    def _model(self) -> CrossEncoder:
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(
            str(self.start),
            num_labels=1,
            max_length=self.max_tokens,
            device=self.device,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        self._adapted = with_lora(model.transformers_model, self.rank, HEAD)
        prepare_for_trainer(model)
        return model


def _lists(examples: Sequence[Example], negatives: int) -> Dataset:
    """A row for each question: its passages, as the pipeline gives them to a reranker, and whether they answer."""
    from datasets import Dataset

    rows = []
    for example in examples:
        right, wrong = shown(example, negatives)
        texts = [passage.text for passage in (*right, *wrong)]
        rows.append({"query": example.question, "docs": texts, "labels": [1.0] * len(right) + [0.0] * len(wrong)})
    return Dataset.from_list(rows)


def _pairs(examples: Sequence[Example], negatives: int) -> Dataset:
    """A row for each question and passage."""
    from datasets import Dataset

    rows = []
    for example in examples:
        right, wrong = shown(example, negatives)
        rows += [{"query": example.question, "doc": passage.text, "label": 1.0} for passage in right]
        rows += [{"query": example.question, "doc": passage.text, "label": 0.0} for passage in wrong]
    return Dataset.from_list(rows)
