from __future__ import annotations

import sys

import psutil
import pytest
import torch

from rag.footprint_machine import Room
from support import resident
from tuning.memory import MB, DeviceWatch, data_bytes, free_memory_mb, is_out_of_memory, limited

linux = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is kept by Linux")


@linux
def test_beyond_the_limit_memory_is_refused_with_an_error_that_is_known_and_after_it_granted() -> None:
    with limited(200, "cpu"):
        kept = torch.ones(100 * 2**18)
        with pytest.raises(RuntimeError) as refused:
            torch.ones(1000 * 2**18)  # far more than what models of tests before may free meanwhile
        assert is_out_of_memory(refused.value)
        with pytest.raises(MemoryError) as python:
            bytearray(1000 * MB)
        assert is_out_of_memory(python.value)
    assert len(kept) == 100 * 2**18
    assert len(torch.ones(1000 * 2**18)) == 1000 * 2**18


@linux
def test_a_limit_within_a_limit_ends_where_it_began() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limited(400, "cpu"):
        outer = resource.getrlimit(resource.RLIMIT_DATA)
        with limited(10**6, "cpu"):
            assert resource.getrlimit(resource.RLIMIT_DATA) == outer, "none gives more than the one around it"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert outer[0] - data_bytes() == pytest.approx(400 * MB, abs=20 * MB)


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"))
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("could not create a primitive")), "oneDNN, whose code for a shape found no room"


def test_without_a_limit_of_its_own_a_fit_leaves_a_tenth_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < free_memory_mb() <= 0.9 * psutil.virtual_memory().total / MB
    monkeypatch.setattr("tuning.memory.room_of_memory", lambda: Room(1000 * MB, 4000 * MB))
    assert free_memory_mb() == 900
    monkeypatch.setattr("tuning.memory.room_of_memory", lambda: Room(0, 4000 * MB))
    assert free_memory_mb() == 1


def test_a_watch_sees_the_peak_and_not_what_was_there_before() -> None:
    held = resident(64)
    with DeviceWatch("cpu") as watch:
        peak = resident(128)
        watch.figures()
        del peak
        figures = watch.figures()
    assert 110 < figures.peak_memory_mb < 180, "128 MB, and what else the process took meanwhile"
    assert figures.utilisation is not None
    assert 0 <= figures.utilisation <= 1
    assert held.nbytes == 64 * MB
