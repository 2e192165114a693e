"""`python -m ingest`: course folders in, a searchable store out. Exit codes: 0 done, 1 error, 2 usage, 3 done but files were set aside."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rag.command_line import positive, print_error
from rag.errors import LecternError

if TYPE_CHECKING:
    from ingest.report import IngestReport
    from rag.config import Config


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    set_aside = False
    try:
        for report in (_follow if options.watch else _run)(options):
            print(json.dumps(report.to_json(), ensure_ascii=False) if options.json else report.summary(), flush=True)
            set_aside = bool(report.set_aside) or set_aside
    except (LecternError, sqlite3.Error) as e:
        print_error(e)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was saved stays, and the next run goes on from there", file=sys.stderr)
        return 130
    return 3 if set_aside else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ingest", description="Index course folders.")
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        default=[Path("corpora")],
        metavar="PATH",
        help="a course folder, or a folder of courses (default: corpora)",
    )
    parser.add_argument("--store", type=Path, help="where the store is (default: $LECTERN_STORE, else .lectern)")
    parser.add_argument("--course", metavar="NAME", help="the course's name; PATH is then one course")
    parser.add_argument("--rebuild", action="store_true", help="read every file again; needed after a change of the embedder")
    parser.add_argument("--watch", action="store_true", help="go on: each change in the folders is brought in, until Ctrl-C")
    parser.add_argument("--workers", type=positive, metavar="N", help="how many files are read at once (default: one a core)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="one JSON object a course on stdout")
    return parser


def _folders(options: argparse.Namespace) -> list[Path]:
    from ingest.walk import course_folders

    return [folder for path in options.paths for folder in course_folders(path, as_course=options.course is not None)]


def _run(options: argparse.Namespace) -> Iterator[IngestReport]:
    """The reports of the courses, each as soon as it is done."""
    ingest = _ingester(options)
    for folder in _folders(options):
        yield ingest(folder)


def _follow(options: argparse.Namespace) -> Iterator[IngestReport]:
    """The reports of a first run and of one for each change; an error is told, and the next change waited for."""
    from ingest.watch import changed_paths

    _folders(options)  # a wrong path is an error now
    ingest = _ingester(options)
    failed: set[Path] = set()
    for changed in changed_paths(options.paths, _config(options).store):
        for folder in _folders(options):
            inside = folder.resolve()
            if inside in failed or any(path.is_relative_to(inside) or inside.is_relative_to(path) for path in changed):
                try:
                    yield ingest(folder)
                    failed.discard(inside)
                except (LecternError, sqlite3.Error) as e:
                    print_error(e)
                    failed.add(inside)
        options.rebuild = False  # once is enough


def _config(options: argparse.Namespace) -> Config:
    from rag.config import Config

    return Config.load(options.config, store=options.store, device=options.device)


def _ingester(options: argparse.Namespace) -> Callable[[Path], IngestReport]:
    """What ingests one folder as the options say, under a progress bar; the embedder stays loaded from one folder to the next."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ingest.pipeline import ingest_course
    from ingest.sandbox import can_filter_system_calls
    from rag.embed import SentenceTransformerEmbedder
    from rag.store import Store

    if not can_filter_system_calls():
        print("note: this system cannot keep the readers off the network; memory, time and file sizes are limited", file=sys.stderr)
    config = _config(options)
    store = Store.create(config.store)
    embedder = SentenceTransformerEmbedder.from_config(config)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]

    def ingest(folder: Path) -> IngestReport:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(folder.name, total=None)

            def show(done: int, total: int, source: str) -> None:
                bar.update(task, completed=done, total=total, description=f"{folder.name}: {source}")

            return ingest_course(
                folder, store, embedder, config, name=options.course, rebuild=options.rebuild, workers=options.workers, progress=show
            )

    return ingest


if __name__ == "__main__":
    sys.exit(main())
