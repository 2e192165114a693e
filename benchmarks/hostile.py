"""`python benchmarks/hostile.py FOLDER … [--json]`: every file below the folders read as an ingest would, and how each one ended.

The figures of docs/reliability.md on hostile files come from here. Nothing is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from ingest.parse import ParserPool
from ingest.sandbox import Limits
from rag.errors import UnreadableDocument


@dataclass(frozen=True, slots=True)
class Outcome:
    """How reading one file ended: a document of so many characters, or the reason why there is none."""

    file: str
    characters: int = 0
    reason: str = ""
    seconds: float = 0.0
    peak_mib: int = 0

    @property
    def crashed(self) -> bool:
        return "crashes its reader" in self.reason

    @property
    def timed_out(self) -> bool:
        return "takes longer than" in self.reason


def read_all(paths: list[Path], limits: Limits = Limits()) -> list[Outcome]:  # noqa: B008 - frozen
    """The outcome of each file, in the same order."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as threads, ParserPool(workers, limits) as pool:
        return list(threads.map(lambda path: _read(pool, path), paths))


def _read(pool: ParserPool, path: Path) -> Outcome:
    try:
        parsed = pool.read(path, path.name)
    except UnreadableDocument as e:
        return Outcome(path.name, reason=str(e))
    return Outcome(path.name, len(parsed.document.text), "", round(parsed.seconds, 2), parsed.peak_bytes >> 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    options = parser.parse_args()
    paths = sorted(path for folder in options.folders for path in folder.rglob("*") if path.is_file())
    outcomes = read_all(paths)
    if options.json:
        sys.stdout.writelines(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        return
    for outcome in outcomes:
        if outcome.reason:
            print(f"set aside: {outcome.reason}")
    read = [outcome for outcome in outcomes if not outcome.reason]
    print(
        f"{len(outcomes)} files: {len(read)} read, {len(outcomes) - len(read)} set aside with a reason, "
        f"{sum(outcome.crashed for outcome in outcomes)} of them because the reader crashed, "
        f"{sum(outcome.timed_out for outcome in outcomes)} because it took too long; "
        f"slowest {max((outcome.seconds for outcome in read), default=0):.1f} s, "
        f"largest {max((outcome.peak_mib for outcome in read), default=0)} MiB"
    )


if __name__ == "__main__":
    main()
