import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.decoder import DecoderRecipe, LlamaDecoder, Reading, read_decoder_recipe
from rag.errors import ModelError

VOCABULARY = 97  # of the tiny Llama


def recipe_with(tiny_llama: Path, tmp_path: Path, **changes: object) -> DecoderRecipe:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps(json.loads((tiny_llama / "config.json").read_text()) | changes))
    return read_decoder_recipe(tmp_path)


@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "as on a GPU"])
def test_logits_are_those_of_transformers(tiny_llama: Path, is_packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: is_packed)
    decoder = LlamaDecoder(read_decoder_recipe(tiny_llama), torch.float32)

    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    tokens = [(7 * place) % VOCABULARY for place in range(40)]
    with torch.inference_mode():
        expected = model(torch.tensor([tokens])).logits[0]
    found = decoder.read([Reading(tokens, decoder.start(), len(tokens))])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same_logits(tiny_llama: Path, decoder: LlamaDecoder) -> None:
    on_gpu = LlamaDecoder(read_decoder_recipe(tiny_llama), torch.float32, "cuda")
    past, other = decoder.start(), on_gpu.start()
    for tokens in (list(range(30)), [31], [32, 33, 34]):  # a prompt, a token, a token with guesses
        expected = decoder.read([Reading(tokens, past, len(tokens))])
        found = on_gpu.read([Reading(tokens, other, len(tokens))])
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=60), st.data())
def test_pieces_and_company_change_no_logits(decoder: LlamaDecoder, tokens: list[int], data: st.DataObject) -> None:
    whole = decoder.read([Reading(tokens, decoder.start(), len(tokens))])
    cut = data.draw(st.integers(1, len(tokens) - 1))
    past, other = decoder.start(room=1), decoder.start()
    decoder.read([Reading([5, 6], other), Reading(tokens[:cut], past, 0)])
    pieces = decoder.read([Reading(tokens[cut:], past, len(tokens) - cut), Reading([7], other)])
    torch.testing.assert_close(pieces[:-1], whole[cut:], rtol=1e-4, atol=1e-4)
    assert past.length == len(tokens)
    assert other.length == 3


def test_a_copied_beginning_goes_its_own_way(decoder: LlamaDecoder) -> None:
    past = decoder.start()
    decoder.read([Reading([1, 2, 3, 4], past)])
    copied = past.copy(2, room=8)
    decoder.read([Reading([50, 51], past)])
    found = decoder.read([Reading([3, 9], copied)])
    torch.testing.assert_close(found, decoder.read([Reading([1, 2, 3, 9], decoder.start())]), rtol=1e-4, atol=1e-4)


def test_a_text_longer_than_the_model_reads_is_refused_and_nothing_is_kept(decoder: LlamaDecoder) -> None:
    past = decoder.start()
    with pytest.raises(ModelError, match="129 tokens; .* reads 128"):
        decoder.read([Reading([1] * 129, past)])
    assert past.length == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2'; our decoder knows 'llama'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type is 'llama3'"),
        ({"attention_bias": True}, "attention_bias is True"),
    ],
)
def test_another_architecture_is_refused(tiny_llama: Path, tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        recipe_with(tiny_llama, tmp_path, **changes)


def test_damaged_weights_are_told(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        LlamaDecoder(recipe_with(tiny_llama, tmp_path), torch.float32)


def test_a_missing_weight_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny_llama / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    recipe = recipe_with(tiny_llama, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    half = len(weights) // 2
    for number, names in enumerate((list(weights)[:half], list(weights)[half:])):
        save_file({name: weights[name] for name in names}, tmp_path / f"model-{number}.safetensors")
    with pytest.raises(ModelError, match=r"no weight model\.layers\.1\.mlp\.up_proj\.weight"):
        LlamaDecoder(recipe, torch.float32)


def test_bytes_of_a_token(decoder: LlamaDecoder) -> None:
    assert decoder.bytes_per_token == 2 * 2 * 2 * 16 * 4  # keys and values, layers, key heads, width, bytes
