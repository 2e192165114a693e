"""A plain LoRA adapter added to the weights that it was made for, without peft: W + alpha / r · B A (Hu et al., arXiv:2106.09685).

It knows the one form that most adapters have; `not_plain` tells what another has beside it, and peft loads that where it is installed
(rag/models.py). Sums are rounded where peft rounds, so that merged weights are equal to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import GeneratorUnavailable

if TYPE_CHECKING:
    import torch

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
_PREFIX, _SUFFIXES = "base_model.model.", (".lora_A.weight", ".lora_B.weight")

_READ = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "target_modules"})
_INERT = frozenset(
    {
        "auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size",
        "revision", "task_type",
    }
)  # fmt: skip
"""Settings that say nothing of what the weights mean once they are fitted."""
_PLAIN: Mapping[str, tuple[object, ...]] = {"bias": ("none",), "init_lora_weights": (True, False, "gaussian", "orthogonal")}
"""Values that leave the form plain. Other ways to begin (PiSSA, OLoRA, LoftQ) change the weights that the adapter is added to."""


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of an adapter's folder.

    Raises:
        GeneratorUnavailable: it holds no LoRA adapter as peft saves it.
    """
    weights, settings = folder / WEIGHTS, folder / SETTINGS
    if not (weights.is_file() and settings.is_file()):
        raise GeneratorUnavailable(
            f"{folder} is no adapter; expected a folder with {SETTINGS} and {WEIGHTS}, as peft saves it (no other weights)"
        )
    try:
        found = json.loads(settings.read_text("utf-8"))
        kind = found.get("peft_type")
    except (ValueError, AttributeError) as e:
        raise GeneratorUnavailable(f"{settings} is no JSON object; expected what peft saves") from e
    if kind != "LORA":
        raise GeneratorUnavailable(f"{folder} is an adapter of the kind {kind}; expected LORA")
    return found


def not_plain(settings: Mapping[str, Any]) -> str:
    """What an adapter has beside two factors for each matrix and one scale, as `use_dora = true`; empty for a plain one."""
    if not isinstance(settings.get("target_modules"), list):
        return f"target_modules = {json.dumps(settings.get('target_modules'))}"
    for name, value in sorted(settings.items()):
        is_plain = name in _READ or name in _INERT or (value in _PLAIN[name] if name in _PLAIN else not value)
        if not is_plain:
            return f"{name} = {json.dumps(value)}"
    return ""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """The factors of every matrix that a plain adapter changes: A `(rank, inputs)` and B `(outputs, rank)`, by the matrix's name."""

    folder: Path
    scale: float
    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def load(cls, folder: Path, weights: Collection[str]) -> LoraAdapter:
        """
        Args:
            weights: the names of all weights of the model that it is to be added to.

        Raises:
            GeneratorUnavailable: it is none, not a plain one, or was made for another model.
        """
        settings = read_settings(folder)
        if special := not_plain(settings):
            raise GeneratorUnavailable(
                f"the adapter in {folder} has {special}; expected plain LoRA (W + alpha / r · B A), all else at its default"
            )
        factors = _read_factors(folder)
        targets = tuple(f".{module}.weight" for module in settings["target_modules"])
        _check_names(folder, factors.keys(), {name.removesuffix(".weight") for name in weights if f".{name}".endswith(targets)})
        rank = settings["r"]
        scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        return cls(folder, scale, factors)

    def merged(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The matrix `name` (without `.weight`) with what the adapter adds; the same tensor where that is nothing.

        Raises:
            GeneratorUnavailable: the adapter was made for a matrix of another shape.
        """
        if name not in self.factors:
            return weight
        down, up = (factor.to(weight.device).float() for factor in self.factors[name])
        if (len(up), down.shape[1]) != tuple(weight.shape):
            expected = f"{tuple(weight.shape)}; the adapter is for {(len(up), down.shape[1])}"
            raise _misfit(self.folder, f"{name} is {expected}")
        return weight + ((up @ down) * self.scale).to(weight.dtype)


def _read_factors(folder: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as e:
        raise GeneratorUnavailable(f"{folder / WEIGHTS} cannot be read: {e}") from e
    if strange := [name for name in found if not (name.startswith(_PREFIX) and name.endswith(_SUFFIXES))]:
        raise _misfit(folder, f"it holds {strange[0]}; expected {_PREFIX}… with {' or '.join(_SUFFIXES)}")
    factors = {}
    for name in sorted({name.removesuffix(_SUFFIXES[0]).removesuffix(_SUFFIXES[1]) for name in found}):
        down, up = (found.get(name + suffix) for suffix in _SUFFIXES)
        if down is None or up is None or down.ndim != 2 or up.ndim != 2 or len(down) != up.shape[1]:
            raise _misfit(folder, f"the two factors of {name} are not there or do not go together")
        if not (down.isfinite().all() and up.isfinite().all()):
            raise _misfit(folder, f"a factor of {name} is not finite")
        factors[name.removeprefix(_PREFIX)] = down, up
    return factors


def _check_names(folder: Path, found: Collection[str], wanted: set[str]) -> None:
    """Every matrix that the settings name has its factors, and no other has."""
    if missing := sorted(wanted.difference(found)):
        raise _misfit(folder, f"it lacks {missing[0]}" + f" and {len(missing) - 1} more" * (len(missing) > 1))
    if strange := sorted(set(found) - wanted):
        raise _misfit(folder, f"it is for {strange[0]}, which the generator lacks or the adapter's settings do not name")


def _misfit(folder: Path, why: str) -> GeneratorUnavailable:
    return GeneratorUnavailable(f"the adapter in {folder} does not fit the generator: {why}")
