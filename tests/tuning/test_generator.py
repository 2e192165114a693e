"""The generator's fit on a random Llama of two layers, whose tokenizer knows every word that stands in these examples."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from rag.config import Config
from rag.decoder import Reading
from rag.errors import ConfigError, LecternError, ModelError
from rag.generate import _load_decoder
from rag.models import ModelFiles, find_adapted_generator, load_generator
from rag.prompts import REFUSAL, Prompt
from rag.types import Chunk, Location, LocationKind, Passage
from support import HashingEmbedder
from tuning import generator
from tuning.examples import Example, LabelledPassage
from tuning.exchanges import Exchange
from tuning.fit import fit, training_arguments
from tuning.generator import Collator, GeneratorTask, judged, mean_nats, row_of, task_of
from tuning.settings import Precision, Settings

pytest.importorskip("peft", reason='fitting a generator needs the extra "tune"')
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft 0.21 in transformers 5.23

CHAT_FORMAT = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {{ message['content'] }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "Easter")
SETTINGS = Settings(
    steps=12,
    learning_rate=0.02,
    warmup=0.0,
    weight_decay=0.0,
    batch=4,
    precision=Precision.FP32,
    device="cpu",
    validations=0.01,
    patience=0,
)


def example(day: str, number: int) -> Example:
    text = f"The exam of group {number} is held on {day} morning. Bring a pencil to the exam. Phones stay outside."
    start = text.index(day)
    passage = LabelledPassage("Optics", text, answers=True, relevant=True, spans=((start, start + len(day)),))
    answer = f"The exam of group {number} is held on {day} morning."
    return Example(f"When is the exam of group {number} held?", (passage,), (answer, day), "fact", str(number))


EXAMPLES = [example(day, number) for number, day in enumerate(DAYS, start=1)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    prompt = Prompt.named("short")
    texts = [prompt.system, prompt.question, prompt.source, REFUSAL, "system user assistant [ ] be short when on friday ."]
    texts += [text for one in EXAMPLES for text in (one.question, one.answers[0], one.passages[0].text, "Optics")]
    pattern = r"<\|\w+\|>|\w+|[^\w\s]"
    found = sorted({word for text in texts for word in re.findall(pattern, text)} | {str(number) for number in range(10)})
    words = {word: number for number, word in enumerate(["<unk>", "<|im_start|>", "<|im_end|>", *found])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+|(?=[^\w\s])|(?<=[^\w\s])"), "removed")
    folder = tmp_path_factory.mktemp("llama")
    special = {"unk_token": "<unk>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT_FORMAT, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=1024, eos_token_id=2, bos_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(llama)


def config_of(llama: Path, **changes: Any) -> Config:
    return Config(generator=str(llama), device="cpu", dtype="float32", **changes)


def options_of(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    generator.add_arguments(parser)
    return parser.parse_args(["--rank", "4", *arguments])


def task(llama: Path, *arguments: str) -> GeneratorTask:
    config = config_of(llama)
    files = ModelFiles("tiny", llama, "1")
    return task_of(EXAMPLES, EXAMPLES[:3], SETTINGS, config, options_of(*arguments), files, HashingEmbedder())


def exchange(target: str, declines: bool = False) -> Exchange:
    text = "Work is due on Friday at noon. Late work loses 5 points."
    passage = Passage(1, "", "s", "", Chunk(text, 0, len(text), Location(LocationKind.LINE, 1), ""))
    messages = (SystemMessage("be short"), HumanMessage("when"))
    return Exchange(messages, target, "When is work due?", () if declines else ("Work is due on Friday at noon.",), (passage,))


def test_only_the_tokens_of_the_answer_and_the_end_of_the_turn_are_labelled(tokenizer: Any) -> None:
    row = row_of(exchange("on friday ."), tokenizer, "tiny")
    known = tokenizer.get_vocab()
    prompt = "<|im_start|> system be short <|im_end|> <|im_start|> user when <|im_end|> <|im_start|> assistant".split()
    answer = [known["on"], known["friday"], known["."], known["<|im_end|>"]]
    assert row["input_ids"] == [*(known[word] for word in prompt), *answer]
    assert row["labels"] == [-100] * 11 + answer


def test_a_batch_is_padded_to_a_multiple_and_keeps_the_places_that_are_learnt_from() -> None:
    rows = [
        {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
        {"input_ids": [5, 6, 4, 4, 9], "labels": [-100, -100, -100, -100, 9]},
    ]
    batch = Collator(pad=2)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8] + [2] * 12, [5, 6, 4, 4, 9] + [2] * 11]
    assert batch["logits_to_keep"].nonzero().tolist() == [[0, 1], [0, 2], [1, 3]]  # where 7, 8 and 9 are told
    assert batch["labels"].tolist() == batch["shift_labels"].tolist() == [7, 8, 9]


def test_the_loss_of_a_batch_is_that_of_its_rows_one_by_one(llama: Path, tokenizer: Any) -> None:
    """Neither padding nor leaving out the prompt's logits changes it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(llama)
    rows = [row_of(exchange(target), tokenizer, "tiny") for target in ("on friday .", "be short", "when when when on .")]
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for row in rows:
            logits = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
            for place, label in enumerate(row["labels"]):
                if label != -100:
                    nats -= float(logits[place - 1, label])
                    tokens += 1
        assert tokens == 4 + 3 + 6
        assert mean_nats(model, rows, Collator(2)) == pytest.approx(nats / tokens, rel=1e-5)
        batch = Collator(2)(rows)
        assert float(model(**batch).loss) == pytest.approx(nats / tokens, rel=1e-5)


def test_the_adapter_alone_is_fitted_and_the_loss_falls(llama: Path, tmp_path: Path) -> None:
    made = task(llama)
    assert len(made.rows) == 8 + 1  # 15 % refusals beside eight answers are one
    report = fit("generator", made, SETTINGS, tmp_path / "out", {"data": "ours"}, lambda line: None)
    assert report.before["log-likelihood"] < -3
    assert report.after["log-likelihood"] > report.before["log-likelihood"] + 1
    assert {"F1", "refused rightly", "refused wrongly"} <= report.after.keys()


def fitted(llama: Path, folder: Path, *arguments: str) -> tuple[GeneratorTask, Any]:
    """A task, and its trainer after a few steps; what it saves lies in the folder."""
    from transformers import set_seed

    made = task(llama, *arguments)
    set_seed(0)
    trainer = made.make_trainer(training_arguments(replace(SETTINGS, steps=4), 4, folder / "run"), [])
    trainer.train()
    (folder / "adapter").mkdir()
    made.save(trainer, folder / "adapter")
    return made, trainer


def test_what_is_saved_loads_and_gives_the_logits_that_peft_gives(llama: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made, trainer = fitted(llama, tmp_path)
    config = config_of(llama, adapter=str(tmp_path / "adapter"))
    files = find_adapted_generator(config)
    by_peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32), str(tmp_path / "adapter")).eval()
    tokens = made.rows[0]["input_ids"]
    with torch.inference_mode():
        expected = by_peft(torch.tensor([tokens])).logits[0]
        ours = load_generator(files, config)[0](torch.tensor([tokens])).logits[0]
        plain = load_generator(replace(files, adapter=None), config)[0](torch.tensor([tokens])).logits[0]
        of_the_fit = trainer.model.eval()(torch.tensor([tokens])).logits[0]
    assert torch.allclose(ours, expected, atol=1e-4)
    assert not torch.allclose(plain, expected, atol=0.5)
    assert torch.allclose(of_the_fit, expected, atol=0.03)  # saved in fp16
    decoder = _load_decoder(files, config)
    assert torch.allclose(decoder.read([Reading(tokens, decoder.start(), wanted=len(tokens))]), expected, atol=1e-3)


def test_the_files_are_small_and_name_no_place_of_this_machine(llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    made, _ = fitted(llama, tmp_path)
    folder = tmp_path / "adapter"
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert str(llama) not in (folder / "adapter_config.json").read_text()
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["r"], settings["lora_alpha"]) == ("tiny", 4, 8)
    weights = load_file(folder / "adapter_model.safetensors")
    # A and B of seven matrices in two layers, rank 4: (32+32) + 2·(32+16) + (32+32) + 3·(32+64) numbers of a layer times 4
    assert sum(weight.numel() for weight in weights.values()) == 2 * 4 * (64 + 96 + 64 + 288)
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert made.notes(folder) == [
        f'set adapter = "{folder}" in lectern.toml beside generator = "{llama}"; it has 0.0 MB and needs no package'
    ]


def test_in_mixed_precision_the_base_is_bf16_and_the_adapter_fp32(llama: Path, tmp_path: Path) -> None:
    import torch

    made = task(llama)
    settings = replace(SETTINGS, steps=2, precision=Precision.BF16, checkpointing=True)
    trainer = made.make_trainer(training_arguments(settings, 4, tmp_path), [])
    types = {weight.requires_grad: weight.dtype for weight in trainer.model.parameters()}
    assert types == {False: torch.bfloat16, True: torch.float32}
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all(".lora_" in name for name in changed)


def test_every_trainer_begins_with_the_same_weights(llama: Path, tmp_path: Path) -> None:
    import torch
    from transformers import set_seed

    made = task(llama)
    models = []
    for _ in range(2):
        set_seed(3)
        trainer = made.make_trainer(training_arguments(replace(SETTINGS, steps=2), 4, tmp_path), [])
        models.append({name: weight.clone() for name, weight in trainer.model.named_parameters()})
        trainer.train()
    assert all(torch.equal(weight, models[1][name]) for name, weight in models[0].items())


def test_what_is_written_is_judged_as_a_reader_would_see_it() -> None:
    asked = [exchange("Work is due on Friday at noon [1].")] * 3 + [exchange(REFUSAL, declines=True)] * 2
    written = [
        "Work is due on Friday at noon [1].",  # all six words right
        "Work is due on Monday at noon. Late work loses 5 points.",
        REFUSAL,
        REFUSAL,
        "Late work loses 5 points.",
    ]
    figures = judged(asked, written, answer_sentences=1)
    # The golden answer has 7 words; of the second answer's 7 that count, 6 are right; the third has none.
    assert figures["F1"] == pytest.approx((1 + 2 * 6 / 14 + 0) / 3)
    assert figures["supported"] == 0.5
    assert figures["refused rightly"] == 0.5
    assert figures["refused wrongly"] == pytest.approx(1 / 3)


def test_without_questions_of_a_kind_it_has_no_figure() -> None:
    figures = judged([exchange("Work is due on Friday at noon.")], ["Work is due on Friday at noon."], answer_sentences=3)
    assert figures == {"F1": 1.0, "supported": 1.0, "refused wrongly": 0.0}


def test_what_cannot_be_fitted_is_refused(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match='set generator = "bundled" or a folder, and no base_url'):
        generator.make_task(EXAMPLES, EXAMPLES, SETTINGS, Config(generator="none"), options_of())
    with pytest.raises(ConfigError, match=r"refusals is 1\.0; expected a share from 0 to less than 1"):
        generator.make_task(EXAMPLES, EXAMPLES, SETTINGS, config_of(llama), options_of("--refusals", "1"))
    with pytest.raises(LecternError, match="0 exchanges can be made of 8 examples .* or raise --prompt-tokens"):
        task(llama, "--prompt-tokens", "20")
    monkeypatch.setattr(generator, "MATRICES", ("c_attn",))
    with pytest.raises(ModelError, match="tiny is a LlamaForCausalLM; an adapter is fitted to models with c_attn"):
        task(llama).make_trainer(training_arguments(SETTINGS, 4, None), [])
