"""Files put into a course folder and taken out of it by hand: under safe names, complete or not at all, never in another's place unasked.

A name comes from a browser and a file may hold anything: nothing of either decides where on the disk something is written. Whether a file
can be read is seen when it is ingested; here only its format is looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from ingest.pipeline import publish_changes
from ingest.readers import require_format
from ingest.walk import NOT_MATERIAL
from rag.errors import CorpusError, UnreadableDocument
from rag.files import put_in_free_place, put_in_place
from rag.store import Store

LONGEST_NAME_BYTES = 120
_PLAIN = frozenset("-_.,()+&'=")
_TEMPORARY = ".lectern-upload-"
"""Begins the names of files in the making and of those being replaced: hidden, so that no ingest takes them for material."""
LEFTOVER_S = 86_400


def safe_name(name: str) -> str:
    """A file name made of what a browser says: its last part, of letters, digits, spaces and plain punctuation, at most 120 bytes long.

    Raises:
        UnreadableDocument: nothing is left of it, or its format is not read.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(_safe_character(character) for character in last)
    path = PurePosixPath(" ".join(kept.split()).strip(" ."))
    try:
        require_format(path.name)
    except UnreadableDocument as e:  # the reason without the name, which is not the one that was given
        raise UnreadableDocument(str(e).removeprefix(path.name).lstrip()) from e
    stem = path.stem.encode()[: LONGEST_NAME_BYTES - len(path.suffix)].decode(errors="ignore").rstrip(" .")
    if not any(character.isalnum() for character in stem):
        raise UnreadableDocument("has no name that a file can have: give it one with letters or digits")
    safe = f"{stem}{path.suffix}"
    if safe in NOT_MATERIAL:
        raise UnreadableDocument("has a name that is kept for the settings of a course: give it another")
    return safe


def _safe_character(character: str) -> str:
    """Itself, a blank, an underscore for what could mean something to a shell or a page, or nothing for what nobody sees."""
    category = unicodedata.category(character)
    if category[0] in "LMN" or character in _PLAIN:
        return character
    if category == "Zs" or character in "\t\n\r":
        return " "
    return "" if category[0] in "CZ" else "_"


@contextmanager
def placed(folder: Path, files: Mapping[str, bytes], replace: Collection[str] = ()) -> Iterator[None]:
    """The files under their (safe) names in the folder, which is made. When the block raises, they are taken out again and what they
    replaced is back.

    Args:
        replace: names of files that may be there already.

    Raises:
        CorpusError: another file is there already, or they cannot be written there; nothing has changed.
    """
    if there := sorted(name for name in files.keys() - set(replace) if (folder / name).exists()):
        raise CorpusError(_taken(folder, there))
    with ExitStack() as done, ExitStack() as undo:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                _place(folder, name, data, name in replace, undo, done)
            _remove_leftovers(folder)
        except OSError as e:
            raise CorpusError(f"{folder} cannot be written: {e.strerror}; make it writable, or make room") from e
        yield
        undo.pop_all()


def _taken(folder: Path, names: Sequence[str]) -> str:
    return f"{folder} already has {', '.join(names)}; give the new files other names, or say that they replace them"


def _place(folder: Path, name: str, data: bytes, may_replace: bool, undo: ExitStack, done: ExitStack) -> None:
    target = folder / name
    partial = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
    undo.callback(partial.unlink, missing_ok=True)
    partial.write_bytes(data)
    if may_replace and target.exists():
        before = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        done.callback(before.unlink, missing_ok=True)
        _keep(target, before)
        undo.callback(os.replace, before, target)
        put_in_place(partial, target)
        return
    try:
        put_in_free_place(partial, target)
    except FileExistsError as e:  # it has come since the names were looked at
        raise CorpusError(_taken(folder, [name])) from e
    undo.callback(target.unlink, missing_ok=True)


def _keep(file: Path, before: Path) -> None:
    """A second name for a file that is about to be replaced; a copy where the file system refuses hard links."""
    try:
        os.link(file, before)
    except OSError:
        shutil.copy2(file, before)


def _remove_leftovers(folder: Path) -> None:
    """Deletes what a process that was killed has left: nothing else is in the making for so long."""
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        if time.time() - leftover.stat().st_ctime > LEFTOVER_S:
            leftover.unlink(missing_ok=True)


def delete_files(store: Store, course: str, sources: Sequence[str]) -> None:
    """Takes files out of the course's folder, and all that was made of them out of the store.

    They are hidden first and deleted when the catalogue has forgotten them: until then, whatever fails brings all of them back.

    Raises:
        CorpusError: one is no file of the course, or cannot be deleted; folder and store are as they were.
        StoreBusy: another process is writing.
    """
    with store.writer_lock():
        with ExitStack() as undo:
            hidden = [_hide(path, undo) for path in [_path_of(store, course, source) for source in sources]]
            store.remove_documents(course, sources)
            undo.pop_all()
        for file in hidden:
            file.unlink(missing_ok=True)
        publish_changes(store)


def _hide(path: Path, undo: ExitStack) -> Path:
    """Gives a file, if it is there, a name that no ingest takes for material."""
    hidden = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        path.rename(hidden)
    except FileNotFoundError:
        return hidden
    except OSError as e:
        raise CorpusError(f"{path} cannot be deleted: {e.strerror}; make its folder writable") from e
    undo.callback(hidden.rename, path)
    return hidden


def _path_of(store: Store, course: str, source: str) -> Path:
    """Where a file of the course lies. A source is no path until the catalogue knows it and it leads to a place in the folder."""
    folder = store.course_folder(course)
    if folder is None or not folder.is_dir():
        raise CorpusError(f"the folder of the course {course} is not there ({folder}); put it back, then try again")
    known = {document.source for document in store.documents(course)} | store.set_aside(course).keys()
    path = folder / source
    if source not in known or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise CorpusError(f"the course {course} has no file {source!r}")
    return path
