"""The rows of a configuration, what fits, the advice, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rag import footprint as module
from rag.config import NONE, Config
from rag.embed import BATCH_TOKENS
from rag.errors import LecternError
from rag.footprint import Fits, Footprint, advice, footprint, run_probe, table, what_fits
from rag.footprint_machine import Machine, Place, Room
from rag.footprint_rows import Generator, Kind, Row, cache_rows, embedder_rows, generator_rows, index_rows, reader_rows, total_row
from rag.model_shapes import read_shape
from rag.store import Store
from support import ROOT

MIB = 1 << 20
CPU = Machine("cpu", "float32", 2, {Place.RAM: Room(1000 * MIB, 2000 * MIB)})
GPU = Machine("cuda", "bfloat16", 2, {Place.RAM: Room(1000 * MIB, 2000 * MIB), Place.GPU: Room(8000 * MIB, 9000 * MIB)})
TOKEN = 2 * 2 * 2 * 16 * 4
"""Keys and values of a token of the tiny llama, in fp32."""


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with random weights, that sentence-transformers computes: it says nothing of pooling."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    config = BertConfig(
        vocab_size=101, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=48
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def config(tiny_llama: Path, tiny_bert: Path, tmp_path: Path) -> Config:
    return Config(
        store=tmp_path / "store", device="cpu", dtype="float32", generator=str(tiny_llama), embedder=str(tiny_bert), generator_cache_mb=1
    )


@pytest.fixture
def generator(tiny_llama: Path) -> Generator:
    return Generator("tiny", read_shape(tiny_llama), is_ours=True, context=100, slots=8)


def of_kind(rows: Any, kind: Kind) -> list[Row]:
    return [row for row in rows if row.kind is kind]


def test_a_row_tells_measured_to_estimated_and_counts_the_measured() -> None:
    row = Row(Kind.WEIGHTS, "a", Place.RAM, 200, 300)
    assert (row.ratio, row.bytes) == (1.5, 300)
    assert (Row(Kind.WEIGHTS, "a", Place.RAM, 200).ratio, Row(Kind.WEIGHTS, "a", Place.RAM, 200).bytes) == (None, 200)
    assert Row(Kind.WEIGHTS, "a", Place.SERVER, None).bytes == 0


def test_estimates_alone(config: Config) -> None:
    found = footprint(config, chunks=1000, measured=False)
    assert all(row.measured is None for row in found.rows)
    assert (found.context, found.slots) == (128, 8)  # all that the model reads is less than the settings want
    (token,) = of_kind(found.rows, Kind.TOKEN)
    assert token.estimated == TOKEN
    weights = of_kind(found.rows, Kind.WEIGHTS)
    # fp32 as in the file: packed copies of all but the table, rotations of 128 places, the file; 280 bytes of tokenizer an entry
    packed = 4 * (74_176 - 97 * 64 + 2 * 128 * 16)
    assert [row.estimated for row in weights] == [weights[0].estimated, packed + token_file(config) + 280 * 97]
    assert "tiny-bert" in weights[0].part
    (index,) = of_kind(found.rows, Kind.INDEX)
    assert (index.estimated, index.counts) == (1000 * (2 * 32 + 48), False)
    assert found.needed(Place.RAM) == sum(row.estimated or 0 for row in found.rows if row.counts)


def token_file(config: Config) -> int:
    return (Path(config.generator) / "model.safetensors").stat().st_size


def test_an_embedder_of_sentence_transformers(config: Config, tiny_bert: Path) -> None:
    weights, batch = embedder_rows(config, CPU, {})
    floats = read_shape(tiny_bert).weights.floats
    # tables of 101, 48 and 2; a layer: 4 of 32 × 32, 2 of 32 × 64, biases and 2 norms; the pooler
    assert floats == 151 * 32 + 64 + 2 * (4 * 1056 + 2 * 2048 + 96 + 128) + 1056
    assert weights.estimated == 4 * floats
    tokens = BATCH_TOKENS - BATCH_TOKENS % 48  # whole texts
    assert batch.estimated == tokens * 4 * (2 * 64 + 3 * 32)
    assert embedder_rows_of_gpu(config)[0].place is Place.GPU
    assert embedder_rows_of_gpu(config)[0].estimated == 2 * floats


def embedder_rows_of_gpu(config: Config) -> list[Row]:
    return list(embedder_rows(config, GPU, {}))


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Instead of the bundled encoder one of two layers, 32 wide, 64 within, of 101 words."""
    folder = tmp_path / "encoder"
    (folder / "1_Pooling").mkdir(parents=True)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 101}
    files = {
        "config.json": {"model_type": "bert", "hidden_act": "gelu", "max_position_embeddings": 512, "layer_norm_eps": 1e-12} | sizes,
        "modules.json": [{"type": "models.Transformer"}, {"type": "models.Pooling"}],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "tokenizer.json": {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    save_file({"one": np.zeros((1000, 10), np.float32)}, folder / "model.safetensors")
    monkeypatch.setattr("rag.footprint_rows.find_carried", lambda model: folder / "model.safetensors")
    return folder


def test_a_reader_has_layers_of_its_own_over_the_encoders_tables(encoder: Path, tmp_path: Path) -> None:
    config = Config(dtype="float32", reader=str(tmp_path / "fitted"), reader_passages=6)
    weights, batch = reader_rows(config, CPU, {})
    layer = 32 * 96 + 32 * 32 + 2 * 32 * 64 + 96 + 32 + 64 + 32  # queries, keys and values; merged; widened and narrowed; biases
    file = (encoder / "model.safetensors").stat().st_size  # mapped, for its tables
    assert (weights.part, weights.estimated) == ("reader fitted: weights (float32)", 4 * 2 * layer + file + 280 * 101)
    # 6 passages of 320 tokens on 2 cores: 960 on each; rows, attention's and scores, three times for 2 heads; scratch
    assert batch.part == "reader: a batch of 2 x 960 tokens"
    assert batch.estimated == 2 * 960 * 4 * (32 * 9 + 3 * 2 * 320) + 2 * 8 * MIB
    figures = {"reader": {"dtype": "int8", "workers": 1, "weights": 5000, "activations": 70}}
    assert [(row.part, row.measured) for row in reader_rows(config, CPU, figures)] == [
        ("reader fitted: weights (int8)", 5000),
        ("reader: a batch of 1 x 1,024 tokens", 70),
    ]
    on_gpu = list(reader_rows(config, GPU, {}))
    assert [(row.place, row.estimated) for row in on_gpu] == [(Place.GPU, 2 * 10_000), (Place.GPU, 6 * 320 * 2 * (2 * 64 + 3 * 32))]


def test_without_a_reader_there_is_no_row(encoder: Path) -> None:
    assert list(reader_rows(Config(reader=NONE), CPU, {})) == []
    assert list(reader_rows(Config(), CPU, {})) == []  # the bundled one has no weights here


def test_measured_beside_estimated(config: Config, generator: Generator) -> None:
    figures = {"generator": {"weights": 5000, "activations": 70, "keys_and_values": 100 * TOKEN + 4800, "tokens": 100}}
    rows = list(generator_rows(config, generator, CPU, figures))
    assert [(row.kind, row.measured) for row in rows] == [
        (Kind.WEIGHTS, 5000),
        (Kind.ACTIVATIONS, 70),
        (Kind.TOKEN, TOKEN + 48),
        (Kind.CACHE, 8 * (100 * TOKEN + 4800)),
        (Kind.CACHE, None),
    ]


@pytest.mark.parametrize(
    ("cache_mb", "prefix_cache", "counted"),
    [
        (1, True, [8 * 100 * TOKEN, MIB - 8 * 100 * TOKEN]),  # what answers leave is for prompts read before
        (1, False, [8 * 100 * TOKEN]),
    ],
)
def test_the_cache_is_within_its_limit(cache_mb: int, prefix_cache: bool, counted: list[int], generator: Generator) -> None:
    config = Config(generator_cache_mb=cache_mb, prefix_cache=prefix_cache)
    rows = [row for row in cache_rows(config, generator, CPU, "float32", None) if row.counts]
    assert [row.estimated for row in rows] == counted


def test_more_answers_than_the_cache_holds_take_no_more_than_it(tiny_llama: Path) -> None:
    crowd = Generator("tiny", read_shape(tiny_llama), is_ours=True, context=100, slots=50)
    answers, limit = of_kind(cache_rows(Config(generator_cache_mb=1), crowd, CPU, "float32", None), Kind.CACHE)
    assert (answers.estimated, answers.counts) == (50 * 100 * TOKEN, False)
    assert answers.note == "over generator_cache_mb = 1: some wait"
    assert (limit.estimated, limit.counts) == (MIB, True)


def test_transformers_answers_one_at_a_time(config: Config) -> None:
    found = footprint(config.replace(own_decoder=False, slots=4), measured=False)
    assert found.slots == 1
    (answer,) = of_kind(found.rows, Kind.CACHE)
    assert answer.estimated == 128 * TOKEN
    assert found.advice.endswith("This generator answers one question at a time.")


def test_a_server_has_the_weights(config: Config) -> None:
    found = footprint(config.replace(base_url="http://model.host:8000/v1", generator="big"), measured=False)
    (server,) = [row for row in found.rows if row.place is Place.SERVER]
    assert (server.part, server.estimated, server.counts) == ("generator big", None, False)
    assert server.note == "weights and KV cache are at model.host:8000, not on this machine"
    assert not of_kind(found.rows, Kind.TOKEN)
    assert "the server's to say; slots = 16 are asked of it" in found.advice


def test_no_generator(config: Config) -> None:
    found = footprint(config.replace(generator=NONE), measured=False)
    assert found.fits.slots is None
    assert found.advice.endswith("Answers are quotes: no generator needs memory.")


def test_an_adapter_is_merged_or_beside_packed_weights(generator: Generator, tiny_llama: Path) -> None:
    adapted = Config(adapter=str(tiny_llama))  # any folder with weights
    without = Config(adapter=NONE)
    (alone, *_), (merged, *_) = (list(generator_rows(one, generator, GPU, {})) for one in (without, adapted))
    assert (merged.estimated, merged.note) == (alone.estimated, "adapter merged")
    plain = Generator("tiny", generator.shape, is_ours=False, context=100, slots=1)
    (alone, *_), (beside, *_) = (list(generator_rows(one.replace(quantize="8bit"), plain, GPU, {})) for one in (without, adapted))
    assert beside.estimated is not None
    assert beside.estimated == (alone.estimated or 0) + 2 * 74_176
    assert "(8bit)" in beside.part


def test_the_store_that_is_there(config: Config, store: Store, engine: Any) -> None:
    rows = list(index_rows(config.replace(store=store.directory), CPU, None, {"index": {"held": 9000, "publishing": 70}}))
    chunks = sum(course.chunks for course in store.courses())
    index, making, catalogue, text, snapshot = rows
    assert (index.part, index.estimated, index.measured) == (f"index of {chunks} chunks (IDMap2,SQfp16)", chunks * (2 * 256 + 48), 9000)
    assert (making.estimated, making.measured, making.counts) == (chunks * (4 * 256 + 56), 70, False)
    assert catalogue.measured == (store.directory / "catalogue.db").stat().st_size
    assert text.measured is None or 0 < text.measured < catalogue.measured
    assert snapshot.measured == sum(path.stat().st_size for path in store.directory.glob("*.faiss"))
    assert {row.place for row in rows[2:]} == {Place.DISK}


def test_a_gpu_holds_a_copy_of_the_index(config: Config, store: Store, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.footprint_rows._has_gpu_faiss", lambda: True)
    rows = list(index_rows(config.replace(store=store.directory), GPU, None, {}))
    (copy,) = [row for row in rows if row.place is Place.GPU]
    chunks = sum(course.chunks for course in store.courses())
    assert copy.estimated == chunks * 256 * 4 + (1536 << 20)


def test_what_is_at_rest_adds_up(generator: Generator) -> None:
    rows = [
        Row(Kind.LIBRARIES, "l", Place.RAM, 1000),
        Row(Kind.WEIGHTS, "w", Place.RAM, 200),
        Row(Kind.ACTIVATIONS, "a", Place.RAM, 7000),
        Row(Kind.TOKEN, "t", Place.RAM, 3, counts=False),
        Row(Kind.INDEX, "i", Place.RAM, 50),
        Row(Kind.INDEX, "other", Place.RAM, 90_000, counts=False),
    ]
    total = total_row(rows, CPU, generator, {"held": 2000})
    assert (total.estimated, total.measured, total.counts) == (1000 + 200 + 50 + 100 * 3, 2000, False)


def test_what_fits_leaves_a_tenth_free(generator: Generator) -> None:
    rows = [
        Row(Kind.LIBRARIES, "l", Place.RAM, 100 * MIB, 300 * MIB),  # the measured counts
        Row(Kind.TOKEN, "t", Place.RAM, TOKEN, 600, counts=False),
        Row(Kind.CACHE, "c", Place.RAM, 200 * MIB),
        Row(Kind.INDEX, "index of 9", Place.RAM, 100 * MIB),
    ]
    fits = what_fits(rows, generator, CPU, Config(generator_cache_mb=1), 32)
    # 900 MiB without libraries and index; 100 tokens of 600 bytes and a row of 97 logits each
    assert fits.slots == 500 * MIB // (100 * 600 + 97 * 4)
    assert fits.context == 128  # more would fit than the model reads
    assert fits.cached_slots == MIB // (100 * TOKEN)
    assert fits.cached_context == 128
    # 400 MiB without the cache's: an inverted file of 4,096 lists, 40 bytes a chunk
    assert fits.chunks == (400 * MIB - 4 * 32 * 4098) // 40


def test_a_generator_on_a_gpu_has_the_gpus_memory(generator: Generator) -> None:
    rows = [
        Row(Kind.LIBRARIES, "l", Place.RAM, 900 * MIB),
        Row(Kind.WEIGHTS, "w", Place.GPU, 200 * MIB),
        Row(Kind.TOKEN, "t", Place.GPU, 512, counts=False),
        Row(Kind.CACHE, "c", Place.GPU, 9000 * MIB),
    ]
    fits = what_fits(rows, generator, GPU, Config(), 32)
    assert fits.slots == 7000 * MIB // (100 * 512 + 97 * 2)  # 8,000 MiB, a tenth free, without the weights
    assert fits.chunks == 0
    unknown = Machine("cuda", "bfloat16", 2, {Place.RAM: Room(1000 * MIB, 2000 * MIB)})
    assert what_fits(rows, generator, unknown, Config(), 32).slots is None


def of(rows: list[Row], machine: Machine, fits: Fits, slots: int | None = 8) -> Footprint:
    return Footprint(machine, tuple(rows), fits, 100, slots, "")


@pytest.mark.parametrize(
    ("row", "machine", "words"),
    [
        (Row(Kind.CACHE, "KV cache: x", Place.RAM, 1200 * MIB), CPU, "lower generator_cache_mb, slots or context_tokens"),
        (Row(Kind.WEIGHTS, "generator x", Place.RAM, 1200 * MIB), CPU, "; name a smaller generator, or a server with base_url"),
        (Row(Kind.WEIGHTS, "generator x", Place.GPU, 8200 * MIB), GPU, 'set quantize = "8bit" or "4bit", name a smaller generator'),
        (Row(Kind.WEIGHTS, "embedder x", Place.RAM, 1200 * MIB), CPU, "name a smaller embedder"),
        (Row(Kind.WEIGHTS, "reader x", Place.RAM, 1200 * MIB), CPU, 'set reader = "none"'),
        (Row(Kind.INDEX, "index of 9 chunks", Place.RAM, 1200 * MIB), CPU, "use a larger machine"),
    ],
)
def test_advice_where_it_does_not_fit(row: Row, machine: Machine, words: str) -> None:
    told = advice(of([Row(Kind.LIBRARIES, "l", Place.RAM, MIB), row], machine, Fits()), Config())
    assert told.startswith("It does not fit: ")
    assert f"Most is taken by {row.part} ({row.bytes / MIB:,.1f} MB)" in told
    assert words in told


def test_advice_on_slots() -> None:
    rows = [Row(Kind.LIBRARIES, "l", Place.RAM, 400 * MIB)]
    fits = Fits(slots=900, context=128, cached_slots=20, cached_context=128)
    assert advice(of(rows, CPU, fits), Config()) == (
        "It fits: 400.0 MB of the 1,000.0 MB of memory that are free are needed. slots = 8 answers of 100 tokens at once fit; "
        "generator_cache_mb = 512 would hold 20, and the memory 900 with a larger one."
    )
    few = Fits(slots=900, context=128, cached_slots=3, cached_context=40)
    assert "8 answers of 100 tokens need more than generator_cache_mb = 512, which holds 3: raise it to 1366, or lower slots." in advice(
        of(rows, CPU, few), Config()
    )


def test_the_memory_of_a_gpu_may_be_unknown() -> None:
    unknown = Machine("cuda", "bfloat16", 2, {Place.RAM: Room(1000 * MIB, 2000 * MIB)})
    told = advice(of([Row(Kind.WEIGHTS, "generator x", Place.GPU, 300 * MIB)], unknown, Fits()), Config())
    assert told == "300.0 MB of GPU are needed; how much of it there is could not be found out."


def test_the_table() -> None:
    rows = [
        Row(Kind.WEIGHTS, "embedder x: weights (int8)", Place.RAM, 100 * MIB, 150 * MIB),
        Row(Kind.TOKEN, "KV cache: a token", Place.RAM, 23_040, counts=False),
        Row(Kind.WEIGHTS, "generator y", Place.SERVER, None, note="elsewhere", counts=False),
    ]
    machine = Machine("cpu", "bfloat16", 2, {Place.RAM: Room(1000 * MIB, 20 << 30)}, ("dtype bfloat16, by a guess",))
    found = Footprint(machine, tuple(rows), Fits(slots=9, context=77, cached_slots=4, cached_context=60, chunks=1000), 100, 8, "Do this.")
    assert table(found).splitlines() == [
        "footprint on cpu, bfloat16 (assumed: dtype bfloat16, by a guess)",
        "part                        where      estimated  measured  ratio",
        "embedder x: weights (int8)  memory      100.0 MB  150.0 MB   1.50",
        "KV cache: a token           memory  23,040 bytes         -      -",
        "generator y                 server             -         -      -  elsewhere",
        "",
        "memory: 150.0 MB needed, 1,000.0 MB free of 20.0 GB",
        "at most 9 answers of 100 tokens at once; 4 within generator_cache_mb",
        "at most 77 tokens for each of 8 answers at once; 60 within generator_cache_mb",
        "at most 1,000 chunks in the index",
        "Do this.",
    ]


def test_what_cannot_be_measured_is_told_and_estimated(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(part: str, config: Config, tokens: int) -> dict[str, Any]:
        assert tokens == 128
        if part == "generator":
            raise LecternError("no luck")
        found = {
            "process": {"device": "cpu", "dtype": "float32", "threads": 1, "held": 500 * MIB},
            "embedder": {"dtype": "float32", "weights": 123, "activations": None, "workers": 1},
            "all": {"held": 600 * MIB},
        }
        return found[part]

    monkeypatch.setattr(module, "run_probe", fake)
    notices: list[str] = []
    found = footprint(config, notify=notices.append)
    assert notices == ["generator is not measured: no luck"]
    libraries, embedder, *_ = found.rows
    assert (libraries.measured, embedder.measured) == (500 * MIB, 123)
    assert [row.measured for row in found.rows if row.part.startswith("generator")] == [None, None]
    assert found.rows[-1].kind is Kind.TOTAL
    assert found.machine.told == ()


def test_a_generator_that_is_larger_than_the_memory_is_not_tried(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(module, "run_probe", lambda part, config, tokens: tried.append(part) or {"held": 1, "dtype": "float32"})
    monkeypatch.setattr(module, "assumed_machine", lambda config: Machine("cpu", "float32", 1, {Place.RAM: Room(1000, 2000)}))
    monkeypatch.setattr(module, "known_machine", lambda found: CPU)
    notices: list[str] = []
    footprint(config, notify=notices.append)
    assert tried == ["process", "embedder"]
    size = f"{(Path(config.generator) / 'model.safetensors').stat().st_size / MIB:.1f} MB"
    assert notices[0] == f"generator is not measured: the weights have {size}, and 1,000 bytes are free"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("import sys; print('first', file=sys.stderr); sys.exit('error: what is wrong')", "^what is wrong$"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"ended by signal 9 \(9: the machine had no memory left\)"),
        ("raise SystemExit(3)", "its process ended with 3"),
    ],
)
def test_a_process_that_fails(command: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def other(arguments: list[str], **more: Any) -> Any:
        assert arguments[1:] == ["-m", "rag.footprint_probe", "embedder"]
        assert json.loads(more["input"])["config"]["embedder"] == "x"
        return run([sys.executable, "-c", command], **more)

    monkeypatch.setattr(subprocess, "run", other)
    with pytest.raises(LecternError, match=words):
        run_probe("embedder", Config(embedder="x"), 7)


def test_the_command_answers_without_torch(config: Config) -> None:
    settings = config.store.with_name("lectern.toml")
    settings.write_text(f'generator = "{config.generator}"\nembedder = "{config.embedder}"\ndtype = "float32"\n')
    code = "\n".join(
        (
            "import sys",
            "from rag.__main__ import main",
            "code = main(sys.argv[1:])",
            "assert not {'torch', 'transformers', 'faiss'} & sys.modules.keys()",
            "sys.exit(code)",
        )
    )
    options = ["--no-measure", "--json", "--chunks", "5", "--config", str(settings), "--store", str(config.store), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", code, "footprint", *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["part"]: row for row in found["rows"]}
    assert rows["KV cache: a token"]["estimated_bytes"] == TOKEN
    assert rows["KV cache: a token"]["measured_bytes"] is None
    assert rows["index of 5 chunks (IDMap2,SQfp16)"]["estimated_bytes"] == 5 * (2 * 32 + 48)
    assert found["memory"]["memory"]["needed_bytes"] == sum(row["estimated_bytes"] for row in found["rows"] if row["counts"])
    assert (found["context_tokens"], found["slots"], found["device"], found["assumed"]) == (128, 8, "cpu", [])


@pytest.mark.models
def test_the_bundled_configuration_measured(engine: Any, store: Store) -> None:
    """Each part with its real weights, in processes of their own: what is estimated is near to what is measured."""
    notices: list[str] = []
    found = footprint(Config(store=store.directory, device="cpu"), notify=notices.append)
    # The store of the fixture has another embedder, which the index does not mind.
    assert notices == []
    ratios = {row.kind: row.ratio for row in found.rows if row.kind in (Kind.LIBRARIES, Kind.TOKEN, Kind.TOTAL)}
    assert 0.7 < (ratios[Kind.LIBRARIES] or 0) < 1.5
    assert 0.95 < (ratios[Kind.TOKEN] or 0) < 1.3
    assert 0.8 < (ratios[Kind.TOTAL] or 0) < 1.4
    weights = {row.part.split()[0]: row.ratio or 0 for row in found.rows if row.kind is Kind.WEIGHTS}
    assert 0.8 < weights["embedder"] < 1.8
    assert 0.8 < weights["generator"] < 1.4
    assert all(0.2 < (row.ratio or 0) < 4 for row in found.rows if row.kind is Kind.ACTIVATIONS)
    assert found.advice.startswith("It fits: ")
