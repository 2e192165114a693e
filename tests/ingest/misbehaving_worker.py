"""The readers' server with a reader that does what a hostile file might make one do; which, says the file's text."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingest import parse_worker
from rag.types import Document, Location, LocationKind, Section


def read_document(data: bytes, source: str) -> Document:
    deed, _, argument = data.decode().partition(" ")
    said = DEEDS[deed](argument)
    return Document(source, (Section(str(said), Location(LocationKind.LINE, 1, 1)),), pages=1)


def _hang(argument: str) -> None:
    while True:
        pass


def _sleep(argument: str) -> None:
    ctypes.CDLL(None).sleep(600)  # in C, where no Python code runs


def _crash(argument: str) -> None:
    ctypes.string_at(0)


def _eat_memory(argument: str) -> int:
    return len([bytes(1 << 20) for _ in range(int(argument))])


def _attempt(action: object) -> str:
    try:
        return f"done: {action()}"  # type: ignore[operator]
    except OSError as e:
        return type(e).__name__


def _start_program(argument: str) -> str:
    done = subprocess.run(["sh", "-c", f"echo x > {argument}"], capture_output=True, text=True)
    return f"{done.returncode != 0}"


DEEDS = {
    "hang": _hang,
    "sleep": _sleep,
    "crash": _crash,
    "raise": lambda argument: {}["missing"],
    "memory": _eat_memory,
    "connect": lambda argument: _attempt(lambda: socket.create_connection(("127.0.0.1", int(argument)), timeout=1)),
    "write": lambda argument: _attempt(lambda: Path(argument).write_text("x")),
    "remove": lambda argument: _attempt(lambda: Path(argument).unlink()),
    "program": _start_program,
    "environment": lambda argument: sorted(os.environ.keys() & {argument, "PATH"}),
    "say": lambda argument: argument,
    "print": lambda argument: os.write(1, b'{"bytes": 0, "status": 0}\n'),
    "linger": lambda argument: subprocess.Popen(["sleep", "600"]) and signal.pause(),
}


def _in_child(request: Mapping[str, Any]) -> tuple[bytes, int, int]:
    if Path(request["path"]).read_text() == "die":  # as when the system ends the server for want of memory
        os.kill(os.getpid(), signal.SIGKILL)
    return in_child(request)


if __name__ == "__main__":
    in_child, parse_worker._in_child = parse_worker._in_child, _in_child
    parse_worker.read_document = read_document
    parse_worker.serve(sys.stdin.buffer, sys.stdout.buffer)
