"""The machine that a footprint is told of: device, type, threads, and how much memory is free, with torch or without.

Without torch a device and a type can only be assumed, from what is installed and from the processor's instructions; it is told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from rag.config import Config
from rag.trial import processor_name

CONTROL_GROUP = Path("/sys/fs/cgroup")


class Place(StrEnum):
    RAM = "memory"
    GPU = "GPU"
    DISK = "disk"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of a place that are free for us now, and in all."""

    available: int
    total: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What the estimates need to know of where the models run. `told` says what is assumed rather than known."""

    device: str
    dtype: str
    """Of every model but the embedder and the reader."""
    threads: int
    rooms: Mapping[Place, Room]
    told: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        return Place.GPU if self.device.startswith("cuda") else Place.RAM


def known_machine(found: Mapping[str, Any]) -> Machine:
    """As the child process found it, with torch."""
    rooms = {Place.RAM: room_of_memory()}
    if "gpu_free" in found:
        rooms[Place.GPU] = Room(found["gpu_free"], found["gpu_total"])
    return Machine(found["device"], found["dtype"], found["threads"], rooms)


def assumed_machine(config: Config) -> Machine:
    """As it can be told without torch."""
    device, told = config.device, []
    gpu = room_of_gpu(device)
    if device == "auto":
        device = "cuda" if gpu is not None and not metadata.version("torch").endswith("+cpu") else "cpu"
        told.append(f"device {device}, by what is installed")
    dtype = config.dtype
    if dtype not in ("float32", "bfloat16", "float16"):
        dtype = "bfloat16" if device.startswith("cuda") or _has_fast_bfloat16() else "float32"
        told.append(f"dtype {dtype}, by the processor's instructions")
    rooms = {Place.RAM: room_of_memory()}
    if device.startswith("cuda") and gpu is not None:
        rooms[Place.GPU] = gpu
    threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0) or len(os.sched_getaffinity(0))
    return Machine(device, dtype, threads, rooms, tuple(told))


def _has_fast_bfloat16() -> bool:
    return any(name in processor_name() for name in ("amx_bf16", "avx512_bf16"))


def room_of_memory() -> Room:
    """Main memory, within the limits of the control group (a container's) where there are such."""
    memory = psutil.virtual_memory()
    available, total = memory.available, memory.total
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            most, taken = (int((CONTROL_GROUP / name).read_text()) for name in (limit, used))
        except (OSError, ValueError):  # another version of control groups; `max`: no limit
            continue
        total, available = min(total, most), min(available, max(0, most - taken))
    return Room(available, total)


def room_of_gpu(device: str) -> Room | None:
    """By the driver's own program, which needs no torch; None without it."""
    number = device.partition(":")[2] or "0"
    program = shutil.which("nvidia-smi")
    if program is None or not number.isdecimal():
        return None
    command = [program, f"--id={number}", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        free, total = (int(one) << 20 for one in done.stdout.split(","))
    except ValueError:
        return None
    return Room(free, total)
