"""`tune reader`: the encoder's layers and the two heads of `rag.reader`, fitted on examples.

A row is a question with one passage that answers (or, of a question without an answer, the likeliest one), a few that do not, and now and
then the answering passage with the answer cut out: what is left is as near as a wrong passage can be.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.command_line import positive
from rag.config import BUNDLED, Config
from rag.errors import ConfigError, LecternError
from rag.evaluate import auroc
from rag.models import ModelFiles, find_embedder
from rag.reader import BUNDLED_READER, HEADS, SETTINGS, WEIGHTS, Pair, PairTokenizer, best_spans, read_weights, weights_file
from tuning.examples import Example, LabelledPassage
from tuning.settings import Settings
from tuning.task import computing

if TYPE_CHECKING:
    import torch
    from transformers import Trainer, TrainerCallback

    from tuning.reader_model import ReaderModel

DEFAULTS: Mapping[str, Any] = {"learning_rate": 5e-5, "epochs": 3.0, "batch": 8}
FITTED_TOKENS = 256
"""Of a pair: what attention costs grows with the square."""
ENCODER = "encoder"
MOST_SPANS = 8
"""Places of an answer that count."""
JUDGED_QUESTIONS, JUDGED_PASSAGES = 500, 10
"""Of a validation, from all over the set; of a question."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="start", default=BUNDLED, metavar="READER",
        help=f"what to begin from: {BUNDLED} (the shipped reader, the default), {ENCODER} (anew), or a reader's folder",
    )  # fmt: skip
    parser.add_argument(
        "--negatives", type=positive, default=2, metavar="N", help="passages that do not answer, for each question (default 2)"
    )
    parser.add_argument(
        "--holes", type=float, default=0.5, metavar="SHARE",
        help="of the answering passages that are also shown with the answer cut out (default 0.5)",
    )  # fmt: skip


def make_task(
    fit: Sequence[Example], validate: Sequence[Example], settings: Settings, config: Config, options: argparse.Namespace
) -> ReaderTask:
    """
    Raises:
        LecternError: no question to fit on, or none to validate on, has a passage that answers it.
        ModelError: what it should begin from is no reader.
    """
    if not 0 <= options.holes <= 1:
        raise ConfigError(f"holes is {options.holes}; expected a share from 0 to 1")
    base, start = find_embedder(BUNDLED), _start(options.start)
    if start is not None:
        weights_file(start, base)
    return ReaderTask(
        answerable_among(fit, "to fit on"), answerable_among(validate, "held out"), base, options.negatives, options.holes, start
    )


def _start(named: str) -> Path | None:
    """The folder of the reader to begin from; None for the encoder as it is."""
    if named == BUNDLED:
        return BUNDLED_READER if (BUNDLED_READER / WEIGHTS).is_file() else None
    return None if named == ENCODER else Path(named).expanduser()


def answerable_among(examples: Sequence[Example], role: str) -> list[Example]:
    """The same examples, if any has an answer."""
    if not any(passage.answers for example in examples for passage in example.passages):
        raise LecternError(
            f"of the {len(examples)} questions {role} none has a passage that answers it; "
            "give more questions whose quotes stand in the documents"
        )
    return list(examples)


@dataclass(frozen=True, slots=True)
class ReaderTask:
    """See `tuning.task.Task`."""

    fit: Sequence[Example]
    validate: Sequence[Example]
    base: ModelFiles
    negatives: int
    holes: float
    start: Path | None = None
    measure: str = "score"

    def make_trainer(self, arguments: Mapping[str, Any], callbacks: Sequence[TrainerCallback]) -> Trainer:
        from transformers import Trainer, TrainingArguments

        collate = Collator(self._tokenizer(), self.negatives, self.holes)
        training = TrainingArguments(**arguments, remove_unused_columns=False)
        return Trainer(self._model(), training, collate, [{"example": one} for one in self.fit], callbacks=list(callbacks))

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        """`auroc`: the highest `answers` of a question's passages tells whether it has an answer; `mrr`: relevance ranks an answering
        passage first; `found`: the best span of the passage most likely to answer touches a right one; `score`: the mean of these.
        """
        import torch

        model, tokenizer = trainer.model, self._tokenizer()
        model.eval()
        outcomes = []
        with torch.no_grad(), computing(trainer):
            for example in self.validate[:: math.ceil(len(self.validate) / JUDGED_QUESTIONS)]:
                passages = example.passages[:JUDGED_PASSAGES]
                pairs = tokenizer.pairs(example.question, [(one.context, one.text) for one in passages])
                outcomes.append(_outcome(passages, pairs, _read(model, pairs)))
        return _measures(outcomes)

    def save(self, trainer: Trainer, folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        weights = {name: tensor for name, tensor in trainer.model.state_dict().items() if not name.startswith("bert.embeddings.")}
        half = {name.removeprefix("bert."): tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
        save_file(half, folder / WEIGHTS)
        (folder / SETTINGS).write_text(json.dumps({"base": self.base.id, "base_revision": self.base.revision}, indent=2) + "\n")

    def notes(self, folder: Path) -> Sequence[str]:
        begun = "the encoder, of which no reader had been made" if self.start is None else str(self.start)
        return (
            f"it began from {begun}: that is what the figures before the fit are of",
            f'use it with reader = "{folder}" in the config',
            "the confidence is calibrated for the shipped reader; scripts/fit_confidence.py makes its constants for another one",
        )

    def _tokenizer(self) -> PairTokenizer:
        return PairTokenizer(self.base.path / "tokenizer.json", FITTED_TOKENS)

    def _model(self) -> ReaderModel:
        from tuning.reader_model import ReaderModel

        # Without dropout a pass takes half the time on a CPU, where drawing its random numbers costs as much as the products.
        model = ReaderModel.from_pretrained(
            self.base.path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
        )
        if self.start is not None:
            model.load_state_dict(_named_as_fitted(self.start, self.base), strict=False)  # all but the word embeddings
        model.bert.embeddings.requires_grad_(False)  # half of the weights, of words that few examples hold
        return model


def _named_as_fitted(folder: Path, base: ModelFiles) -> dict[str, torch.Tensor]:
    """The weights of a reader, under the names that `ReaderModel` has for them."""
    weights = read_weights(weights_file(folder, base))
    return {name if name.partition(".")[0] in HEADS else f"bert.{name}": tensor.float() for name, tensor in weights.items()}


class Collator:
    """Examples to one padded batch of pairs, drawn anew each time with torch's own random numbers."""

    def __init__(self, tokenizer: PairTokenizer, negatives: int, holes: float) -> None:
        self._tokenizer, self._negatives, self._holes = tokenizer, negatives, holes

    def __call__(self, rows: Sequence[Mapping[str, Example]]) -> dict[str, torch.Tensor]:
        pairs: list[Pair] = []
        shown: list[LabelledPassage] = []
        numbers: list[int] = []
        for number, row in enumerate(rows):
            chosen = self._chosen(row["example"])
            pairs += self._tokenizer.pairs(row["example"].question, [(one.context, one.text) for one in chosen])
            shown += chosen
            numbers += [number] * len(chosen)
        return batch_of(pairs, shown, numbers)

    def _chosen(self, example: Example) -> list[LabelledPassage]:
        import torch

        answering = [one for one in example.passages if one.answers]
        others = [one for one in example.passages if not one.answers]
        if answering:
            first = answering[int(torch.randint(len(answering), ()))]
            chosen = [first]
            if first.hole is not None and torch.rand(()) < self._holes:
                start, end = first.hole
                chosen.append(LabelledPassage(first.context, first.text[:start] + first.text[end:], answers=False, relevant=False))
        else:
            chosen, others = others[:1], others[1:]
        return chosen + [others[at] for at in torch.randperm(len(others))[: self._negatives].tolist()]


def batch_of(pairs: Sequence[Pair], passages: Sequence[LabelledPassage], numbers: Sequence[int]) -> dict[str, torch.Tensor]:
    """What `ReaderModel.forward` takes, padded at the end.

    Args:
        numbers: of the question of each pair.
    """
    import torch

    tokens = max(len(pair.ids) for pair in pairs)
    ids, mask = torch.zeros(2, len(pairs), tokens, dtype=torch.long)
    in_text = torch.zeros(len(pairs), tokens, dtype=torch.bool)
    spans = torch.full((len(pairs), MOST_SPANS, 2), -1)
    for number, (pair, passage) in enumerate(zip(pairs, passages, strict=True)):
        ids[number, : len(pair.ids)] = torch.tensor(pair.ids)
        mask[number, : len(pair.ids)] = 1
        in_text[number, pair.first : pair.first + len(pair.offsets)] = True
        for at, span in enumerate(token_spans(pair, passage)[:MOST_SPANS]):
            spans[number, at] = torch.tensor(span)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "in_text": in_text,
        "spans": spans,
        "answers": torch.tensor([float(one.answers) for one in passages]),
        "relevant": torch.tensor([float(one.relevant) for one in passages]),
        "example": torch.tensor(numbers),
    }


def token_spans(pair: Pair, passage: LabelledPassage) -> list[tuple[int, int]]:
    """First and last token of each span of a passage that is read; a span that is cut off counts as far as it is there."""
    found = []
    for start, end in passage.spans:
        inside = [number for number, (first, last) in enumerate(pair.offsets) if first < end and last > start]
        if inside:
            found.append((pair.first + inside[0], pair.first + inside[-1]))
    return found


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the model says of a question: its highest `answers`; where it can be answered, also the rank and whether the span is right."""

    answers: float
    reciprocal_rank: float | None
    is_found: bool


def _read(model: Any, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Answers and relevance of each pair, `(pairs,)`, and the characters of its best span."""
    blank = LabelledPassage("", "", answers=False, relevant=False)
    device = next(model.parameters()).device
    batch = batch_of(pairs, [blank] * len(pairs), [0] * len(pairs))
    given = {name: batch[name].to(device) for name in ("input_ids", "attention_mask", "in_text")}
    output = model(**given)
    starts, ends = output.starts.cpu().numpy(), output.ends.cpu().numpy()
    spans = []
    for pair, start, end in zip(pairs, starts, ends, strict=True):
        text = slice(pair.first, pair.first + len(pair.offsets))
        first, last, _ = next(iter(best_spans(start[text], end[text])), (0, 0, 0.0))
        spans.append((pair.offsets[first][0], pair.offsets[last][1]) if pair.offsets else (0, 0))
    return output.answers.cpu().numpy(), output.relevance.cpu().numpy(), spans


def _outcome(
    passages: Sequence[LabelledPassage], pairs: Sequence[Pair], read: tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]
) -> _Outcome:
    answers, relevance, spans = read
    best = int(answers.argmax())
    if not any(one.answers for one in passages):
        return _Outcome(float(answers[best]), None, False)
    ranked = np.argsort(-relevance, kind="stable")
    rank = 1 + next(at for at, number in enumerate(ranked) if passages[number].answers)
    start, end = spans[best]
    return _Outcome(float(answers[best]), 1 / rank, any(first < end and last > start for first, last in passages[best].spans))


def _measures(outcomes: Sequence[_Outcome]) -> dict[str, float]:
    answered = [one for one in outcomes if one.reciprocal_rank is not None]
    refused = [one for one in outcomes if one.reciprocal_rank is None]
    measures = {}
    if answered and refused:
        measures["auroc"] = auroc([one.answers for one in answered], [one.answers for one in refused])
    if answered:
        measures["mrr"] = float(np.mean([one.reciprocal_rank for one in answered]))
        measures["found"] = float(np.mean([one.is_found for one in answered]))
    return {"score": float(np.mean(list(measures.values()))), **measures}
