"""One writer at a time: a lock on a file of the store, which names its holder. The kernel frees a dead holder's lock."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from rag.errors import StoreBusy, StoreError

LOCK_FILE = "writer.lock"


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Holds the store's lock.

    Raises:
        StoreBusy: another process holds it; the message names that.
        StoreError: the store cannot be written.
    """
    try:
        file = (directory / LOCK_FILE).open("a+")
    except OSError as e:
        raise StoreError(f"the store {directory} cannot be written: {e.strerror}; make its folder writable") from e
    with file:
        try:
            _lock(file)
        except BlockingIOError as e:
            file.seek(0)
            raise StoreBusy(
                f"another ingest is writing to {directory} ({file.read().strip() or 'holder unknown'}); wait for it to end"
            ) from e
        file.truncate(0)
        file.write(f"process {os.getpid()} since {datetime.now(UTC).isoformat(timespec='seconds')}")
        file.flush()
        yield


def is_held(directory: Path) -> bool:
    """Whether some process holds the lock right now."""
    try:
        file = (directory / LOCK_FILE).open()
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock(file: IO[str]) -> None:
    """Takes the lock; a reader's short look at it is waited for, a writer is not."""
    for _ in range(20):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
