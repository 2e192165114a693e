"""How much memory there is, and what can be told of a machine without torch."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from rag import footprint_machine
from rag.config import Config
from rag.footprint_machine import Place, Room, assumed_machine, known_machine, room_of_gpu, room_of_memory

GIB = 1 << 30


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 16 GiB of which 10 are free, without limits; the folder of its control group."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * GIB, total=16 * GIB))
    monkeypatch.setattr(footprint_machine, "CONTROL_GROUP", tmp_path)
    return tmp_path


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program that answers as NVIDIA's does, and keeps what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "70000, 81920"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return tmp_path / "asked"


def test_a_container_has_what_its_limit_leaves(memory: Path) -> None:
    assert room_of_memory() == Room(10 * GIB, 16 * GIB)
    (memory / "memory.max").write_text("max\n")
    (memory / "memory.current").write_text(f"{GIB}\n")
    assert room_of_memory() == Room(10 * GIB, 16 * GIB)
    (memory / "memory.max").write_text(f"{4 * GIB}\n")
    assert room_of_memory() == Room(3 * GIB, 4 * GIB)
    (memory / "memory.current").write_text(f"{5 * GIB}\n")
    assert room_of_memory() == Room(0, 4 * GIB)


def test_an_older_control_group(memory: Path) -> None:
    (memory / "memory").mkdir()
    (memory / "memory" / "memory.limit_in_bytes").write_text(str(8 * GIB))
    (memory / "memory" / "memory.usage_in_bytes").write_text(str(2 * GIB))
    assert room_of_memory() == Room(6 * GIB, 8 * GIB)


def test_a_gpu_by_its_driver(driver: Path) -> None:
    assert room_of_gpu("cuda:1") == Room(70_000 << 20, 81_920 << 20)
    assert driver.read_text().startswith("--id=1 --query-gpu=memory.free,memory.total")
    assert room_of_gpu("auto") == Room(70_000 << 20, 81_920 << 20)
    assert driver.read_text().startswith("--id=0")


def test_a_driver_that_does_not_answer(driver: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\n")
    assert room_of_gpu("cuda") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert room_of_gpu("cuda") is None


def test_a_gpu_is_assumed_where_torch_can_use_it(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "2.13.0")
    machine = assumed_machine(Config())
    assert (machine.device, machine.dtype, machine.place) == ("cuda", "bfloat16", Place.GPU)
    assert machine.rooms[Place.GPU] == Room(70_000 << 20, 81_920 << 20)
    assert len(machine.told) == 2
    monkeypatch.setattr(metadata, "version", lambda name: "2.13.0+cpu")
    machine = assumed_machine(Config(dtype="float32"))
    assert (machine.device, machine.dtype, machine.place, machine.told) == (
        "cpu", "float32", Place.RAM, ("device cpu, by what is installed",),
    )  # fmt: skip
    assert Place.GPU not in machine.rooms


@pytest.mark.parametrize(("threads", "expected"), [("3", 3), ("", None)])
def test_threads(threads: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3, 4})
    assert assumed_machine(Config(device="cpu", dtype="float32")).threads == (expected or 5)


def test_what_a_process_with_torch_has_found() -> None:
    machine = known_machine({"device": "cuda:0", "dtype": "float16", "threads": 2, "gpu_free": 5, "gpu_total": 7})
    assert (machine.place, machine.dtype, machine.threads, machine.told) == (Place.GPU, "float16", 2, ())
    assert machine.rooms == {Place.RAM: Room(10 * GIB, 16 * GIB), Place.GPU: Room(5, 7)}
