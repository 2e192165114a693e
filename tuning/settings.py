"""What a fit may be told: one frozen value, from the flags of `python -m rag tune`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rag.errors import ConfigError

AUTO_BATCH = 64
"""Examples in one pass that `--batch auto` begins with."""


class Precision(StrEnum):
    """How the passes compute; the weights and the optimizer's state stay fp32."""

    AUTO = "auto"
    """bf16 where this device multiplies it clearly faster, else fp32."""
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    """With a loss scaler; on CUDA alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every fit may be told. A task's own flags stay with the task."""

    epochs: float = 3.0
    """Passes over the examples; early stopping may end sooner."""
    steps: int = 0
    """Updates of the weights, instead of epochs; 0 for epochs."""
    learning_rate: float = 5e-5
    """The highest: it rises over the first `warmup` of the updates and falls to 0 in a line."""
    warmup: float = 0.1
    """Share of the updates."""
    weight_decay: float = 0.01
    batch: int | None = None
    """Examples in one pass; None: as many as fit, found from `AUTO_BATCH` by halving."""
    accumulation: int = 1
    """Passes whose gradients make one update. `batch × accumulation` is kept when the batch is halved."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of being kept: less memory, some third more time."""
    precision: Precision = Precision.AUTO
    memory_mb: int = 0
    """Memory that the fit may take beyond what is in use when it begins; 0 for what the machine has left."""
    patience: int = 3
    """Validations in a row without a better measure after which the fit ends; 0: it never ends early."""
    validations: float = 1.0
    """Validations an epoch."""
    validate_share: float = 0.15
    """Share of the examples that are held out to measure: see `tuning.examples.split`."""
    workers: int = 0
    """Processes that make batches ready ahead; 0: the fit does it itself, which is best where the cores are its own."""
    prefetch: int = 2
    """Batches that each of them keeps ready."""
    seed: int = 0
    device: str = "auto"
    resume: bool = True
    """Whether a fit that was cut off goes on from its last checkpoint; off: its checkpoints are removed and it begins anew."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 0.0, 10_000),
            ("steps", 0, 10**9),
            ("learning_rate", 0.0, 10.0),
            ("warmup", 0.0, 0.99),
            ("weight_decay", 0.0, 10.0),
            ("accumulation", 1, 100_000),
            ("memory_mb", 0, 10**8),
            ("patience", 0, 10_000),
            ("validations", 0.01, 1000),
            ("validate_share", 0.01, 0.9),
            ("workers", 0, 256),
            ("prefetch", 1, 1000),
            ("seed", 0, 2**31),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} to {high}")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch is {self.batch}; expected a number from 1, or auto")

    @property
    def effective_batch(self) -> int:
        """Examples an update."""
        return (self.batch or AUTO_BATCH) * self.accumulation
