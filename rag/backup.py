"""Backups of a store: one SQLite file and, beside it, its SHA-256 in the form that `sha256sum --check` reads.

Taken while others read and write, and holding all that cannot be made again: courses, texts, vectors, conversations. The FAISS snapshot is
derived, so it is made anew on restoring. The course's own files are not in it: they are the lecturer's to keep.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from rag import lock
from rag.database import CATALOGUE, put_catalogue
from rag.errors import StoreError
from rag.files import put_in_place, sha256_of
from rag.snapshots import publish
from rag.store import Store


def back_up(store: Store, target: Path) -> str:
    """Writes a backup and returns its SHA-256; `target` is there complete or not at all.

    Raises:
        StoreError: the target exists, or cannot be written.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; name a new file for the backup")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        store.db.execute("VACUUM INTO ?", [str(partial)])
        digest = sha256_of(partial)
        _checksum_file(target).write_text(f"{digest}  {target.name}\n")
        put_in_place(partial, target)
    except (OSError, sqlite3.OperationalError) as e:
        partial.unlink(missing_ok=True)
        _checksum_file(target).unlink(missing_ok=True)
        raise StoreError(f"the backup {target} cannot be written: {e}; nothing was left there; name a folder with room") from e
    return digest


def restore(backup: Path, directory: Path) -> Store:
    """The store in a backup, put into a folder that holds none yet, with a fresh snapshot.

    Raises:
        StoreError: the backup is missing or damaged, or the folder has a store already.
    """
    _verify(backup)
    if (directory / CATALOGUE).exists():
        raise StoreError(
            f"{directory} holds a store already; restore into another folder with --store, then put that in its place while nothing runs"
        )
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{CATALOGUE}.partial"
    with lock.hold(directory):
        try:
            shutil.copyfile(backup, partial)
            put_catalogue(partial, directory)
        except OSError as e:
            partial.unlink(missing_ok=True)
            raise StoreError(f"{backup} cannot be copied to {directory}: {e.strerror}; name a folder with room") from e
        store = Store.open(directory)
        publish(store)
    return store


def check_catalogue(path: Path) -> str | None:
    """What SQLite finds wrong with a catalogue, in a sentence; None when it is sound."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            dangling = connection.execute("SELECT count(*) FROM pragma_foreign_key_check").fetchone()[0]
        except sqlite3.DatabaseError as e:
            return str(e)
    if found != ["ok"]:
        return "; ".join(found)
    return f"{dangling} rows refer to rows that are gone" if dangling else None


def _verify(backup: Path) -> None:
    checksum = _checksum_file(backup)
    for file in (backup, checksum):
        if not file.exists():
            raise StoreError(
                f"{file} is missing; a backup is the file that `python -m rag backup` wrote and its {checksum.suffix} beside it"
            )
    expected, found = checksum.read_text()[:64], sha256_of(backup)
    if found != expected:
        raise StoreError(f"{backup} is damaged: SHA-256 {found[:12]}…, expected {expected[:12]}…; take another backup")
    if problem := check_catalogue(backup):
        raise StoreError(f"{backup} is damaged: {problem}; take another backup")


def _checksum_file(backup: Path) -> Path:
    return backup.with_name(backup.name + ".sha256")
