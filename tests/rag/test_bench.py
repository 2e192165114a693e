import json
from pathlib import Path

import pytest

from rag.__main__ import main
from rag.bench import BENCHES, bench_embed, bench_ingest, sample_texts, table
from rag.bench_answer import bench_answer
from rag.bench_search import bench_search
from rag.config import Config
from rag.errors import CorpusError


def test_sample_texts_have_the_lengths_of_chunks_and_are_the_same_each_time() -> None:
    def count(texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    texts = sample_texts(count, 20_000)
    assert sample_texts(count, 20_000) == texts
    assert len(set(texts)) == len(texts)
    assert sum(count(texts)) >= 20_000
    assert max(count(texts)) <= 150


@pytest.mark.models
def test_the_figures_fit_each_other() -> None:
    figures = bench_embed(Config(device="cpu", dtype="float32"), tokens=400, runs=1)
    assert figures.keys() == {
        "model", "device", "notice", "texts", "tokens", "batch_tokens", "tokens_s", "naive_tokens_s", "ratio",
        "cosine_mean", "cosine_min", "ceiling_tokens_s", "share_of_ceiling", "peak_memory_mb",
    }  # fmt: skip
    assert figures["ratio"] == pytest.approx(figures["tokens_s"] / figures["naive_tokens_s"])
    assert figures["share_of_ceiling"] == pytest.approx(figures["tokens_s"] / figures["ceiling_tokens_s"])
    assert figures["cosine_min"] > 0.9999
    assert figures["device"] == "cpu float32"
    assert figures["tokens"] >= 400


def test_the_command_prints_what_the_bench_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Config] = []

    def fake(config: Config, folder: Path | None) -> dict[str, object]:
        seen.append(config)
        return {"tokens_s": 12345.6, "ratio": 5.25, "notice": ""}

    monkeypatch.setitem(BENCHES, "embed", type(BENCHES["embed"])("", fake))
    assert main(["bench", "embed", "--device", "cpu", "--dtype", "int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bench": "embed", "tokens_s": 12345.6, "ratio": 5.25, "notice": ""}
    assert (seen[0].device, seen[0].dtype) == ("cpu", "int8")


def test_the_table_leaves_out_what_there_is_not() -> None:
    assert table("embed", {"tokens_s": 12345.6, "ratio": 5.25, "notice": "", "ceiling": None}) == (
        "bench embed\n  tokens_s  12,346\n  ratio     5.2500"
    )


@pytest.mark.models
def test_the_figures_of_an_ingest(tmp_path: Path) -> None:
    figures = bench_ingest(Config(device="cpu"), runs=1, files=20)
    assert (figures["unchanged_files"], figures["unchanged_embedded"]) == (20, 0)
    assert figures["pages_s"] == pytest.approx(figures["pages"] / figures["seconds"])
    assert figures["ratio"] == pytest.approx(figures["pages_s"] / figures["naive_pages_s"], rel=0.05)
    assert figures["pages"] > 30
    with pytest.raises(CorpusError, match=r"holds no PDF; name a folder that does"):
        bench_ingest(Config(), tmp_path)


@pytest.mark.models
def test_the_figures_of_a_search(tmp_path: Path) -> None:
    figures = bench_search(Config(device="cpu"), tmp_path, sizes=(0, 1500), questions=20)
    assert figures["course passages"] > 300
    assert (figures["course recall@10"], figures["1_500 recall@10"]) == (1, 1)
    assert (figures["1_500 passages"], figures["1_500 kind"], figures["1_500 published recall@10"]) == (1500, "IDMap2,SQfp16", None)
    assert (figures["1_500 half kept recall@10"], figures["1_500 hundredth kept recall@10"]) == (1, 1)
    assert "1_500 none kept recall@10" not in figures
    stages = sum(figures[f"1_500 {stage} p50_ms"] for stage in ("embed", "dense", "lexical", "fuse"))
    assert stages == pytest.approx(figures["1_500 p50_ms"], rel=0.5)
    assert figures.get("1_500 langchain recall@10") == 1 or "not installed" in figures["1_500 langchain missing"]


@pytest.mark.models
def test_the_figures_of_answers_and_in_full_precision_every_token_is_that_of_generate() -> None:
    figures = bench_answer(Config(device="cpu", dtype="float32"), questions=1, askers=(2,))
    for length in ("short", "long"):
        assert figures[f"{length} identical_answers"] == figures[f"{length} warm_as_cold"] == 1
        assert figures[f"{length} largest_logit_gap"] is None
        ratio = figures[f"{length} plain first_s"] / figures[f"{length} cold first_s"]
        assert figures[f"{length} first_token_ratio"] == pytest.approx(ratio)
        assert figures[f"{length} warm first_s"] < figures[f"{length} cold first_s"]
    assert 100 < figures["short prompt_tokens"] < 500
    assert 900 < figures["long prompt_tokens"] <= 1200
    assert figures["2 askers tokens_s"] > 0
