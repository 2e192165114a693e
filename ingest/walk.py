"""A course folder to its files, and what has happened to them since the last run, by content."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rag.errors import CorpusError

COURSE_FILE = "course.toml"
NOT_MATERIAL = frozenset({COURSE_FILE, "questions.jsonl"})
"""Files of a course folder that speak about the course to Lectern, not to students."""


SETTLED_NS = 2_000_000_000
"""A file touched within so many nanoseconds of being looked at may change again without its times telling: file systems round them."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a course: `source` is its path below the course folder, with forward slashes.

    `recipe` names how it is to be read and cut; a file whose recipe has changed counts as changed. `fingerprint` tells from size, times and
    inode that the content need not be looked at again; empty when that would not be safe.
    """

    source: str
    path: Path
    sha256: str
    recipe: str = ""
    fingerprint: str = ""
    size_bytes: int = 0


class Known(NamedTuple):
    """What the store knows of a file."""

    sha256: str
    recipe: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run has to do. `renamed` maps the old source to the new file, which is among `changed` too if its recipe is another now.

    `touched` maps to their new fingerprints the sources of files whose content is known to be the same as before.
    """

    new: list[SourceFile] = field(default_factory=list)
    changed: list[SourceFile] = field(default_factory=list)
    unchanged: list[SourceFile] = field(default_factory=list)
    renamed: dict[str, SourceFile] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    touched: dict[str, str] = field(default_factory=dict)


def course_folders(path: Path, as_course: bool = False) -> list[Path]:
    """The course folders that `path` stands for: itself, or each folder in it when it is a collection of courses.

    A collection is a folder called `corpora`, or one without a course.toml of its own in which some folder has one.

    Args:
        as_course: the caller says that `path` is one course.

    Raises:
        CorpusError: it is missing or not a folder, or an empty collection.
    """
    if not path.is_dir():
        raise CorpusError(f"{path} is {'not a folder' if path.exists() else 'missing'}; give the folder that holds a course's files")
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    is_collection = path.resolve().name == "corpora" or any((folder / COURSE_FILE).exists() for folder in folders)
    if as_course or (path / COURSE_FILE).exists() or not is_collection:
        return [path]
    if not folders:
        raise CorpusError(f"{path} holds no course; put each course's files into a folder of its own in it")
    return folders


def walk(folder: Path, known: Mapping[str, Known] = MappingProxyType({})) -> tuple[list[SourceFile], dict[str, str]]:
    """The files of a course in order of their paths, and those that cannot be taken: source → reason.

    A file is read to know its SHA-256, unless its fingerprint is still the `known` one; one that cannot be opened has an empty one. Hidden
    files and folders are skipped. Symbolic links are not followed: they could lead out of the course.

    Raises:
        CorpusError: there is no file at all, or a folder cannot be listed: what it holds must not count as removed.
    """
    files, refused = [], {}
    for path in sorted(_paths(folder)):
        source = path.relative_to(folder).as_posix()
        readable = source.encode("utf-8", "backslashreplace").decode()
        if readable != source:
            refused[readable] = "has a name that is not UTF-8; rename it"
            continue
        try:
            if path.is_symlink() or not path.is_file():
                refused[source] = "is a symbolic link or no regular file; put the file itself here"
                continue
            files.append(_look_at(source, path, known.get(source)))
        except OSError:  # its reader will say why; a document that it was before stays until it can be read again
            files.append(SourceFile(source, path, ""))
    if not files and not refused:
        raise CorpusError(f"{folder} holds no files; put the course's materials there, then run this again")
    return files, refused


def compare(files: list[SourceFile], known: Mapping[str, Known]) -> Changes:
    """What has happened since the last run.

    Args:
        known: by source what the store holds.
    """
    changes = Changes()
    sources = {file.source for file in files}
    gone = {file.sha256: source for source, file in known.items() if source not in sources and file.sha256}
    for file in files:
        before = known.get(file.source)
        if before is None and file.sha256 in gone:
            old = gone.pop(file.sha256)
            before = known[old]
            changes.renamed[old] = file
            if before.recipe != file.recipe:
                changes.changed.append(file)
        elif before is None:
            changes.new.append(file)
            continue
        else:
            same = file.sha256 and (before.sha256, before.recipe) == (file.sha256, file.recipe)
            (changes.unchanged if same else changes.changed).append(file)
        if file.fingerprint and file.sha256 == before.sha256 and file.fingerprint != before.fingerprint:
            changes.touched[file.source] = file.fingerprint
    changes.removed.extend(sorted(source for source in known if source not in sources and source not in changes.renamed))
    return changes


def _look_at(source: str, path: Path, known: Known | None) -> SourceFile:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        fingerprint = _fingerprint(status)
        if known is not None and fingerprint and fingerprint == known.fingerprint:
            sha256 = known.sha256
        else:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return SourceFile(source, path, sha256, fingerprint=fingerprint, size_bytes=status.st_size)


def _fingerprint(status: os.stat_result) -> str:
    """Size, times and inode; empty for a file touched a moment ago, or at a time that this machine's clock has not reached."""
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < SETTLED_NS:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _paths(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise CorpusError(f"{error.filename} cannot be listed ({error.strerror}); nothing of the course was changed") from error

    for directory, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in [*folders, *names]:
            path = Path(directory) / name
            if name.startswith(".") or (name in folders and not path.is_symlink()) or (path.parent == folder and name in NOT_MATERIAL):
                continue
            yield path
