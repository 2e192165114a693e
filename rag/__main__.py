"""`python -m rag`: search, ask, evaluate, bench, backup, restore, doctor. Results go to stdout, notices to stderr.

Exit codes: 0 done, 1 error (one line that says what to do), 2 usage.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.command_line import positive, print_error
from rag.errors import LecternError
from rag.moments import ANY, EXPECTED, utc_moment

if TYPE_CHECKING:
    from rag.config import Config
    from rag.evaluate import Golden
    from rag.interpret import Interpreted
    from rag.retrieve import Searcher
    from rag.types import Answer, Hit, Scope

FILTERS = ("path", "material", "week", "lecture", "format", "at")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (LecternError, sqlite3.Error) as e:
        print_error(e)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rag", description="Search a course, ask it, and measure how well that works.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", type=Path, help="where the store is (default: $LECTERN_STORE, else .lectern)")
    common.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    common.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    common.add_argument("--json", action="store_true", help="JSON on stdout")
    about = argparse.ArgumentParser(add_help=False)
    about.add_argument("--course", required=True, metavar="C")
    about.add_argument(
        "--filter", action="append", default=[], type=_filter, metavar="KEY=VALUE", help=f"narrow the search; keys: {', '.join(FILTERS)}"
    )
    asked = argparse.ArgumentParser(add_help=False)
    what = asked.add_mutually_exclusive_group(required=True)
    what.add_argument("question", nargs="?", help="the question")
    what.add_argument(
        "--queries", type=Path, metavar="FILE", help="JSON lines with id, question and optionally scope; one line out for each; - for stdin"
    )
    answering = argparse.ArgumentParser(add_help=False)
    answering.add_argument("--generator", help="bundled, none, a folder or a hub id")
    answering.add_argument("--base-url", help="an OpenAI-compatible server")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    search = commands.add_parser("search", parents=[common, about, asked], help="find passages")
    search.add_argument("-k", type=positive, dest="hits", help="how many hits (default 5; 10 with --queries)")
    search.set_defaults(command=_search)
    ask = commands.add_parser("ask", parents=[common, about, asked, answering], help="answer a question")
    ask.set_defaults(command=_ask)
    evaluate = commands.add_parser("evaluate", parents=[common, about, answering], help="measure with golden questions")
    evaluate.add_argument("questions", type=Path, metavar="QUESTIONS.jsonl")
    evaluate.add_argument("--answers", action="store_true", help="answer too: slower, and measures answers and refusals")
    evaluate.set_defaults(command=_evaluate)
    bench = commands.add_parser("bench", parents=[common], help="measure how fast this machine runs the parts")
    bench.add_argument("part", choices=("embed", "ingest"), help="what to measure, each beside what tutorials write")
    bench.add_argument("folder", nargs="?", type=Path, help="ingest: the folder whose PDFs are read (default: the sample course)")
    bench.add_argument("--dtype", help="auto, float32, bfloat16, float16 or int8")
    bench.set_defaults(command=_bench)
    backup = commands.add_parser("backup", parents=[common], help="copy the store into one verified file, while it is in use")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.set_defaults(command=_backup)
    restore = commands.add_parser("restore", parents=[common], help="make a store from a backup")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(command=_restore)
    doctor = commands.add_parser("doctor", parents=[common], help="what is installed, found and used; what to do next")
    doctor.add_argument(
        "--prepare", action="store_true", help="first do what would otherwise be done at first use: convert the bundled generator"
    )
    doctor.set_defaults(command=_doctor)
    return parser


def _filter(text: str) -> tuple[str, str | int]:
    key, equals, value = text.partition("=")
    if not equals or key not in FILTERS:
        raise argparse.ArgumentTypeError(f"{text!r}; expected KEY=VALUE with a key of {', '.join(FILTERS)}")
    if key in ("week", "lecture"):
        if not re.fullmatch(r"\d{1,3}", value):
            raise argparse.ArgumentTypeError(f"{key} is {value!r}; expected a number of at most three digits")
        return key, int(value)
    if key == "at" and value != ANY and utc_moment(value) is None:
        raise argparse.ArgumentTypeError(f"at is {value!r}; expected {EXPECTED}, or {ANY} for everything")
    return key, value


def _config(options: argparse.Namespace) -> Config:
    from rag.config import Config

    flags = {name: getattr(options, name, None) for name in ("store", "device", "dtype", "generator", "base_url")}
    return Config.load(options.config, **flags)


def _scope(options: argparse.Namespace, golden: Golden) -> Scope:
    from rag.types import Scope

    return Scope(options.course, **{"path": golden.scope, **dict(options.filter)})


def _asked(options: argparse.Namespace) -> Iterable[Golden]:
    from rag.evaluate import Golden, read_questions

    return read_questions(options.queries) if options.queries else [Golden("0", options.question)]


def _notify(notice: str) -> None:
    print(f"note: {notice}", file=sys.stderr)


def _search(options: argparse.Namespace) -> int:
    from rag.retrieve import Searcher
    from rag.timing import Stopwatch
    from rag.wire import hit_to_json

    searcher = Searcher.from_config(_config(options), _notify)
    limit = options.hits or (10 if options.queries else 5)
    for golden in _asked(options):
        watch = Stopwatch()
        scope = _scope(options, golden)
        with watch.stage("understand"):
            asked = searcher.interpret(golden.question, scope)
        hits = searcher.search(asked, scope, limit, watch)
        if options.json:
            line = {
                "id": golden.id,
                "question": golden.question,
                "searched_for": asked.text,
                "notices": list(asked.notices),
                "hits": [hit_to_json(hit) for hit in hits],
                "latency_ms": watch.latency().to_json(),
            }
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            for notice in asked.notices:
                _notify(notice)
            print("\n\n".join(_hit_lines(hit) for hit in hits) or "nothing found")
    return 0


def _hit_lines(hit: Hit) -> str:
    passage = hit.passage
    return f"{hit.rank}. {passage.source} · {passage.chunk.location.label}  (score {hit.score:.2f})\n   " + passage.chunk.text.replace(
        "\n", "\n   "
    )


def _ask(options: argparse.Namespace) -> int:
    from rag.answer import Engine, answer
    from rag.wire import answer_to_json

    engine = Engine.from_config(_config(options), _notify)
    for golden in _asked(options):
        answered = answer(golden.question, _scope(options, golden), engine, golden.history)
        if options.json:
            print(json.dumps({"id": golden.id} | answer_to_json(answered), ensure_ascii=False), flush=True)
        else:
            print("\n".join(_answer_lines(answered)))
    return 0


def _answer_lines(answered: Answer) -> Iterator[str]:
    if answered.abstained:
        yield answered.text
        yield "\nNearest passages:"
    for sentence in answered.sentences:
        yield f"{sentence.text} {''.join(f'[{n}]' for n in sentence.citations)}" + (
            " (partly supported)" if sentence.support.value == "weak" else ""
        )
    yield ""
    for source in answered.sources:
        yield f"[{source.n}] {source.passage.source} · {source.passage.chunk.location.label}" + (
            f"\n    “{source.quote}”" if source.quote else ""
        )
    stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in answered.latency.stages.items() if ms >= 0.5)
    yield f"\n{answered.mode.value}; confidence {answered.confidence:.2f}; {answered.latency.total:.0f} ms: {stages}"


def _evaluate(options: argparse.Namespace) -> int:
    from rag.answer import Engine, answer
    from rag.evaluate import HITS, evaluate, read_questions
    from rag.retrieve import Searcher

    questions = read_questions(options.questions)
    config = _config(options)
    engine = Engine.from_config(config, _notify) if options.answers else None
    searcher = engine.searcher if engine else Searcher.from_config(config, _notify)
    with _progress_bar(len(questions)) as progress:
        evaluation = evaluate(
            questions,
            search=lambda golden: searcher.search(_interpreted(searcher, golden, _scope(options, golden)), _scope(options, golden), HITS),
            answer=(lambda golden: answer(golden.question, _scope(options, golden), engine, golden.history)) if engine else None,
            progress=progress,
        )
    print(json.dumps({"course": options.course} | evaluation.to_json()) if options.json else evaluation.table())
    return 0


def _interpreted(searcher: Searcher, golden: Golden, scope: Scope) -> Interpreted:
    """A golden question as answering it would search."""
    from rag.understand import make_standalone, meaning_of_follow_up

    asked = searcher.interpret(make_standalone(golden.question, golden.history), scope)
    return replace(asked, meaning=meaning_of_follow_up(golden.question, golden.history))


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, moved by the number of questions done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("questions", total=total)
        yield lambda done: bar.update(task, completed=done)


def _bench(options: argparse.Namespace) -> int:
    from rag.bench import BENCHES, table

    figures = BENCHES[options.part].run(_config(options), options.folder)
    print(json.dumps({"bench": options.part} | figures) if options.json else table(options.part, figures))
    return 0


def _backup(options: argparse.Namespace) -> int:
    from rag.backup import back_up
    from rag.store import Store

    sha256 = back_up(Store.open(_config(options).store), options.file)
    found = {"file": str(options.file), "bytes": options.file.stat().st_size, "sha256": sha256}
    print(json.dumps(found) if options.json else f"{options.file}: {found['bytes']:,} bytes, SHA-256 {sha256}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from rag.backup import restore

    store = restore(options.file, _config(options).store)
    courses = {course.name: course.chunks for course in store.courses()}
    found = {"store": str(store.directory), "courses": courses}
    print(json.dumps(found) if options.json else f"{store.directory}: " + ", ".join(f"{n} ({c} chunks)" for n, c in courses.items()))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from rag.doctor import checks
    from rag.models import prepare_generator

    if options.prepare:
        prepare_generator()
    marks = {True: "ok  ", None: "note", False: "FAIL"}
    results = []
    for check in checks(_config(options)):
        results.append(check)
        if not options.json:
            print(f"{marks[check.ok]}  {check.name:10} {check.found}", flush=True)
    if options.json:
        print(json.dumps([check.to_json() for check in results]))
    return 1 if any(check.ok is False for check in results) else 0


if __name__ == "__main__":
    sys.exit(main())
