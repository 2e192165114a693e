"""Settings and prompts as data: the TOML files of `rag/presets/`, each preset a small difference from the defaults of `Config`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from rag.errors import ConfigError

_FOLDER = Path(__file__).parent / "presets"
_TABLES = {"lengths", "prompts"}


def read_preset(name: str) -> dict[str, Any]:
    """The settings of a preset.

    Raises:
        ConfigError: there is none of that name; it lists those there are.
    """
    return dict(_one_of(_presets(), name, "preset"))


def read_length(name: str) -> dict[str, Any]:
    """What an answer of that length has: `asked_for` in the prompt, and settings."""
    return dict(_one_of(_table("lengths"), name, "length"))


def read_prompt(name: str) -> dict[str, str]:
    """The texts `system`, `question` and `source` of a prompt."""
    return dict(_one_of(_table("prompts"), name, "prompt"))


def preset_names() -> list[str]:
    return list(_presets())


def length_names() -> list[str]:
    return list(_table("lengths"))


def _one_of(known: dict[str, dict[str, Any]], name: str, kind: str) -> dict[str, Any]:
    if name not in known:
        raise ConfigError(f"there is no {kind} {name!r}; the {kind}s are: {', '.join(known)}")
    return known[name]


@cache
def _presets() -> dict[str, dict[str, Any]]:
    names = sorted(file.name.removesuffix(".toml") for file in _FOLDER.iterdir() if file.name.endswith(".toml"))
    return {name: _table(name) for name in names if name not in _TABLES}


@cache
def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))
