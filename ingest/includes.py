"""TeX documents that are written in several files: what `\\input` and `\\include` name is read as a part of the file that names it.

Only files of the same course folder are looked at, however a name is written; what is missing or lies outside stays out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SUFFIX = ".tex"
INCLUDED = (SUFFIX, ".txt")
DEPTH = 8
INLINED_BYTES = 20 << 20
"""Files that name each other many times over could grow without end; a course's script is a hundredth of this."""

_INCLUDE = re.compile(rb"(?<!\\)((?:\\\\)*)%[^\n]*|\\(?:input|include|subfile)[ \t]{0,8}\{([^{}\n]{1,300})\}")


@dataclass(slots=True)
class Whole:
    """A TeX document as it is read: its text, and the files besides the main one that are in it, each once, in the order they are named."""

    pieces: list[bytes] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)
    room_bytes: int = INLINED_BYTES

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


def documents_of(sources: Mapping[str, Path], folder: Path) -> dict[str, list[str]]:
    """The TeX documents that are made of several sources: that of the main file → the others, in the order they are named.

    A source that is part of another one is no document of its own. Of sources that only name each other, the first is the main one.

    Args:
        sources: source → path of all files of the course.
    """
    by_path = {path.resolve(): source for source, path in sources.items()}
    wholes = {source: _whole_or_nothing(path, folder) for source, path in sources.items() if source.endswith(SUFFIX)}
    parts = {source: [by_path[part] for part in whole.parts if part in by_path] for source, whole in wholes.items()}
    named = {part for others in parts.values() for part in others}
    documents: dict[str, list[str]] = {}
    for source in sorted(parts, key=lambda source: (source in named, source)):
        if not any(source in others for others in documents.values()):
            documents[source] = parts[source]
    return {source: others for source, others in documents.items() if others}


def assemble(data: bytes, path: Path, folder: Path) -> Whole:
    """A TeX file's bytes with those of the files it names in the places where it names them. What does not fit stays out, and is named
    as it was.
    """
    whole = Whole()
    _add(whole, data, path.resolve(), folder.resolve(), ())
    return whole


def _whole_or_nothing(path: Path, folder: Path) -> Whole:
    try:
        with path.open("rb") as file:
            return assemble(file.read(INLINED_BYTES), path, folder)
    except OSError:  # the run will set it aside with that reason
        return Whole()


def _add(whole: Whole, data: bytes, main: Path, folder: Path, above: tuple[Path, ...]) -> None:
    position = 0
    for match in _INCLUDE.finditer(data):
        target = _target(match[2], main, folder) if match[2] and len(above) < DEPTH else None
        if target is None or target == main or target in above:
            continue
        part = _read_part(target, whole.room_bytes)
        if part is None:
            continue
        whole.room_bytes -= len(part)
        if target not in whole.parts:
            whole.parts.append(target)
        whole.pieces.append(data[position : match.start()])
        _add(whole, part, main, folder, (*above, target))
        if b"%" in part[part.rfind(b"\n") + 1 :]:  # a comment must not swallow what follows; elsewhere a new line could end a paragraph
            whole.pieces.append(b"\n")
        position = match.end()
    whole.pieces.append(data[position:])


def _read_part(path: Path, room_bytes: int) -> bytes | None:
    try:
        return path.read_bytes().strip() if path.stat().st_size <= room_bytes else None
    except OSError:
        return None


def _target(name: bytes, main: Path, folder: Path) -> Path | None:
    """The file that is meant, below the main file's folder as TeX has it, or below the course's; None when it is no material of it."""
    written = os.fsdecode(name.strip())
    for base in (main.parent, folder):
        for candidate in (base / f"{written}{SUFFIX}", base / written):
            try:
                real = candidate.resolve()
                if real.is_relative_to(folder) and real.suffix in INCLUDED and real.is_file() and not _is_hidden(real, folder):
                    return real
            except (OSError, ValueError):  # a name too long or with a null byte names nothing
                continue
    return None


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
