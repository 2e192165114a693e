"""`python small_disk.py DISK`: what happens to a store on a disk that fills. Started by test_disk_full.py; says what it found as JSON."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import rag.database
from faults.audit import COURSE, faults_against_folder, faults_of_store
from ingest.pipeline import ingest_course
from rag.answer import answer
from rag.config import NONE, Config
from rag.conversations import add_exchange, start
from rag.engine import Engine
from rag.errors import LecternError, StoreError
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder


def main(disk: Path) -> dict:
    with tempfile.TemporaryDirectory() as elsewhere:
        folder = Path(elsewhere) / COURSE
        folder.mkdir()
        (folder / "first.md").write_text("# First\n\nTopic3 bends light by 33 degrees.\n")
        store = Store.create(disk / "store")
        found = {"early": _grow_until_refused(folder, store)}
        rag.database.RESERVED_BYTES = -(1 << 40)  # as if another program had taken the room after it was looked at
        found["full"] = _fill_and_grow(disk, folder, store)
        found["reading"] = _read(disk, store)
        (disk / "ballast").unlink()
        rag.database.RESERVED_BYTES = 0
        last = sorted(folder.iterdir())[-3:]
        for path in last:
            path.unlink()
        _ingest(folder, store)
        found["after"] = {
            "faults": faults_of_store(store.directory) + faults_against_folder(store.directory, folder),
            "unchanged": _ingest(folder, store).files["unchanged"] == len(list(folder.iterdir())),
        }
    return found


def _grow_until_refused(folder: Path, store: Store) -> dict:
    chance = random.Random(1)
    while True:
        _add(folder, chance)
        try:
            _ingest(folder, store)
        except StoreError as e:
            return _state(store) | {"error": str(e), "free_mib": shutil.disk_usage(store.directory).free >> 20}


def _fill_and_grow(disk: Path, folder: Path, store: Store) -> dict:
    _fill(disk, but=300_000)
    try:
        _ingest(folder, store)
    except StoreError as e:
        return _state(store) | {"error": str(e)}
    raise AssertionError("the disk was not full")


def _read(disk: Path, store: Store) -> dict:
    """A question asked with not a byte left, of a store whose snapshot has been lost."""
    _fill(disk, but=0)
    for path in store.directory.glob("vectors-*"):
        with path.open("rb+") as file:
            file.write(b"damaged")
    notices: list[str] = []
    config = Config(store=store.directory, generator=NONE, confidence_floor=0.0)
    engine = Engine(Searcher(Store.open(store.directory), HashingEmbedder(), config, notices.append), None, config)
    given = answer("By how many degrees does Topic3 bend light?", Scope(COURSE), engine)
    try:
        while True:  # the write-ahead log has some room of its own
            add_exchange(store, start(store, COURSE, "A question").id, given)
    except LecternError as e:
        refusal = str(e)
    free = shutil.disk_usage(disk).free
    return {"answer": given.sentences[0].text, "notices": notices, "conversation": refusal, "free": free}


def _ingest(folder: Path, store: Store):
    return ingest_course(folder, store, HashingEmbedder(), Config(store=store.directory))


def _add(folder: Path, chance: random.Random) -> None:
    words = (f"word{chance.randrange(5_000)}" for _ in range(40_000))
    number = len(list(folder.iterdir()))
    (folder / f"notes-{number:03}.md").write_text(f"# Notes {number}\n\n" + " ".join(words) + ".\n")


def _fill(disk: Path, but: int) -> None:
    with (disk / "ballast").open("ab") as file:
        while (free := shutil.disk_usage(disk).free - but) > 0:
            try:
                os.write(file.fileno(), bytes(min(free, 1 << 20)))
            except OSError:
                return


def _state(store: Store) -> dict:
    return {"documents": len(store.documents(COURSE)), "faults": faults_of_store(store.directory)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
