"""What this process takes of the machine just now, and how busy its generator and its caches are. Nothing is kept; nobody is named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import psutil

from rag.admission import Load
from rag.answer_cache import CacheUse
from rag.engine import Engine
from rag.generate import batching_engine
from rag.models import choose_device

LOOK_S = 0.2
"""The CPU is watched for so long."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """`utilization` is the percentage of the last second in which it computed anything; None where NVIDIA does
    not say."""

    name: str
    used_bytes: int
    total_bytes: int
    utilization: int | None


@dataclass(frozen=True, slots=True)
class GeneratorUse:
    """A generator in this process that answers many at once. `tokens` were generated since it was loaded."""

    active: int
    waiting: int
    tokens: int
    prefix_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """`cpu_share` is the part of all cores that this process keeps busy, `machine_cpu_share` what all processes do, both from 0 to 1."""

    cpu_share: float
    machine_cpu_share: float
    cores: int
    memory_bytes: int
    machine_memory_bytes: int
    threads: int
    gpu: GpuUse | None
    queue: Load
    slots: int
    cache: CacheUse
    generator: GeneratorUse | None
    """None for a server, for another kind of model, and before the first is loaded."""


def device_use(engine: Engine) -> DeviceUse:
    """The use of this moment; looking takes a fifth of a second."""
    process = psutil.Process()
    process.cpu_percent()
    machine = psutil.cpu_percent(LOOK_S)
    cores = os.cpu_count() or 1
    with process.oneshot():
        return DeviceUse(
            cpu_share=min(1.0, process.cpu_percent() / 100 / cores),
            machine_cpu_share=machine / 100,
            cores=cores,
            memory_bytes=process.memory_info().rss,
            machine_memory_bytes=psutil.virtual_memory().total,
            threads=process.num_threads(),
            gpu=_gpu_use(choose_device(engine.config.device)),
            queue=engine.admission.load,
            slots=engine.admission.slots,
            cache=engine.cache.use,
            generator=_generator_use(engine),
        )


def _gpu_use(device: str) -> GpuUse | None:
    if not device.startswith("cuda"):
        return None
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return GpuUse(torch.cuda.get_device_name(device), total - free, total, gpu_utilization(device))


def gpu_utilization(device: str) -> int | None:
    """The percentage of the last second in which a GPU computed anything; None where NVIDIA does not say."""
    import torch

    try:
        nvidia: Any = import_module("pynvml")
    except ModuleNotFoundError:  # nvidia-ml-py is not among what torch needs
        return None
    try:
        return torch.cuda.utilization(device)
    except (RuntimeError, nvidia.NVMLError):  # in a container, on a part of a card, under another driver
        return None


def _generator_use(engine: Engine) -> GeneratorUse | None:
    many = batching_engine(engine.chat_model) if engine.chat_model is not None else None
    if many is None:
        return None
    load = many.load
    return GeneratorUse(load.active, load.waiting, load.tokens, many.prefix_bytes)
