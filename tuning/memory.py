"""Memory and use of the device during a fit: a limit that can be caught, the peak, how busy it was. Knows nothing of models."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from rag.device_use import gpu_utilization
from rag.errors import LecternError
from rag.footprint_machine import room_of_memory

MB = 2**20
LOOK_S = 0.02
"""How often memory is looked at; a look takes some 20 µs."""
GPU_LOOK_S = 1.0
"""NVIDIA gives the use of the last second."""
LEFT_FREE = 0.1
"""Share of the machine's free memory that a fit without a limit of its own leaves: below it the kernel ends processes."""

OTHER_WORDS = ("std::bad_alloc", "could not create a primitive", "could not execute a primitive", "could not create a memory object")
"""How C++, and oneDNN inside torch, tell that they got no memory. With bf16 two of three refusals are oneDNN's, which names no reason."""


class OutOfMemory(LecternError):
    """A pass did not get the memory it asked for. Half the batch may fit."""


@contextmanager
def limited(memory_mb: int, device: str) -> Iterator[None]:
    """Within it, taking more than `memory_mb` beyond what is in use now fails where it is asked for; 0 for nearly all that is free.

    On a CPU the kernel would else grant any request and end the process when the memory is touched. `RLIMIT_DATA` (Linux) counts private
    writable memory, so that neither the address space that libraries reserve nor mapped weights count, and torch's allocator raises.
    """
    if device.startswith("cuda"):
        with _limited_on_cuda(memory_mb, device):
            yield
    elif sys.platform == "linux":
        with _limited_data((memory_mb or free_memory_mb()) * MB):
            yield
    else:  # other systems have the limit and do not keep it
        yield


def free_memory_mb() -> int:
    """What this process may still take: of the machine, and of its container."""
    return max(1, int(room_of_memory().available * (1 - LEFT_FREE)) // MB)


@contextmanager
def _limited_data(more_bytes: int) -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data_bytes() + more_bytes
    highest = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *highest]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def data_bytes() -> int:
    """Private writable memory of this process, as `RLIMIT_DATA` counts it."""
    found = re.search(r"^VmData:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, "Linux tells VmData of every process"
    return int(found[1]) * 1024


@contextmanager
def _limited_on_cuda(memory_mb: int, device: str) -> Iterator[None]:
    import torch

    if not memory_mb:
        yield
        return
    _, total = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved(device) + memory_mb * MB) / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a smaller batch may help: what accelerate knows of the kind, Python's own, and what other libraries say."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error) or any(words in str(error) for words in OTHER_WORDS)


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """What a stretch of work took. `utilisation` is from 0 to 1: of the CPU's cores, or of the GPU; None where NVIDIA does not say."""

    seconds: float
    peak_memory_mb: float
    utilisation: float | None


class DeviceWatch:
    """Watches memory and use of a device from `with` to its end: on a CPU resident memory above that of the beginning, on a GPU the most
    that torch had allocated.
    """

    def __init__(self, device: str) -> None:
        self._on_cuda = device.startswith("cuda")
        self._device = device
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="device watch", daemon=True)
        self._process = psutil.Process()
        self._peak = 0
        self._gpu: list[int] = []

    def __enter__(self) -> DeviceWatch:
        if self._on_cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        self._rss = self._process.memory_info().rss
        self._busy_s, self._began = _busy_s(), time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def figures(self) -> DeviceFigures:
        seconds = time.monotonic() - self._began
        if self._on_cuda:
            import torch

            mean = sum(self._gpu) / len(self._gpu) / 100 if self._gpu else None
            return DeviceFigures(seconds, torch.cuda.max_memory_allocated(self._device) / MB, mean)
        self._look()
        busy = (_busy_s() - self._busy_s) / seconds / (os.cpu_count() or 1)
        return DeviceFigures(seconds, self._peak / MB, min(1.0, busy))

    def _watch(self) -> None:
        look: Callable[[], None] = self._look_at_gpu if self._on_cuda else self._look
        while not self._done.wait(GPU_LOOK_S if self._on_cuda else LOOK_S):
            look()

    def _look(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss - self._rss)

    def _look_at_gpu(self) -> None:
        if (percent := gpu_utilization(self._device)) is not None:
            self._gpu.append(percent)


def _busy_s() -> float:
    """CPU seconds of this process and of those that it has ended: loading ahead counts."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
