"""FAISS files cut short, flipped, zeroed, swapped, emptied: each must be noticed and made anew, with the same answers as before."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from faults.audit import faults_of_store
from faults.conftest import ChangingCourse, Victims, times
from rag.snapshots import load_snapshot
from rag.store import Store

Damage = Callable[[Path, random.Random, bytes], bytes]


def _cut(path: Path, chance: random.Random, other: bytes) -> bytes:
    data = path.read_bytes()
    return data[: chance.randrange(len(data))]


def _flip(path: Path, chance: random.Random, other: bytes) -> bytes:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _zero_tail(path: Path, chance: random.Random, other: bytes) -> bytes:
    data = path.read_bytes()
    kept = chance.randrange(len(data) - 600)  # the very last bytes may be zeros already
    return data[:kept] + bytes(len(data) - kept)


def _swap(path: Path, chance: random.Random, other: bytes) -> bytes:
    return other


def _empty(path: Path, chance: random.Random, other: bytes) -> bytes:
    return b""


def _lengthen(path: Path, chance: random.Random, other: bytes) -> bytes:
    return path.read_bytes() + bytes(chance.randrange(1, 100))


DAMAGES: tuple[Damage, ...] = (_cut, _flip, _zero_tail, _swap, _empty, _lengthen)


def test_every_damaged_snapshot_is_noticed_and_rebuilt(victims: Victims, course: ChangingCourse, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    victims.ingest(course.folder, directory)
    older = next(directory.glob("vectors-*")).read_bytes()
    course.change()
    victims.ingest(course.folder, directory)
    store, chance = Store.open(directory), random.Random(9)
    for attempt in range(times(in_ci=400)):
        (path,) = directory.glob("vectors-*")
        damage = DAMAGES[attempt % len(DAMAGES)]
        path.write_bytes(damage(path, chance, older))
        notices: list[str] = []
        snapshot = load_snapshot(store, notices.append)
        assert len(notices) == 1, (attempt, damage.__name__)
        assert "making it anew from the catalogue" in notices[0]
        assert snapshot.index is not None
        assert snapshot.index.ntotal == sum(course.chunks for course in store.courses())
        if attempt % 20 == 0:
            assert faults_of_store(directory) == [], (attempt, damage.__name__)


def test_a_snapshot_that_is_gone_is_rebuilt(victims: Victims, course: ChangingCourse, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    victims.ingest(course.folder, directory)
    before = next(directory.glob("vectors-*")).read_bytes()
    for path in directory.glob("vectors-*"):
        path.unlink()
    moved = tmp_path / "moved"
    shutil.copytree(directory, moved)
    notices: list[str] = []
    load_snapshot(Store.open(moved), notices.append)
    assert "cannot be read (No such file or directory); making it anew" in notices[0]
    assert next(moved.glob("vectors-*")).read_bytes() == before
