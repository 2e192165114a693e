"""`python victim.py`: ingests in child processes that end when they are told to, as by a power switch.

Like the readers' server it imports everything once and then forks, so that a victim costs milliseconds. Each line on stdin is one ingest:
`{"folder", "store", "after_s"?, "at_point"?, "count"?, "pause_s"?}`; each line
on stdout its end: `{"status", "seconds", "points"?, "said"}`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import faiss  # noqa: F401 - imported once here, not in every victim

import rag.database
from ingest.pipeline import ingest_course
from rag.config import Config
from rag.errors import LecternError
from rag.store import Store
from support import HashingEmbedder

WRITES = re.compile(
    r"\s*(BEGIN IMMEDIATE|COMMIT|ROLLBACK|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|VACUUM|PRAGMA wal_checkpoint)", re.IGNORECASE
)
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        began = time.perf_counter()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _be_victim(order, writing)
        os.close(writing)
        if "after_s" in order:
            time.sleep(order["after_s"])
            os.kill(child, signal.SIGKILL)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        points = int(said.split()[-1]) if order.get("count") and status == 0 else None
        print(json.dumps({"status": status, "seconds": time.perf_counter() - began, "points": points, "said": said}), flush=True)


def _be_victim(order: dict, writing: int) -> None:
    status = 1
    try:
        points = _WritePoints(order.get("at_point"))
        if order.get("count") or "at_point" in order:
            points.watch()
        directory = Path(order["store"])
        try:
            ingest_course(Path(order["folder"]), Store.create(directory), _Embedder(order.get("pause_s", 0.0)), Config(store=directory))
            os.write(writing, str(points.passed).encode())
            status = 0
        except LecternError as e:
            os.write(writing, str(e).encode())
    finally:
        os._exit(status)


class _Embedder(HashingEmbedder):
    """Takes its time at the first thing that a run asks, with the writer's lock held."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s

    @property
    def identity(self) -> tuple[str, str]:
        time.sleep(self.pause_s)
        return HashingEmbedder.identity


class _WritePoints:
    """Counts the moments at which the store's files are about to change, and ends this process at the one asked for.

    SQL statements are told by SQLite's trace, file operations by Python's audit events: the store needs no hook for the test's sake.
    """

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed = 0

    def watch(self) -> None:
        connect = rag.database._connect

        def traced(path: Path) -> object:
            db = connect(path)
            db.conn.set_trace_callback(lambda statement: self._pass() if WRITES.match(statement) else None)
            return db

        rag.database._connect = traced
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING_FLAGS
        if writes or event in ("os.rename", "os.remove", "os.truncate", "os.mkdir"):
            self._pass()

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
