"""What the fits of encoders share (reranker, embedder): where they begin, LoRA in them and merged into them again, MRR."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.command_line import positive
from rag.config import BUNDLED, Config
from rag.errors import LecternError
from rag.models import find_embedder
from tuning.examples import Example, LabelledPassage

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel

MRR = "MRR"


def add_encoder_arguments(parser: argparse.ArgumentParser, negatives: int) -> None:
    """The flags of both fits."""
    parser.add_argument("--from", dest="start", metavar="MODEL", help="what to begin from: bundled, a folder or a hub id (default bundled)")
    parser.add_argument(
        "--negatives", type=positive, default=negatives, metavar="N", help=f"wrong passages a question (default {negatives})"
    )
    parser.add_argument("--lora", type=int, default=16, metavar="RANK", help="fit adapters of this rank; 0 fits all weights (default 16)")


def find_start(options: argparse.Namespace, config: Config) -> Path:
    """The folder of the model that a fit begins from.

    Raises:
        ModelError: there is no such model here.
    """
    return find_embedder(options.start or BUNDLED, config.allow_downloads).path


def with_lora(model: PreTrainedModel, rank: int, head: str = "") -> LoraModel | None:
    """Puts adapters into all linear layers of a model, in place, and freezes the rest (Hu et al., "LoRA", 2021). None for rank 0.

    Args:
        head: the name of a part that is fitted whole beside them.
    """
    if not rank:
        return None
    from peft import LoraConfig, LoraModel

    targets = [name for name in _linear_layers(model) if name != head]
    adapted = LoraModel(model, LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=targets), "default")
    if head:
        model.get_submodule(head).requires_grad_(True)
    return adapted


def _linear_layers(model: PreTrainedModel) -> Iterator[str]:
    from torch import nn

    return (name for name, module in model.named_modules() if isinstance(module, nn.Linear))


def prepare_for_trainer(model: Any) -> None:
    """Gives a sentence-transformers model the method by which transformers turns on checkpointing (its own is of an earlier name), and
    keeps its trainer from collecting examples for a model card.
    """
    model.activation_checkpointing_enable = model.transformers_model.activation_checkpointing_enable
    model.model_card_data.set_widget_examples = lambda dataset: None


def answerable(examples: Sequence[Example]) -> list[Example]:
    """Those with a passage to be ranked first and one to be ranked behind it.

    Raises:
        LecternError: none.
    """
    found = [one for one in examples if len({passage.relevant for passage in one.passages}) == 2]
    if not found:
        raise LecternError(
            f"of {len(examples)} questions none has both a passage that answers it and one that does not; give questions with quotes"
        )
    return found


def shown(example: Example, negatives: int) -> tuple[list[LabelledPassage], list[LabelledPassage]]:
    """Of an example the passages that answer, and the first `negatives` that do not: those that the retriever took for the best."""
    right = [passage for passage in example.passages if passage.relevant]
    wrong = [passage for passage in example.passages if not passage.relevant]
    return right, wrong[:negatives]


def mean_reciprocal_rank(examples: Sequence[Example], scores: Sequence[Sequence[float]]) -> float:
    """The mean of 1 / rank of the best relevant passage, ranked by score. Of equal scores the irrelevant one goes first."""
    total = 0.0
    for example, row in zip(examples, scores, strict=True):
        best = max(score for passage, score in zip(example.passages, row, strict=True) if passage.relevant)
        total += 1 / (1 + sum(score >= best for passage, score in zip(example.passages, row, strict=True) if not passage.relevant))
    return total / len(examples)
