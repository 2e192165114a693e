"""The generator fitted: SmolLM2, or another causal LM, with a LoRA adapter (Hu et al., arXiv:2106.09685).

From a question with numbered statements of the materials to a short answer in their words, with the number of its source, or to the
refusal phrase. Only the tokens of the answer carry loss, and only for them are logits computed: with 49,152 tokens in the vocabulary that
would be a fifth of the work. Rows are drawn by length, so that there is little padding.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from rag import adapter
from rag.command_line import positive
from rag.composition import complete_sentences
from rag.config import BUNDLED, NONE, Config
from rag.embed import Embedder, SentenceTransformerEmbedder
from rag.errors import ConfigError, LecternError, ModelError
from rag.generate import TransformersChatModel, stream_chat, tokenize
from rag.ground import ground
from rag.judge import token_f1
from rag.markers import without_markers
from rag.models import ModelFiles, find_generator, load_generator, load_tokenizer
from rag.prompts import STOP
from rag.refusal import declines
from rag.text import sentences
from rag.types import Support
from tuning.exchanges import Exchange, Form, make_exchanges
from tuning.task import computing

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

    from tuning.examples import Example
    from tuning.settings import Settings

DEFAULTS: Mapping[str, Any] = {"learning_rate": 4e-4, "epochs": 2.0, "batch": 8, "accumulation": 2, "weight_decay": 0.0}
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All matrices of a layer: an adapter of attention alone learns less (Dettmers et al., "QLoRA", 2023, section 4). The embeddings stay."""
PADDED_TO = 16
"""Rows are as long as a multiple of so many tokens: oneDNN compiles its kernels for each length."""
IGNORED = -100
"""What torch's cross entropy leaves out."""
ROWS_MEASURED = 8
"""Rows in a pass that only measures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rank", type=positive, default=8, help="rank of the adapter (default 8: 4.9 MB for the bundled generator)")
    parser.add_argument("--alpha", type=positive, default=None, help="its scale is alpha / rank (default: twice the rank)")
    parser.add_argument("--dropout", type=float, default=0.0, help="dropout before the adapter (default 0)")
    parser.add_argument("--refusals", type=float, default=Form().refusals, help="share of refusals among the examples (default 0.15)")
    parser.add_argument(
        "--targets",
        choices=("held", "golden"),
        default="held",
        help="what is learnt where the materials do not hold the golden answer word by word: their own words (held), or it (golden)",
    )
    parser.add_argument("--no-markers", action="store_true", help="learn answers without the number of their source")
    parser.add_argument("--prompt-tokens", type=positive, default=Form().longest, help="longest prompt (default 512)")
    parser.add_argument(
        "--answers", type=positive, default=24, help="validation questions of either kind that are answered to measure (default 24)"
    )
    parser.add_argument("--loss-rows", type=positive, default=200, help="validation examples that the loss is measured on (default 200)")


def make_task(
    fit: Sequence[Example], validate: Sequence[Example], settings: Settings, config: Config, options: argparse.Namespace
) -> GeneratorTask:
    """
    Raises:
        LecternError: no example can be used, or a model is not there.
    """
    if config.base_url or config.generator == NONE:
        raise ConfigError('a generator is fitted in this process; set generator = "bundled" or a folder, and no base_url')
    if not 0 <= options.refusals < 1:
        raise ConfigError(f"refusals is {options.refusals}; expected a share from 0 to less than 1")
    if not 0 <= options.dropout < 1:
        raise ConfigError(f"dropout is {options.dropout}; expected 0 to less than 1")
    embedder = SentenceTransformerEmbedder.from_config(config)
    return task_of(fit, validate, settings, config, options, find_generator(config.generator, config.allow_downloads), embedder)


def task_of(
    fit: Sequence[Example],
    validate: Sequence[Example],
    settings: Settings,
    config: Config,
    options: argparse.Namespace,
    files: ModelFiles,
    embedder: Embedder,
) -> GeneratorTask:
    """The task over models that are found.

    Raises:
        LecternError: no example can be used.
    """
    tokenizer = load_tokenizer(files)
    form = Form(options.refusals, options.targets == "held", not options.no_markers, options.prompt_tokens)

    def count(messages: Sequence[BaseMessage]) -> int:
        return len(tokenize(messages, tokenizer, files.id))

    exchanges, held_out = (make_exchanges(examples, embedder, config, form, count, settings.seed) for examples in (fit, validate))
    if not any(not one.declines for one in exchanges) or not any(not one.declines for one in held_out):
        raise LecternError(
            f"{len(exchanges)} exchanges can be made of {len(fit)} examples to fit on and {len(held_out)} of {len(validate)} to validate; "
            "expected some of either with an answer: give more questions with quotes, or raise --prompt-tokens"
        )
    lora = Lora(options.rank, options.alpha or 2 * options.rank, options.dropout)
    return GeneratorTask(files, tokenizer, config, lora, exchanges, held_out, options.answers, options.loss_rows, settings.seed)


@dataclass(frozen=True, slots=True)
class Lora:
    rank: int
    alpha: int
    dropout: float


class GeneratorTask:
    """See `tuning.task.Task`."""

    measure = "log-likelihood"

    def __init__(
        self,
        files: ModelFiles,
        tokenizer: Any,
        config: Config,
        lora: Lora,
        exchanges: Sequence[Exchange],
        held_out: Sequence[Exchange],
        answers: int,
        loss_rows: int,
        seed: int,
    ) -> None:
        """
        Args:
            answers: held-out exchanges of either kind (with an answer, without) that are generated to measure.
            loss_rows: held-out exchanges whose loss is measured.
        """
        self._files, self._tokenizer, self._config, self._lora = files, tokenizer, config, lora
        self.rows = self._rows(exchanges)
        dice = random.Random(seed)
        self._measured = self._rows(_some(held_out, loss_rows, dice))
        kinds = ([one for one in held_out if one.declines is declined] for declined in (False, True))
        self._asked = [one for kind in kinds for one in _some(kind, answers, dice)]

    def _rows(self, exchanges: Sequence[Exchange]) -> list[dict[str, list[int]]]:
        return [row_of(one, self._tokenizer, self._files.id) for one in exchanges]

    def make_trainer(self, arguments: Mapping[str, Any], callbacks: Sequence[TrainerCallback]) -> Trainer:
        from transformers import Trainer, TrainingArguments

        collator = Collator(self._tokenizer.eos_token_id)
        settings = TrainingArguments(**arguments, remove_unused_columns=False, train_sampling_strategy="group_by_length")
        model = self._model(is_bfloat16=bool(arguments.get("bf16")))
        return Trainer(model, settings, collator, self.rows, callbacks=list(callbacks))

    def _model(self, is_bfloat16: bool) -> Any:
        """The generator with a new adapter. Its own weights, which stay, are kept in the type that they are computed in, so that no pass
        casts them; the adapter's are fp32."""
        from peft import LoraConfig, get_peft_model

        # On the CPU: the trainer puts it where it computes.
        config = self._config.replace(dtype="bfloat16" if is_bfloat16 else "float32", device="cpu", quantize=NONE)
        base, _ = load_generator(self._files, config)
        found = {name.rpartition(".")[2] for name, _ in base.named_modules()}
        if not found.issuperset(MATRICES):
            raise ModelError(f"{self._files.id} is a {type(base).__name__}; an adapter is fitted to models with {', '.join(MATRICES)}")
        lora = self._lora
        settings = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(MATRICES), task_type="CAUSAL_LM"
        )
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by an old name; that says nothing to whoever fits.
            warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated", category=FutureWarning)
            return get_peft_model(base, settings)

    def evaluate(self, trainer: Trainer) -> Mapping[str, float]:
        """`log-likelihood`: nats a token of the wanted answers. Of the answers that are generated, greedily: `F1` with the golden one,
        `supported`, the share of their sentences that would be shown, and how often the phrase was written rightly and wrongly."""
        import torch

        model: Any = trainer.model
        model.eval()
        with torch.no_grad(), computing(trainer):
            nats = mean_nats(model, self._measured, Collator(self._tokenizer.eos_token_id))
        return {self.measure: -nats, **judged(self._asked, self._write(trainer), self._config.answer_sentences)}

    def _write(self, trainer: Trainer) -> list[str]:
        """What the generator answers to the exchanges that are asked, as it would for readers: the adapter saved, merged, many at once."""
        with tempfile.TemporaryDirectory() as folder:
            self.save(trainer, Path(folder))
            files = replace(self._files, adapter=Path(folder))
            chat_model = TransformersChatModel(files=files, config=self._config.replace(device=str(trainer.args.device)))
            try:
                with ThreadPoolExecutor(self._config.generation_slots) as pool:
                    return list(pool.map(lambda one: _answered(chat_model, one, self._config), self._asked))
            finally:
                chat_model.close()

    def save(self, trainer: Trainer, folder: Path) -> None:
        """As peft saves it, in fp16, and without the path of the generator, which is this machine's."""
        import torch
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        model: Any = trainer.model
        weights = {name: weight.detach().to("cpu", torch.float16).contiguous() for name, weight in get_peft_model_state_dict(model).items()}
        save_file(weights, folder / adapter.WEIGHTS, metadata={"format": "pt"})
        settings = copy(model.peft_config["default"])
        settings.base_model_name_or_path, settings.inference_mode = self._files.id, True
        settings.save_pretrained(folder)

    def notes(self, folder: Path) -> Sequence[str]:
        beside = "" if self._config.generator == BUNDLED else f' beside generator = "{self._config.generator}"'
        size_mb = (folder / adapter.WEIGHTS).stat().st_size / 1e6
        return [f'set adapter = "{folder}" in lectern.toml{beside}; it has {size_mb:.1f} MB and needs no package']


def _answered(chat_model: TransformersChatModel, one: Exchange, config: Config) -> str:
    """The text that is generated until there are as many sentences as an answer has."""
    text = ""
    with closing(stream_chat(chat_model, list(one.messages), STOP, config.decoding)) as chunks:
        for chunk in chunks:
            text += chunk.text
            if len(complete_sentences(text)[0]) >= config.answer_sentences:
                break
    return text


def row_of(one: Exchange, tokenizer: Any, name: str) -> dict[str, list[int]]:
    """`input_ids` and as many `labels`: the tokens of prompt and answer, those of the prompt ignored in the labels. The answer ends with
    the token that ends the generator's turn."""
    prompt = tokenize(one.messages, tokenizer, name)
    target = [*tokenizer(one.target, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}


@dataclass(frozen=True, slots=True)
class Collator:
    """Rows to a batch, padded on the right: with no mask, as no token sees those after it. `logits_to_keep` marks the places from which the
    labels are told, and only these: the labels stand in one row, `(all of the batch,)`, each already beside its place."""

    pad: int

    def __call__(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        import torch

        width = -(-max(len(row["input_ids"]) for row in rows) // PADDED_TO) * PADDED_TO

        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([[*row[name], *[value] * (width - len(row[name]))] for row in rows])

        following = padded("labels", IGNORED).roll(-1, 1)  # the first is a prompt's
        labels = following[following != IGNORED]
        # Both names: transformers shifts `labels` itself, unless it is given what they are when shifted.
        return {
            "input_ids": padded("input_ids", self.pad),
            "labels": labels,
            "shift_labels": labels,
            "logits_to_keep": following != IGNORED,
        }


def mean_nats(model: Any, rows: Sequence[Mapping[str, Sequence[int]]], collate: Collator) -> float:
    """The cross entropy of a token of the answers, over all of them."""
    total, tokens = 0.0, 0
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    for at in range(0, len(ordered), ROWS_MEASURED):
        batch = _to_device(collate(ordered[at : at + ROWS_MEASURED]), model.device)
        count = len(batch["labels"])
        total += float(model(**batch).loss) * count
        tokens += count
    return total / tokens


def judged(asked: Sequence[Exchange], written: Sequence[str], answer_sentences: int) -> dict[str, float]:
    """What the generated texts are worth. A refusal of a question that has an answer has no words in common with it."""
    scores: list[float] = []
    shown: list[bool] = []
    refused: dict[bool, list[bool]] = {True: [], False: []}
    for one, text in zip(asked, written, strict=True):
        refused[one.declines].append(declines(text))
        if one.declines:
            continue
        told = [] if declines(text) else told_sentences(text, answer_sentences)
        scores.append(token_f1(" ".join(told), one.answers[0]))
        shown += [ground(sentence, one.passages, one.question).support is Support.SUPPORTED for sentence in told]
    shares: dict[str, Sequence[float]] = {
        "F1": scores,
        "supported": shown,
        "refused rightly": refused[True],
        "refused wrongly": refused[False],
    }
    return {name: sum(values) / len(values) for name, values in shares.items() if values}


def told_sentences(text: str, most: int) -> list[str]:
    """The first sentences of a generated text, without markers."""
    complete, rest = complete_sentences(text)
    return [*complete, *sentences(without_markers(rest))][:most]


def _to_device(batch: Mapping[str, Any], device: Any) -> dict[str, Any]:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _some(exchanges: Sequence[Exchange], most: int, dice: random.Random) -> list[Exchange]:
    return dice.sample(list(exchanges), min(most, len(exchanges)))
