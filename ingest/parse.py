"""Files to Documents through bounded child processes: whatever a file does to its reader, the run goes on.

Each of a few servers (`ingest.parse_worker`) forks a child for every file. A child that dies, hangs or needs too much memory is one file
set aside with that reason.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ingest.sandbox import Limits
from rag.errors import LecternError, NotReadThisTime, UnreadableDocument
from rag.types import Document

DEFAULT_LIMITS = Limits()
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TESSDATA_PREFIX")
"""All that a reader gets to know of this machine's environment: no key or token may reach what reads strangers' files."""

_ENDS: dict[int, str] = {
    signal.SIGALRM: "takes longer than {seconds} s to be read: split it, or save it again",
    signal.SIGXCPU: "takes longer than {seconds} s to be read: split it, or save it again",
    signal.SIGKILL: "needs more memory to be read than this machine has left: close other programs, or split it",
}
_CRASH = "crashes its reader ({name}): it may be damaged; open it in its program and save it again, or as PDF"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document, the SHA-256 of the very bytes it was read from, and what reading took."""

    document: Document
    sha256: str
    seconds: float
    peak_bytes: int


class ParserPool:
    """Reads files, as many at once as it has workers; safe to call from many threads.

    A worker starts at its first file, so that a pool without work costs nothing. Leaving the pool ends what is under way.
    """

    def __init__(self, workers: int, limits: Limits = DEFAULT_LIMITS, server: Sequence[str] = ("-m", "ingest.parse_worker")) -> None:
        self._limits = limits
        self._server = server
        self._closed = False
        self._opening = threading.Lock()
        self._workers: set[_Worker] = set()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)

    def __enter__(self) -> ParserPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._opening:
            self._closed = True
        for worker in list(self._workers):
            worker.end()
            worker.close()

    def read(self, path: Path, source: str, folder: Path | None = None) -> Parsed:
        """The document in the file at `path`; waits for a free worker.

        Args:
            folder: the course's, from which the file may include others.

        Raises:
            UnreadableDocument: it cannot be read, or not within the limits.
            NotReadThisTime: it could not be opened, or the machine had no memory for it.
        """
        request = {
            "path": str(path.resolve()),
            "source": source,
            "folder": str((folder or path.parent).resolve()),
            "seconds": self._limits.seconds,
            "memory_bytes": self._limits.memory_bytes,
        }
        with self._worker() as worker:
            about, written = worker.ask(request)
        status = about["status"]
        if status == -signal.SIGKILL:
            raise NotReadThisTime(f"{source} {_ENDS[signal.SIGKILL]}")
        if status != os.EX_OK:
            raise UnreadableDocument(f"{source} {_reason(status, self._limits)}")
        try:
            outcome = json.loads(written)
            if "reason" in outcome:
                raise (NotReadThisTime if outcome["may_be_read"] else UnreadableDocument)(outcome["reason"])
            return Parsed(Document.from_json(outcome["document"]), outcome["sha256"], about["seconds"], about["peak_bytes"])
        except (ValueError, KeyError, TypeError) as e:
            raise UnreadableDocument(f"{source} {_CRASH.format(name='its reader gave no document')}") from e

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        worker = self._idle.get()
        try:
            with self._opening:
                if self._closed:
                    raise NotReadThisTime("the run was ended")
                if worker is None:
                    worker = _Worker(self._server)
                    self._workers.add(worker)
            yield worker
        finally:
            if worker is not None and not worker.alive:
                self._workers.discard(worker)
                worker.close()
                worker = None
            self._idle.put(worker)


class _Worker:
    """One server process, asked by one thread at a time."""

    def __init__(self, server: Sequence[str]) -> None:
        self._asking = threading.Lock()
        self._has_answered = False
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            env=environment | {"OMP_THREAD_LIMIT": "1"},  # tesseract would take every core
            start_new_session=True,  # an interrupt at the keyboard is for the run, which then ends its workers
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """What the server says about the child, and what the child wrote.

        Raises:
            LecternError: the server could not start.
            NotReadThisTime: it was ended.
        """
        with self._asking:
            try:
                if self.alive:
                    self._requests.write(json.dumps(request).encode() + b"\n")
                    self._requests.flush()
                    about = json.loads(self._replies.readline())
                    written = self._replies.read(about["bytes"])
                    if len(written) == about["bytes"]:
                        self._has_answered = True
                        return about, written
            except (BrokenPipeError, json.JSONDecodeError):
                self.end()
            status = self._process.wait()
        if status > 0 and not self._has_answered:
            raise LecternError("the process that reads files cannot start; the lines above say why; run: python -m rag doctor")
        raise NotReadThisTime(f"{request['source']} {_ENDS[signal.SIGKILL]}")

    def end(self) -> None:
        """Ends the server, and with it the child at work; whoever waits for its reply gets the end of the stream."""
        self._process.kill()

    def close(self) -> None:
        """Frees what the ended server held, once nobody waits for it any more."""
        with self._asking:
            self._process.wait()
            self._replies.close()
            with suppress(BrokenPipeError):  # what was not yet sent goes nowhere
                self._requests.close()


def _reason(status: int, limits: Limits) -> str:
    """Why a child with this exit code has no document."""
    if status >= 0:
        return _CRASH.format(name="an error in Lectern; the lines above say where")
    ended_by = -status
    name = signal.Signals(ended_by).name if ended_by in set(signal.Signals) else f"signal {ended_by}"
    return _ENDS.get(ended_by, _CRASH).format(name=name, seconds=limits.seconds)
