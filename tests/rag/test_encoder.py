import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rag.config import BUNDLED
from rag.encoder import PackedEncoder, Recipe, _attend, _Group, _Int8Matrix, _spread_outliers, _to_u8, read_recipe
from rag.errors import ModelError
from rag.models import find_embedder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled model's description, its weights left out."""
    source = find_embedder(BUNDLED).path
    for path in source.rglob("*.json"):
        copy = tmp_path / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "model.safetensors").touch()
    return tmp_path


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.models
def test_the_bundled_model_is_known(folder: Path) -> None:
    assert read_recipe(folder) == Recipe(folder, 384, 1536, 6, 12, 1e-12, 30522, 256)


@pytest.mark.models
@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("config.json", {"model_type": "mpnet"}, "model_type is 'mpnet'; the CPU encoder knows 'bert'"),
        ("config.json", {"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "pooling is .*pooling_mode_cls_token"),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}, "prompts is {'query': 'query: '}"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case is True"),
    ],
)
def test_a_model_of_another_kind_is_left_to_the_general_path(folder: Path, file: str, values: dict[str, object], reason: str) -> None:
    change(folder / file, **values)
    with pytest.raises(ModelError, match=reason):
        read_recipe(folder)


@pytest.mark.models
def test_a_model_with_another_module_behind_the_pooling_is_left_to_the_general_path(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="modules is .*'Dense'"):
        read_recipe(folder)


def test_an_int8_product_is_near_the_exact_one() -> None:
    draw = torch.Generator().manual_seed(0)
    rows, weight, bias = (torch.randn(shape, generator=draw) for shape in ((20, 64), (32, 64), (32,)))
    step = float(rows.abs().max() / 127)
    found = _Int8Matrix(weight, bias, step, 128).to(torch.float32, _to_u8(rows, torch.full((64,), 1 / step)))
    exact = rows @ weight.T + bias
    assert float((found - exact).norm() / exact.norm()) < 0.02


def test_bytes_are_rounded_moved_by_128_and_saturate() -> None:
    rows = torch.tensor([[0.0, 1.0, -1.0, 0.6, 500.0, -500.0]])
    assert _to_u8(rows, torch.ones(6)).tolist() == [[128, 129, 127, 129, 255, 1]]


def test_units_that_saturate_one_after_another_add_up_to_the_large_value() -> None:
    widen = torch.eye(2), torch.zeros(2)
    narrow = torch.tensor([[1.0, 10.0]]), torch.zeros(1)
    (weight, bias), (back, _) = _spread_outliers(widen, narrow, torch.tensor([20.0, 5.0]))
    assert weight.shape == (18, 2)
    rows = torch.tensor([[15.0, 1.0], [5.0, 2.0]])
    inner = torch.nn.functional.gelu(rows @ weight.T + bias).clamp(max=6.0)
    expected = torch.nn.functional.gelu(rows) @ narrow[0].T
    assert (inner @ back.T).flatten().tolist() == pytest.approx(expected.flatten().tolist(), abs=0.2)


@pytest.mark.parametrize("bounded", [True, False])
def test_attention_is_torchs(bounded: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    queries, keys, values = torch.randn(3, 2, 2, 7, 4, generator=draw)  # two texts of 7, two heads of 4
    rows = torch.stack([queries * 4**-0.5 * np.log2(np.e), keys, values]).permute(1, 3, 0, 2, 4).reshape(14, 24)
    context = torch.empty(14, 8, dtype=torch.bfloat16)
    _attend(rows.bfloat16(), [_Group(slice(0, 14), 2, 7)], 2, context, bounded)
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(14, 8)
    assert float((context.float() - expected).abs().max()) < 0.03


@pytest.mark.models
@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.99999), ("bfloat16", 0.9995), ("int8", 0.99)])
def test_vectors_are_those_of_the_model_in_sentence_transformers(dtype: str, least: float) -> None:
    from transformers import BertModel

    recipe = read_recipe(find_embedder(BUNDLED).path)
    draw = np.random.default_rng(5)
    texts = [[101, *draw.integers(1000, 30000, length).tolist(), 102] for length in (254, 100, 100, 37, 5, 5, 5, 1, 0)]
    found = PackedEncoder(recipe, dtype).encode(texts)
    model = BertModel.from_pretrained(recipe.folder).eval()
    with torch.inference_mode():
        means = [model(torch.tensor([text])).last_hidden_state[0].mean(0) for text in texts]
    expected = torch.nn.functional.normalize(torch.stack(means)).numpy()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(9), abs=1e-5)
    assert (found * expected).sum(axis=1).min() > least


@pytest.mark.models
def test_a_vector_does_not_depend_on_the_texts_beside_it() -> None:
    encoder = PackedEncoder(read_recipe(find_embedder(BUNDLED).path), "int8")
    texts = [[101, 2054, 2003, 1996, 2397, 3343, 102], [101, 7592, 102], [101, 7592, 2088, 102]]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.9999


@pytest.mark.models
def test_weights_of_another_model_are_refused(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"embeddings.word_embeddings.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="the weights lack embeddings.position_embeddings.weight and"):
        PackedEncoder(read_recipe(folder), "float32")
