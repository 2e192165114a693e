"""TeX documents that are written in several files: what `\\input` and `\\include` name is read as a part of the file that names it.

Only files of the same course folder are looked at, however a name is written; what is missing or lies outside stays out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

SUFFIX = ".tex"
DEPTH = 8
INLINED_BYTES = 20 << 20
"""Files that name each other many times over could grow without end; a course's script is a hundredth of this."""

_INCLUDE = re.compile(rb"(?<!\\)((?:\\\\)*)%[^\n]*|\\(?:input|include|subfile)\s*\{\s*([^{}\n]+?)\s*\}")


def parts_of(sources: Mapping[str, Path], folder: Path) -> dict[str, list[str]]:
    """The TeX documents that are made of several sources: that of the main file → the others, in the order they are named.

    A source that is part of another one is no document of its own. Of sources that only name each other, the first is the main one.

    Args:
        sources: source → path of all files of the course.
    """
    names = {
        source: [_source(part, folder) for part in _named(path, folder)] for source, path in sources.items() if source.endswith(SUFFIX)
    }
    named = {part for parts in names.values() for part in parts}
    documents: dict[str, list[str]] = {}
    for source in sorted(names, key=lambda source: (source in named, source)):
        if not any(source in parts for parts in documents.values()):
            documents[source] = [part for part in _reached(source, names) if part in sources]
    return {source: parts for source, parts in documents.items() if parts}


def _reached(source: str, names: Mapping[str, list[str]]) -> list[str]:
    """What `source` names, and what that names, without `source` itself."""
    found: list[str] = []
    waiting = list(names[source])
    while waiting:
        part = waiting.pop(0)
        if part != source and part not in found:
            found.append(part)
            waiting += names.get(part, [])
    return found


def inlined(data: bytes, path: Path, folder: Path, depth: int = DEPTH) -> bytes:
    """A TeX file's bytes with those of the files it names in the places where it names them."""
    budget = [INLINED_BYTES]
    return b"".join(_inlined(data, path, folder, depth, budget))


def _inlined(data: bytes, path: Path, folder: Path, depth: int, budget: list[int]) -> Iterator[bytes]:
    position = 0
    for match in _INCLUDE.finditer(data):
        target = _target(match[2], path, folder) if match[2] else None
        if target is None or depth == 0:
            continue
        part = target.read_bytes().strip()
        budget[0] -= len(part)
        if budget[0] < 0:
            continue
        yield data[position : match.start()]
        yield from _inlined(part, path, folder, depth - 1, budget)
        if b"%" in part[part.rfind(b"\n") + 1 :]:  # a comment must not swallow what follows; elsewhere a new line could end a paragraph
            yield b"\n"
        position = match.end()
    yield data[position:]


def _named(path: Path, folder: Path) -> Iterator[Path]:
    try:
        data = path.read_bytes()
    except OSError:  # the run will set it aside with that reason
        return
    for match in _INCLUDE.finditer(data):
        if match[2] and (target := _target(match[2], path, folder)):
            yield target


def _target(name: bytes, path: Path, folder: Path) -> Path | None:
    """The file that is meant, below the main file's folder as TeX has it, or below the course's; None when there is none in the course."""
    written = os.fsdecode(name)
    for base in (path.parent, folder):
        for candidate in (base / f"{written}{SUFFIX}", base / written):
            try:
                real = candidate.resolve()
                if real.is_relative_to(folder.resolve()) and real.is_file() and real != path.resolve():
                    return real
            except (OSError, ValueError):  # a name too long or with a null byte names nothing
                continue
    return None


def _source(path: Path, folder: Path) -> str:
    return path.relative_to(folder.resolve()).as_posix()
