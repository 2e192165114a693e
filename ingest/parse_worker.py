"""`python -m ingest.parse_worker`: reads files, each in a child process of its own. Started by `ingest.parse`; nobody types it.

This process imports a reader once and then only forks, so that a file costs milliseconds, and no file can leave anything behind for
the next one. Requests and replies pass as JSON, never as pickles: what a child says is data, whatever has become of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ingest.includes import SUFFIX as TEX
from ingest.includes import assemble
from ingest.readers import READERS, load_reader, read_document, suffix_of
from ingest.sandbox import Limits, enter
from rag.errors import NotReadThisTime, UnreadableDocument

FILE_BYTES = 200 << 20
TEXT_CHARACTERS = 10_000_000
"""Some 2,000 full pages. More in one file is data, and would take an hour to embed."""
REPLY_BYTES = 8 * TEXT_CHARACTERS
GRACE_S = 5
"""So much later than the child's own alarm the server ends it."""


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers each line `{"path", "source", "folder", "seconds", "memory_bytes"}` by a line about the child, then the bytes it wrote."""
    for line in requests:
        request = json.loads(line)
        began = time.monotonic()
        written, status, peak_bytes = _in_child(request)
        about = {"bytes": len(written), "status": status, "seconds": time.monotonic() - began, "peak_bytes": peak_bytes}
        replies.write(json.dumps(about).encode() + b"\n" + written)
        replies.flush()


def _in_child(request: Mapping[str, Any]) -> tuple[bytes, int, int]:
    """What the child wrote, its exit code (negative: the signal that ended it), and its peak memory in bytes."""
    suffix = suffix_of(request["source"])
    if suffix in READERS:
        load_reader(suffix)  # once here, instead of in every child
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(request, writing)
    os.close(writing)
    written = _read_all(reading, request["seconds"] + GRACE_S)
    if written is None:
        os.kill(child, signal.SIGALRM)  # as its own alarm should have done
        os.kill(child, signal.SIGKILL)
        written = b""
    _, status, usage = os.wait4(child, 0)
    _end_group(child)
    return written, os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024


def _read_all(reading: int, seconds: float) -> bytes | None:
    """What comes through a pipe until its end; None when that takes too long, or is more than any document has."""
    deadline, size = time.monotonic() + seconds, 0
    pieces: list[bytes] = []
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while size <= REPLY_BYTES:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            piece = pipe.read(1 << 20) if ready else None
            if piece is None:
                return None
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
    return None


def _be_child(request: Mapping[str, Any], writing: int) -> None:
    """Reads the file, writes the outcome and exits, whatever happens: it must never go on as a second server."""
    status = os.EX_SOFTWARE
    try:
        os.setpgid(0, 0)
        os.dup2(2, 1)  # what a library prints must not pass for a reply
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        enter(Limits(request["seconds"], request["memory_bytes"]))
        with os.fdopen(writing, "wb") as pipe:
            outcome = json.dumps(_outcome(Path(request["path"]), request["source"], Path(request["folder"])), ensure_ascii=False)
            pipe.write(outcome.encode("utf-8", "replace"))  # what is no character (half of a surrogate pair) becomes "?"
        status = os.EX_OK
    finally:
        if status != os.EX_OK:
            traceback.print_exc()
        os._exit(status)


def _end_group(child: int) -> None:
    """Ends what the child has started and left behind, such as an OCR program under way."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        return


def _outcome(path: Path, source: str, folder: Path) -> dict[str, Any]:
    """The document as JSON with the SHA-256 of the file it was read from, or the reason why there is none."""
    try:
        data = _bytes(path, source)
        document = read_document(assemble(data, path, folder).data if source.endswith(TEX) else data, source)
        if len(document.text) > TEXT_CHARACTERS:
            raise UnreadableDocument(
                f"{source} holds {len(document.text):,} characters of text; up to {TEXT_CHARACTERS:,} are taken: "
                "split it, or leave it out if it is data"
            )
    except UnreadableDocument as e:
        return {"reason": str(e), "may_be_read": isinstance(e, NotReadThisTime)}
    except MemoryError:
        return {"reason": f"{source} needs more memory to be read than one file may take: split it", "may_be_read": False}
    return {"document": document.to_json(), "sha256": hashlib.sha256(data).hexdigest()}


def _bytes(path: Path, source: str) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > FILE_BYTES:
                raise UnreadableDocument(f"{source} has {size >> 20} MiB; up to {FILE_BYTES >> 20} MiB are read: split it")
            return file.read()
    except OSError as e:
        raise NotReadThisTime(f"{source} cannot be opened: {e.strerror}") from e


if __name__ == "__main__":
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(os.EX_IOERR)  # the run that asked is gone, and nobody is left to be told
