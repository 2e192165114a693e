"""The catalogue as a file: opened, migrated, written in transactions by one process at a time. Knows nothing of what is in it.

Each thread has its own connection; every write begins with BEGIN IMMEDIATE, so that two writers queue instead of failing half-way.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self

from sqlite_utils import Database

from rag import lock
from rag.errors import DiskFull, StoreBusy, StoreError, StoreMismatch, StoreMissing
from rag.files import put_in_place
from rag.migrations import KNOWN, MIGRATIONS

CATALOGUE = "catalogue.db"
BUSY_TIMEOUT_S = 30
RESERVED_BYTES = 32 << 20
"""Room that writing leaves on the disk: the write-ahead log grows beside the catalogue, and other programs write too."""


class Catalogue:
    """The directory of a store and the SQLite file in it. Cheap to hold; safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._local = threading.local()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The store in `directory`.

        Raises:
            StoreMissing: there is none.
            StoreMismatch: a newer version of Lectern made it.
        """
        if not (directory / CATALOGUE).exists():
            raise StoreMissing(f"there is no store in {directory}; make one with: python -m ingest --store {directory}")
        return cls(directory)._migrate()

    @classmethod
    def create(cls, directory: Path) -> Self:
        """The store in `directory`, made when it is not there.

        Raises:
            StoreError: it cannot be made.
            StoreBusy: another process is making it.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / CATALOGUE).exists():
                with lock.hold(directory):
                    cls._make(directory)
        except OSError as e:
            raise StoreError(f"the store {directory} cannot be made: {e.strerror}; name another folder with --store") from e
        return cls(directory)._migrate()

    @staticmethod
    def _make(directory: Path) -> None:
        """Makes an empty catalogue that appears under its name when it is complete: two processes may begin at once."""
        partial = directory / f"{CATALOGUE}.partial"
        partial.unlink(missing_ok=True)
        partial.touch()
        db = _connect(partial)
        MIGRATIONS.apply(db)
        db.close()
        if not (directory / CATALOGUE).exists():
            put_catalogue(partial, directory)

    @property
    def db(self) -> Database:
        """This thread's connection."""
        if not hasattr(self._local, "db"):
            self._local.db = _connect(self.directory / CATALOGUE)
        return self._local.db

    def close(self) -> None:
        """Closes this thread's connection."""
        if hasattr(self._local, "db"):
            self._local.db.close()
            del self._local.db

    def _migrate(self) -> Self:
        try:
            newer = {step.name for step in MIGRATIONS.applied(self.db)} - KNOWN
            if newer:
                raise StoreMismatch(
                    f"the store {self.directory} was made by a newer Lectern (unknown: {', '.join(sorted(newer))}); upgrade this one"
                )
            if MIGRATIONS.pending(self.db):
                with self.transaction() as db:  # looks again inside: another process may have done it meanwhile
                    MIGRATIONS.apply(db)
        except sqlite3.OperationalError as e:
            raise StoreBusy(f"the catalogue in {self.directory} cannot be opened: {e}; if another process is writing, wait for it") from e
        except sqlite3.DatabaseError as e:
            raise StoreError(f"{self.directory / CATALOGUE} cannot be used: {e}; restore a backup, or delete it and ingest again") from e
        return self

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """All or nothing: commits at the end, rolls back on any error.

        Raises:
            StoreBusy: another process has been writing for longer than 30 seconds.
            DiskFull: there is no room for it.
            StoreError: SQLite failed otherwise; what broke a constraint stays an IntegrityError.
        """
        db = self.db
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.commit()
        except BaseException as e:
            db.rollback()
            code = e.sqlite_errorcode if isinstance(e, sqlite3.OperationalError) else None
            if code == sqlite3.SQLITE_FULL:
                raise DiskFull(f"the disk of {self.directory} is full; what was saved stays; make room, then try again") from e
            if code == sqlite3.SQLITE_BUSY:
                raise StoreBusy(
                    f"the catalogue in {self.directory} cannot be written: {e}; wait for the other writer to end, then try again"
                ) from e
            if isinstance(e, sqlite3.Error) and not isinstance(e, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                raise StoreError(f"the catalogue in {self.directory} cannot be written: {e}; run: python -m rag doctor") from e
            raise

    def writer_lock(self) -> AbstractContextManager[None]:
        """Only one ingest at a time; raises StoreBusy, which names the holder, when there is another."""
        return lock.hold(self.directory)

    def is_being_written(self) -> bool:
        """Whether some process holds the writer lock right now."""
        return lock.is_held(self.directory)

    def require_space(self, needed_bytes: int) -> None:
        """Raises DiskFull unless the disk has room for so many bytes and what SQLite needs besides."""
        free = shutil.disk_usage(self.directory).free
        if free < needed_bytes + RESERVED_BYTES:
            raise DiskFull(
                f"the disk of {self.directory} has {free >> 20} MiB left, and writing needs {(needed_bytes + RESERVED_BYTES) >> 20} MiB; "
                "what was saved stays and can be searched; make room, then run this again"
            )


def put_catalogue(path: Path, directory: Path) -> None:
    """Makes a complete file the catalogue of a store that has none. SQLite would replay the log of one that was there before onto it."""
    for leftover in ("-wal", "-shm"):
        (directory / f"{CATALOGUE}{leftover}").unlink(missing_ok=True)
    put_in_place(path, directory / CATALOGUE)


def _connect(path: Path) -> Database:
    # mode=rw: a catalogue that is deleted under a running page is an error, not an empty new one.
    db = Database(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S))
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF", "secure_delete = ON"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    return db
