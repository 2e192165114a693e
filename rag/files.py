"""Files as a store needs them: their SHA-256, and a place that they take complete and for good, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_in_place(partial: Path, target: Path) -> None:
    """Gives a finished file its name; after that it survives a loss of power."""
    _sync(partial)
    partial.rename(target)
    _sync(target.parent)


def put_in_free_place(partial: Path, target: Path) -> None:
    """The same for a name that no file may have yet. Where hard links are refused it is copied, and seen while it grows.

    Raises:
        FileExistsError: a file has that name, and keeps it.
    """
    _sync(partial)
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        _copy_to_free_place(partial, target)
    partial.unlink()
    _sync(target.parent)


def _copy_to_free_place(partial: Path, target: Path) -> None:
    with partial.open("rb") as source, target.open("xb") as file:
        try:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            target.unlink()
            raise


def _sync(path: Path) -> None:
    """Until it returns, a loss of power may undo what was done to a file or a folder."""
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
