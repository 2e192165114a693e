"""`python -m ingest`: course folders in, a searchable store out. Exit codes: 0 done, 1 error, 2 usage, 3 done but files were set aside."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import LecternError

if TYPE_CHECKING:
    from ingest.pipeline import IngestReport


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        reports = _ingest(options)
    except (LecternError, sqlite3.Error) as e:
        print(f"error: {e}" + ("; run: python -m rag doctor" if isinstance(e, sqlite3.Error) else ""), file=sys.stderr)
        return 1
    for report in reports:
        print(json.dumps(report.to_json(), ensure_ascii=False) if options.json else _summary(report))
    return 3 if any(report.set_aside for report in reports) else 0


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
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="one JSON object a course on stdout")
    return parser


def _ingest(options: argparse.Namespace) -> list[IngestReport]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ingest.pipeline import ingest_course
    from ingest.walk import course_folders
    from rag.config import Config
    from rag.embed import SentenceTransformerEmbedder
    from rag.store import Store

    config = Config.load(options.config, store=options.store, device=options.device)
    folders = [folder for path in options.paths for folder in course_folders(path, as_course=options.course is not None)]
    store = Store.create(config.store)
    embedder = SentenceTransformerEmbedder.from_config(config)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    reports = []
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for folder in folders:
            task = bar.add_task(folder.name, total=None)

            def show(done: int, total: int, source: str, task: object = task, folder: Path = folder) -> None:
                bar.update(task, completed=done, total=total, description=f"{folder.name}: {source}")  # type: ignore[arg-type]

            reports.append(ingest_course(folder, store, embedder, config, name=options.course, rebuild=options.rebuild, progress=show))
    return reports


def _summary(report: IngestReport) -> str:
    counted = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in report.files.items() if count)
    seconds = report.seconds
    stages = ", ".join(f"{stage} {value:.2f} s" for stage, value in seconds.items() if stage != "total" and value >= 0.005)
    speed = f" ({report.tokens / seconds['embed']:,.0f} tokens/s)" if report.tokens else ""
    lines = [
        f"{report.course}: {counted or 'nothing to do'}",
        f"  {report.pages:,} pages, {report.chunks:,} chunks; "
        f"embedded {report.embedded:,} chunks, {report.tokens:,} tokens{speed}" + (f" on {report.device}" if report.device else ""),
        f"  {seconds['total']:.2f} s: {stages}; generation {report.generation}",
    ]
    lines += [f"  note: {notice['source']}: {notice['notice']}" for notice in report.notices]
    lines += [f"  set aside: {file['source']}: {file['reason']}" for file in report.set_aside]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
