"""A course folder to its files, and what has happened to them since the last run, by content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import CorpusError

COURSE_FILE = "course.toml"
NOT_MATERIAL = frozenset({COURSE_FILE, "questions.jsonl"})
"""Files of a course folder that speak about the course to Lectern, not to students."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a course: `source` is its path below the course folder, with forward slashes.

    `recipe` names how it is to be read and cut; a file whose recipe has changed counts as changed.
    """

    source: str
    path: Path
    sha256: str
    recipe: str = ""

    @property
    def state(self) -> str:
        return f"{self.sha256} {self.recipe}"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run has to do. `renamed` maps the old source to the new file."""

    new: list[SourceFile] = field(default_factory=list)
    changed: list[SourceFile] = field(default_factory=list)
    unchanged: list[SourceFile] = field(default_factory=list)
    renamed: dict[str, SourceFile] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


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


def walk(folder: Path) -> tuple[list[SourceFile], dict[str, str]]:
    """The files of a course in order of their paths, and those that cannot be taken: source → reason.

    Hidden files and folders are skipped. Symbolic links are not followed: they could lead out of the course.

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
        if path.is_symlink() or not path.is_file():
            refused[source] = "is a symbolic link or no regular file; put the file itself here"
            continue
        try:
            with path.open("rb") as file:
                files.append(SourceFile(source, path, hashlib.file_digest(file, "sha256").hexdigest()))
        except OSError as e:
            refused[source] = f"cannot be opened: {e.strerror}"
    if not files and not refused:
        raise CorpusError(f"{folder} holds no files; put the course's materials there, then run this again")
    return files, refused


def compare(files: list[SourceFile], known: Mapping[str, str]) -> Changes:
    """What has happened since the last run.

    Args:
        known: source → state of what the store holds.
    """
    changes = Changes()
    sources = {file.source for file in files}
    gone = {state: source for source, state in known.items() if source not in sources}
    for file in files:
        if file.source in known:
            (changes.unchanged if known[file.source] == file.state else changes.changed).append(file)
        elif file.state in gone:
            changes.renamed[gone.pop(file.state)] = file
        else:
            changes.new.append(file)
    changes.removed.extend(sorted(source for source in known if source not in sources and source not in changes.renamed))
    return changes


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
