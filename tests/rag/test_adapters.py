"""Loading options of a generator, on a random Llama of two layers: a LoRA adapter, and what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag import models
from rag.adapter import LoraAdapter, not_plain
from rag.config import Config
from rag.decoder import Reading
from rag.errors import ConfigError, GeneratorUnavailable
from rag.generate import _load_decoder, load_chat_model
from rag.models import BUNDLED_ADAPTER, BUNDLED_GENERATOR, adapter_folder, find_adapted_generator, load_generator

pytest.importorskip("peft", reason="adapters are made by peft here, and compared with what it makes of them")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft 0.21 in transformers 5.23


def small_llama(hidden: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            vocab_size=32,
        )
    )


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    small_llama(16).save_pretrained(folder)
    words = {f"w{number}": number for number in range(31)} | {"</s>": 31}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), eos_token="</s>").save_pretrained(folder)
    return folder


def save_adapter(folder: Path, hidden: int = 16) -> Path:
    """A LoRA adapter of the query projections whose second factor is 0.5 throughout, not zero as at the start of a training."""
    import torch
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(small_llama(hidden), LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.5)
    adapted.save_pretrained(folder)
    return folder


def save_random_adapter(folder: Path, **settings: Any) -> Path:
    """An adapter of every matrix, both factors drawn at random, in fp16 as `tune generator` saves it."""
    import torch
    from peft import LoraConfig, get_peft_model

    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapted = get_peft_model(small_llama(16), LoraConfig(r=4, lora_alpha=12, target_modules=every, task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    adapted.to(torch.float16).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "adapter")


def config_of(generator: Path, adapter: Path | None = None) -> Config:
    return Config(generator=str(generator), adapter=str(adapter) if adapter else "", device="cpu", dtype="float32")


def test_an_adapter_is_merged_into_the_weights_it_was_made_for(generator: Path, adapter: Path) -> None:
    import torch
    from safetensors.torch import load_file

    plain, _ = load_generator(find_adapted_generator(config_of(generator)), config_of(generator))
    config = config_of(generator, adapter)
    adapted, _ = load_generator(find_adapted_generator(config), config)
    assert type(adapted) is type(plain)
    layer = "base_model.model.model.layers.1.self_attn.q_proj"
    lora = load_file(adapter / "adapter_model.safetensors")
    # W + alpha / r · B A
    expected = plain.model.layers[1].self_attn.q_proj.weight + 2.0 * lora[f"{layer}.lora_B.weight"] @ lora[f"{layer}.lora_A.weight"]
    assert torch.allclose(adapted.model.layers[1].self_attn.q_proj.weight, expected, atol=1e-6)
    assert torch.equal(adapted.model.layers[1].self_attn.k_proj.weight, plain.model.layers[1].self_attn.k_proj.weight)


def test_an_adapter_is_part_of_the_models_identity(generator: Path, adapter: Path) -> None:
    plain = find_adapted_generator(config_of(generator))
    adapted = find_adapted_generator(config_of(generator, adapter))
    assert adapted == replace(plain, revision=adapted.revision, adapter=adapter)
    assert adapted.revision.startswith(f"{plain.revision}+")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 8}))  # the same weights, twice as strong
    assert find_adapted_generator(config_of(generator, adapter)).revision != adapted.revision


def test_an_adapter_of_another_model_is_refused(generator: Path, tmp_path: Path) -> None:
    config = config_of(generator, save_adapter(tmp_path / "other", hidden=32))
    with pytest.raises(GeneratorUnavailable, match="other does not fit the generator"):
        load_generator(find_adapted_generator(config), config)


def test_an_adapter_that_lacks_weights_is_refused(generator: Path, adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: weight for name, weight in weights.items() if "layers.1" not in name}, adapter / "adapter_model.safetensors")
    config = config_of(generator, adapter)
    with pytest.raises(GeneratorUnavailable, match=r"does not fit the generator: it lacks model\.layers\.1\.self_attn\.q_proj$"):
        load_generator(find_adapted_generator(config), config)


def test_an_adapter_for_matrices_that_the_model_lacks_is_refused(adapter: Path) -> None:
    with pytest.raises(GeneratorUnavailable, match=r"it is for model\.layers\.1\.self_attn\.q_proj, which the generator lacks"):
        LoraAdapter.load(adapter, ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"])


def test_an_adapter_that_is_not_finite_is_refused(generator: Path, adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    weights["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"][0, 0] = float("nan")
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(GeneratorUnavailable, match=r"a factor of .*layers\.0\.self_attn\.q_proj is not finite"):
        load_generator(find_adapted_generator(config_of(generator, adapter)), config_of(generator, adapter))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["alpha / r", "alpha / sqrt(r)"])
def test_it_is_merged_as_peft_merges_it(generator: Path, tmp_path: Path, dtype: str, settings: dict[str, Any]) -> None:
    import torch

    folder = save_random_adapter(tmp_path / "random", **settings)
    config = config_of(generator, folder).replace(dtype=dtype)
    files = find_adapted_generator(config)
    plain, _ = load_generator(replace(files, adapter=None), config)
    ours, _ = load_generator(files, config)
    by_peft = models._adapted(load_generator(replace(files, adapter=None), config)[0], folder, merge=True)
    for (name, weight), (expected_name, expected) in zip(ours.named_parameters(), by_peft.named_parameters(), strict=True):
        assert name == expected_name
        assert torch.equal(weight, expected), name
    tokens = torch.tensor([[3, 7, 1, 20, 4]])
    with torch.inference_mode():
        expected = by_peft(tokens).logits
        assert torch.equal(ours(tokens).logits, expected)
        assert not torch.allclose(plain(tokens).logits, expected, atol=0.1)
    if dtype == "float32":
        decoder = _load_decoder(files, config)
        read = decoder.read([Reading(tokens[0].tolist(), decoder.start(), wanted=5)])
        assert torch.allclose(read, expected[0], atol=1e-4)


def test_a_plain_adapter_needs_no_peft(generator: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(generator, adapter)
    monkeypatch.setitem(sys.modules, "peft", None)  # import peft raises
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    files = find_adapted_generator(config)
    assert load_generator(files, config)[0].model.layers[0].self_attn.q_proj.weight.shape == (16, 16)
    assert _load_decoder(files, config).recipe.layers == 2


def test_any_other_form_is_left_to_peft(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    folder = save_random_adapter(tmp_path / "dora", use_dora=True)
    config = config_of(generator, folder)
    files = find_adapted_generator(config)
    ours, _ = load_generator(files, config)
    by_peft = models._adapted(load_generator(replace(files, adapter=None), config)[0], folder, merge=True)
    tokens = torch.tensor([[3, 7, 1]])
    with torch.inference_mode():
        assert torch.equal(ours(tokens).logits, by_peft(tokens).logits)
    with pytest.raises(GeneratorUnavailable, match=r"has use_dora = true; expected plain LoRA \(W \+ alpha / r · B A\)"):
        LoraAdapter.load(folder, [])
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match='dora with use_dora = true needs the package peft, .* or set adapter = "none"'):
        find_adapted_generator(config)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"rank_pattern": {"q_proj": 4}}, 'rank_pattern = {"q_proj": 4}'),
        ({"modules_to_save": ["lm_head"]}, 'modules_to_save = ["lm_head"]'),
        ({"bias": "all"}, 'bias = "all"'),
        ({"init_lora_weights": "pissa"}, 'init_lora_weights = "pissa"'),
        ({"target_modules": ".*q_proj"}, 'target_modules = ".*q_proj"'),
        ({"of_next_year": 1}, "of_next_year = 1"),
        ({"lora_dropout": 0.1, "task_type": "CAUSAL_LM", "use_rslora": True, "init_lora_weights": False}, ""),
    ],
)
def test_what_makes_an_adapter_more_than_plain(setting: dict[str, Any], told: str) -> None:
    assert not_plain({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"} | setting) == told


def test_the_bundled_adapter_is_the_bundled_generators(
    generator: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "BUNDLED_ADAPTER", tmp_path / "none yet")
    assert adapter_folder(Config()) is None
    monkeypatch.setattr(models, "BUNDLED_ADAPTER", adapter)
    assert adapter_folder(Config()) == adapter
    assert adapter_folder(Config(adapter="none")) is None
    assert adapter_folder(Config(adapter="")) is None
    assert adapter_folder(Config(generator=str(generator))) is None
    assert adapter_folder(Config(base_url="http://127.0.0.1:9/v1")) is None
    assert adapter_folder(Config(adapter=str(generator))) == generator


@pytest.mark.models
@pytest.mark.skipif(not (BUNDLED_ADAPTER / "adapter_model.safetensors").is_file(), reason="no adapter is shipped")
def test_the_shipped_adapter_fits_the_bundled_generator() -> None:
    config = Config(device="cpu")
    files = find_adapted_generator(config)
    assert files.adapter == BUNDLED_ADAPTER
    assert files.revision.startswith(f"{BUNDLED_GENERATOR.sha256[:12]}+")
    logits = []
    for decoder in (_load_decoder(replace(files, adapter=None), config), _load_decoder(files, config)):
        logits.append(decoder.read([Reading([1, 28, 4093, 198], decoder.start())]))
    assert not logits[0].allclose(logits[1], atol=0.05)


def test_other_kinds_of_adapters_and_of_files_are_refused(generator: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(
        GeneratorUnavailable, match="is no adapter; expected a folder with adapter_config.json and adapter_model.safetensors"
    ):
        find_adapted_generator(config_of(generator, tmp_path / "nowhere"))
    (adapter / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}')
    with pytest.raises(GeneratorUnavailable, match="of the kind PREFIX_TUNING; expected LORA"):
        find_adapted_generator(config_of(generator, adapter))
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(GeneratorUnavailable, match="is no JSON object"):
        find_adapted_generator(config_of(generator, adapter))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(GeneratorUnavailable, match="no other weights"):
        find_adapted_generator(config_of(generator, adapter))


def test_packed_weights_are_for_gpus_and_need_their_package(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(generator).replace(quantize="4bit")
    with pytest.raises(ConfigError, match='quantize is "4bit" but the generator runs on a CPU.*set quantize = "none", or device = "cuda"'):
        load_chat_model(config)
    monkeypatch.setattr(models, "choose_device", lambda wanted: "cuda")
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="the package bitsandbytes is not installed; run: pip install"):
        load_chat_model(config)
    with pytest.raises(ConfigError, match="quantize is '3bit'; expected none, 8bit or 4bit"):
        config.replace(quantize="3bit")


def test_packed_weights_are_asked_for_as_transformers_takes_them() -> None:
    import torch

    eight = models._quantised("8bit", "cuda:0", torch.bfloat16)
    four = models._quantised("4bit", "cuda:0", torch.bfloat16)
    assert eight["device_map"] == four["device_map"] == {"": "cuda:0"}
    assert eight["quantization_config"].load_in_8bit
    assert four["quantization_config"].load_in_4bit
    assert four["quantization_config"].bnb_4bit_compute_dtype == torch.bfloat16


def test_loading_options_are_not_for_a_server(generator: Path) -> None:
    with pytest.raises(ConfigError, match="base_url names a server; set them there"):
        load_chat_model(config_of(generator, generator).replace(base_url="http://127.0.0.1:9/v1"))
