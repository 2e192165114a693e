"""What the process takes of the machine: figures that can be known beforehand."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace

import pytest

from rag.admission import Admission
from rag.answer_cache import AnswerCache, CacheUse
from rag.batching import BatchingEngine
from rag.decoder import LlamaDecoder
from rag.device_use import GpuUse, device_use
from rag.engine import Engine
from rag.generate import TransformersChatModel
from rag.models import ModelFiles
from rag.types import Decoding


def test_the_process_its_queue_and_its_cache(engine: Engine) -> None:
    busy = Engine(engine.searcher, None, engine.config, Admission(slots=2, waiting=5), AnswerCache(7))
    assert busy.cache.find("unknown", busy.searcher.store.revision()) is None
    with busy.admission.ticket("one"), busy.admission.ticket("two"), busy.admission.ticket("three"):
        use = device_use(busy)
    assert (use.slots, use.queue.serving, use.queue.waiting, use.queue.refused) == (2, 2, 1, 0)
    assert use.cache == CacheUse(size=0, longest=7, hits=0, misses=1)
    assert (use.gpu, use.generator) == (None, None)
    assert use.cores == os.cpu_count()
    assert threading.active_count() <= use.threads
    assert 10 << 20 < use.memory_bytes < use.machine_memory_bytes
    assert 0 <= use.cpu_share <= 1
    assert 0 <= use.machine_cpu_share <= 1


def test_the_generator_of_many_answers_counts_its_tokens_and_its_prefixes(engine: Engine, decoder: LlamaDecoder) -> None:
    many = BatchingEngine(decoder, frozenset(), slots=2, guess_tokens=0, cache_mb=16)
    model = TransformersChatModel(files=ModelFiles("tiny", "1", decoder.recipe.folder), config=engine.config)
    model._loaded = (many, None)
    try:
        assert [token for tokens in many.generate([1, 2, 3, 4], Decoding(max_new_tokens=5)) for token in tokens]
        use = device_use(Engine(engine.searcher, model, engine.config)).generator
    finally:
        model.close()
    assert use is not None
    assert (use.active, use.waiting, use.tokens) == (0, 0, 5)
    assert use.prefix_bytes > 0


def test_a_gpu_is_named_with_its_memory(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class NVMLError(Exception):
        pass

    def refuse(device: str) -> int:
        raise NVMLError("Not Supported")

    monkeypatch.setattr("rag.device_use.choose_device", lambda wanted: "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A card")
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 37)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert device_use(engine).gpu == GpuUse("A card", 5 << 30, 8 << 30, None)
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=NVMLError))
    assert device_use(engine).gpu == GpuUse("A card", 5 << 30, 8 << 30, 37)
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    assert device_use(engine).gpu == GpuUse("A card", 5 << 30, 8 << 30, None)
