"""The measuring: what is kept and what passes, on the CPU, and the same code over CUDA's figures."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy import ndarray

from rag import footprint_probe
from rag.config import NONE, Config
from rag.errors import ModelError
from rag.footprint import run_probe
from rag.footprint_estimates import kv_bytes_per_token
from rag.footprint_machine import assumed_machine
from rag.footprint_probe import CudaMemory, ProcessMemory, Taken, is_for_own_decoder, measure, memory_of, parts_of, probe_generator
from rag.footprint_rows import reader_rows
from rag.model_shapes import read_shape
from rag.models import ModelFiles
from rag.store import Store
from support import resident, write_reader

MIB = 1 << 20
NEAR = 12 * MIB
"""The kernel counts resident pages on each core and adds them up now and then."""


def test_what_work_keeps_and_what_passes() -> None:
    def work() -> ndarray:
        resident(96)
        return resident(48)

    kept, taken = measure(ProcessMemory(), work)
    assert kept.nbytes == 48 * MIB
    assert taken.kept == pytest.approx(48 * MIB, abs=NEAR)
    assert taken.passing == pytest.approx(96 * MIB, abs=NEAR)


def test_a_kernel_that_resets_no_peaks_leaves_them_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(footprint_probe, "_RESET", tmp_path / "missing" / "clear_refs")
    kept, taken = measure(ProcessMemory(), lambda: resident(64))
    assert taken.passing is None
    assert taken.kept == pytest.approx(kept.nbytes, abs=NEAR)


def test_cuda_is_asked_for_what_torch_has_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    asked: list[str] = []
    held = iter([100, 160])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.append(f"synchronize {device}"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(held))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append(f"reset {device}"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 250)
    memory = memory_of("cuda:1")
    assert isinstance(memory, CudaMemory)
    assert measure(memory, lambda: asked.append("work")) == (None, Taken(kept=60, passing=150))
    assert asked == ["synchronize cuda:1", "reset cuda:1", "work", "synchronize cuda:1"]
    assert isinstance(memory_of("cpu"), ProcessMemory)


class TensorMemory:
    """The CPU's twin of torch's counters on CUDA: the bytes of all tensors that live, packed ones aside. It knows no peaks."""

    def held(self) -> int:
        import torch

        gc.collect()
        seen: dict[int, int] = {}
        for one in gc.get_objects():
            if type(one) in (torch.Tensor, torch.nn.Parameter) and one.layout is torch.strided:
                storage = one.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
        return sum(seen.values())

    def reset_peak(self) -> None:
        pass

    def peak(self) -> int | None:
        return None


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch, tiny_llama: Path) -> Iterator[None]:
    monkeypatch.setattr(footprint_probe, "memory_of", lambda device: TensorMemory())
    monkeypatch.setattr(footprint_probe, "find_adapted_generator", lambda config: ModelFiles("tiny", tiny_llama, "1"))
    monkeypatch.setattr("rag.generate.load_tokenizer", lambda files: TokenizerOfNone())
    monkeypatch.setattr("rag.models.load_tokenizer", lambda files: TokenizerOfNone())
    yield
    gc.collect()


class TokenizerOfNone:
    eos_token_id = None
    all_special_tokens = ()


@pytest.mark.parametrize("own_decoder", [True, False], ids=["our decoder", "transformers"])
@pytest.mark.usefixtures("twin")
def test_keys_and_values_are_as_many_bytes_as_estimated(own_decoder: bool, tiny_llama: Path) -> None:
    config = Config(device="cpu", dtype="float32", generator=str(tiny_llama), own_decoder=own_decoder)
    loaded, figures = probe_generator(config, tokens=100)
    per_token = kv_bytes_per_token(read_shape(tiny_llama), "float32")
    assert per_token == 2 * 2 * 2 * 16 * 4
    read = 100 if own_decoder else 99  # the cache of transformers has no room for the token that ends it
    assert figures["keys_and_values"] == read * per_token
    if own_decoder:
        loaded.close()
    else:
        assert figures["weights"] == pytest.approx(4 * 74_176, rel=0.01)  # and the rotations
    assert figures["activations"] is None


@pytest.mark.models
def test_a_reader_takes_about_what_is_estimated(tmp_path: Path) -> None:
    config = Config(device="cpu", dtype="float32", reader=str(write_reader(tmp_path / "reader")), generator=NONE, store=tmp_path / "store")
    figures = run_probe("reader", config, tokens=0)
    assert figures["dtype"] == "float32"
    weights, batch = reader_rows(config, assumed_machine(config), {"reader": figures})
    assert weights.ratio == pytest.approx(1.0, abs=0.3)
    assert batch.ratio is None or 0.5 < batch.ratio < 2, "kernels take what they take"


def test_which_decoder_computes_a_model(tiny_llama: Path, tmp_path: Path) -> None:
    assert is_for_own_decoder(tiny_llama, Config())
    assert not is_for_own_decoder(tiny_llama, Config(own_decoder=False))
    assert not is_for_own_decoder(tiny_llama, Config(quantize="8bit"))
    assert not is_for_own_decoder(tmp_path, Config())


def test_the_parts_of_a_configuration(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    assert parts_of(Config(store=nowhere)) == ["embedder", "generator"]
    assert parts_of(Config(store=nowhere, generator=NONE)) == ["embedder"]
    assert parts_of(Config(store=nowhere, base_url="http://127.0.0.1:1/v1", reranker="x")) == ["embedder", "reranker"]
    assert parts_of(Config(store=nowhere, generator=NONE, reader=str(tmp_path))) == ["embedder", "reader"]
    Store.create(tmp_path / "store")
    assert parts_of(Config(store=tmp_path / "store")) == ["embedder", "generator", "index"]


def test_a_decoder_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch, tiny_llama: Path, twin: None) -> None:
    monkeypatch.setattr("rag.generate.open_engine", lambda files, config: (object(), None))
    with pytest.raises(ModelError, match=r"tiny does not load into our own decoder; the log says why"):
        probe_generator(Config(device="cpu", generator=str(tiny_llama)), tokens=10)


def test_the_process_says_what_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    def fail(part: str, config: Config, tokens: int) -> dict[str, Any]:
        raise ModelError(f"{part} of {config.generator} with {tokens}")

    monkeypatch.setattr(footprint_probe, "probe", fail)
    monkeypatch.setattr("sys.argv", ["x", "generator"])
    monkeypatch.setattr("sys.stdin", io.StringIO('{"config": {"store": "s", "generator": "g"}, "tokens": 7}'))
    assert footprint_probe.main() == 1
    assert capsys.readouterr().err == "error: generator of g with 7\n"
