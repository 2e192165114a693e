"""`python -m rag`: search, ask, evaluate, compare, bench, footprint, export, backup, restore, doctor, tune.

Results go to stdout, notices to stderr.

Exit codes: 0 done, 1 error (one line that says what to do), 2 usage.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.command_line import positive, print_error
from rag.errors import LecternError
from rag.moments import ANY, EXPECTED, utc_moment
from rag.types import Scope

if TYPE_CHECKING:
    from rag.config import Config
    from rag.engine import Engine
    from rag.evaluate import Evaluation
    from rag.golden import Golden
    from rag.misses import Miss
    from rag.runs import Comparison
    from rag.types import Answer, Hit

FILTERS = tuple(field.name for field in fields(Scope) if field.name != "course")


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
    _add_knobs(answering)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    search = commands.add_parser("search", parents=[common, about, asked], help="find passages")
    search.add_argument("-k", type=positive, dest="hits", help="how many hits (default 5; 10 with --queries)")
    search.set_defaults(command=_search)
    ask = commands.add_parser("ask", parents=[common, about, asked, answering], help="answer a question")
    ask.add_argument("--show-prompt", action="store_true", help="also the very prompt, and the tokens of its parts")
    ask.set_defaults(command=_ask)
    evaluate = commands.add_parser("evaluate", parents=[common, about, answering], help="measure with golden questions")
    evaluate.add_argument("questions", type=Path, metavar="QUESTIONS.jsonl")
    evaluate.add_argument("--answers", action="store_true", help="answer too: slower, and measures answers and refusals")
    evaluate.add_argument(
        "--perplexity", action="store_true", help="with --answers: how likely the generator of this process finds the gold answers"
    )
    evaluate.add_argument("--half", choices=("even", "odd"), help="only these questions, from 0: tune on one half, report the other")
    evaluate.add_argument("--limit", type=positive, metavar="N", help="only the first N of them")
    evaluate.add_argument("--save", metavar="NAME", help="keep the run in the store under this name, or in a file that ends in .json")
    evaluate.add_argument("--compare", metavar="RUN", help="a saved run, by name or file: what differs, question by question")
    evaluate.add_argument("--errors", type=positive, metavar="N", help="the N worst questions, what was found instead and by which leg")
    evaluate.set_defaults(command=_evaluate)
    compare = commands.add_parser("compare", parents=[common], help="compare two saved runs of evaluate, question by question")
    compare.add_argument("before", metavar="BEFORE", help="a saved run, by name or file")
    compare.add_argument("after", metavar="AFTER")
    compare.set_defaults(command=_compare)
    bench = commands.add_parser("bench", parents=[common], help="measure how fast this machine runs the parts")
    bench.add_argument("part", choices=("answer", "embed", "ingest", "search"), help="what to measure, each beside what tutorials write")
    bench.add_argument(
        "folder",
        nargs="?",
        type=Path,
        help="ingest: the folder whose PDFs are read; answer: a course folder with questions.jsonl (default: the sample course); "
        "search: where made-up stores are kept and found again",
    )
    bench.add_argument(
        "--sizes",
        type=_sizes,
        metavar="N,…",
        help="search: passages of the made-up stores, 0 for the sample course (default 0,100000,1000000)",
    )
    bench.add_argument("--dtype", help="auto, float32, bfloat16, float16 or int8")
    bench.set_defaults(command=_bench)
    footprint = commands.add_parser("footprint", parents=[common, answering], help="the memory that a configuration needs, and what fits")
    footprint.add_argument("--dtype", help="auto, float32, bfloat16, float16 or int8")
    footprint.add_argument("--chunks", type=positive, metavar="N", help="also an index of N chunks")
    footprint.add_argument("--no-measure", action="store_true", help="estimates alone, at once: nothing is loaded")
    footprint.set_defaults(command=_footprint)
    export = commands.add_parser("export", parents=[common], help="write a conversation with its citations to stdout")
    export.add_argument("conversation", metavar="CONVERSATION", help="its id, as it stands in the address of the page")
    export.add_argument("--format", choices=("md", "json"), default="md", help="Markdown to read, or JSON (default md)")
    export.set_defaults(command=_export)
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
    # Its flags are read by tuning/command.py, --help among them: here nothing that follows is a flag.
    tune = commands.add_parser("tune", add_help=False, prefix_chars="\0", help="fit a small model on a course's own questions")
    tune.add_argument("arguments", nargs=argparse.REMAINDER)
    tune.set_defaults(command=_tune)
    return parser


KNOBS = (
    "preset", "prompt", "length", "language", "temperature", "top_p", "top_k", "repetition_penalty", "num_beams", "max_new_tokens", "seed",
)  # fmt: skip


def _add_knobs(parser: argparse.ArgumentParser) -> None:
    """How answers are written: flags named as the settings; unknown names and values out of range are the config's errors."""
    parser.add_argument(
        "--preset", metavar="NAME", help="exact, explain, quick, large-server: a set of settings that the config changes further"
    )
    parser.add_argument("--prompt", metavar="NAME", help="short or explain: what the generator is told")
    parser.add_argument("--length", metavar="NAME", help="short, medium or long answers")
    parser.add_argument("--language", metavar="CODE", help="of the answers: auto (the question's) or ISO 639-1, such as en")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy")
    parser.add_argument("--top-p", type=float, metavar="P", help="sample from the likeliest tokens that make up this share")
    parser.add_argument("--top-k", type=int, metavar="K", help="sample from the K likeliest tokens; 0 for all")
    parser.add_argument("--repetition-penalty", type=float, metavar="R", help="1 for none")
    parser.add_argument("--num-beams", type=int, metavar="N", help="beams of a search for the likeliest text; slower")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="longest answer")
    parser.add_argument("--seed", type=int, help="of the sampling")


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


def _sizes(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers with commas, such as 0,100000")
    return tuple(int(number) for number in text.split(","))


def _config(options: argparse.Namespace) -> Config:
    from rag.config import Config

    flags = {name: getattr(options, name, None) for name in ("store", "device", "dtype", "generator", "base_url", *KNOBS)}
    return Config.load(options.config, **flags)


def _scope(options: argparse.Namespace, golden: Golden) -> Scope:
    return Scope(options.course, **{"path": golden.scope, **dict(options.filter)})


def _asked(options: argparse.Namespace) -> Iterable[Golden]:
    from rag.golden import Golden, read_questions

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
            asked = searcher.interpret(golden.question, scope, golden.history)
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
    from rag.answer import answer
    from rag.engine import Engine
    from rag.wire import answer_to_json

    engine = Engine.from_config(_config(options), _notify)
    for golden in _asked(options):
        answered = answer(golden.question, _scope(options, golden), engine, golden.history)
        if options.json:
            shown = answered if options.show_prompt else replace(answered, prompt=(), prompt_parts={})
            print(json.dumps({"id": golden.id} | answer_to_json(shown), ensure_ascii=False), flush=True)
        else:
            print("\n".join([*_answer_lines(answered), *(_prompt_lines(answered) if options.show_prompt else ())]))
    return 0


def _prompt_lines(answered: Answer) -> Iterator[str]:
    parts = ", ".join(f"{part} {tokens}" for part, tokens in answered.prompt_parts.items())
    yield f"\nPrompt ({parts} tokens):" if answered.prompt else "\nNo prompt: the generator was not asked."
    for turn in answered.prompt:
        yield f"--- {turn.role}\n{turn.content}"


def _answer_lines(answered: Answer) -> Iterator[str]:
    if answered.abstained:
        yield answered.text
        yield "\nNearest passages:"
    for sentence in answered.sentences:
        mark = {"weak": " (partly supported)", "unsupported": " (not held by the materials)"}.get(sentence.support.value, "")
        yield f"{sentence.text} {''.join(f'[{n}]' for n in sentence.citations)}{mark}"
    yield ""
    for notice in answered.notices:
        yield f"note: {notice}"
    for source in answered.sources:
        yield f"[{source.n}] {source.passage.source} · {source.passage.chunk.location.label}" + (
            f"\n    “{source.quote}”" if source.quote else ""
        )
    stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in answered.latency.stages.items() if ms >= 0.5)
    cached = "from the cache; " if answered.cached else ""
    yield f"\n{cached}{answered.mode.value}; confidence {answered.confidence:.2f}; {answered.latency.total:.0f} ms: {stages}"


def _evaluate(options: argparse.Namespace) -> int:
    from rag.engine import Engine
    from rag.experiment import Experiment
    from rag.golden import Half, read_question_set
    from rag.retrieve import Searcher
    from rag.runs import compare, load_run, require_free, run_path, save_run

    config = _config(options)
    half = Half(options.half) if options.half else None
    experiment = Experiment(
        options.course, read_question_set(options.questions), options.answers, dict(options.filter), half, options.limit
    )
    count = len(experiment.questions)
    before = load_run(run_path(options.compare, config.store)) if options.compare else None
    target = run_path(options.save, config.store) if options.save else None
    if target:
        require_free(target)
    # A cached answer would be a cached measurement.
    engine = Engine.from_config(config.replace(cached_answers=0), _notify) if options.answers else None
    searcher = engine.searcher if engine else Searcher.from_config(config, _notify)
    with _progress_bar(count) as progress:
        evaluation = experiment.run(searcher, engine, progress, _further_figures(options, engine) if engine else ())
    run = experiment.as_run(options.save or "this run", evaluation, config, searcher) if before or target else None
    if run and target:
        save_run(run, target)
        _notify(f"saved to {target}")
    comparison = compare(before, run) if run and before else None
    misses = experiment.worst(evaluation, options.errors, searcher) if options.errors else None
    _print_evaluation(options, evaluation, comparison, misses)
    return 0


def _further_figures(options: argparse.Namespace, engine: Engine) -> list[Callable[[Golden, Answer], dict[str, float]]]:
    """What is asked of other models about each answer: the judge that the config names, the generator's own likelihoods."""
    from rag.evaluate import PERPLEXITY
    from rag.likelihood import likelihood_of_answer
    from rag.llm_judge import judge_with_model, load_judge
    from rag.models import find_adapted_generator, load_generator

    figures: list[Callable[[Golden, Answer], dict[str, float]]] = []
    if judge := load_judge(engine.config):
        figures.append(partial(judge_with_model, judge))
    if options.perplexity:
        model, tokenizer = load_generator(find_adapted_generator(engine.config), engine.config)

        def nats(golden: Golden, answered: Answer) -> dict[str, float]:
            if not golden.answers or not answered.prompt:
                return {}
            return {PERPLEXITY: likelihood_of_answer(model, tokenizer, answered.prompt, golden.answers[0]).nats_per_token}

        figures.append(nats)
    return figures


def _print_evaluation(
    options: argparse.Namespace, evaluation: Evaluation, comparison: Comparison | None, misses: Sequence[Miss] | None
) -> None:
    found: dict[str, Any] = {"course": options.course} | evaluation.to_json()
    shown = [evaluation.table()]
    if comparison:
        found["comparison"] = comparison.to_json()
        shown.append(comparison.table())
    if misses is not None:
        found["errors"] = [miss.to_json() for miss in misses]
        shown += ["\n".join(miss.lines()) for miss in misses] or ["no errors: every question found first, and whole, what it wants"]
    print(json.dumps(found, ensure_ascii=False) if options.json else "\n\n".join(shown))


def _compare(options: argparse.Namespace) -> int:
    from rag.runs import compare, load_run, run_path

    store = _config(options).store
    comparison = compare(*(load_run(run_path(name, store)) for name in (options.before, options.after)))
    print(json.dumps(comparison.to_json(), ensure_ascii=False) if options.json else comparison.table())
    return 0


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

    chosen = {"sizes": options.sizes} if options.sizes else {}
    figures = BENCHES[options.part].run(_config(options), options.folder, **chosen)
    print(json.dumps({"bench": options.part} | figures) if options.json else table(options.part, figures))
    return 0


def _footprint(options: argparse.Namespace) -> int:
    from rag.footprint import footprint, table

    found = footprint(_config(options), options.chunks, not options.no_measure, _notify)
    print(json.dumps(found.to_json()) if options.json else table(found))
    return 0


def _export(options: argparse.Namespace) -> int:
    from rag.conversations import find_of_anyone, messages
    from rag.export import conversation_to_json, conversation_to_markdown
    from rag.store import Store

    store = Store.open(_config(options).store)
    conversation = find_of_anyone(store, options.conversation)
    if conversation is None:
        raise LecternError(f"the store {store.directory} has no conversation {options.conversation}; its id stands in the page's address")
    title = next((course.title for course in store.courses() if course.name == conversation.course), conversation.course)
    exported = conversation, messages(store, conversation), title or conversation.course
    if options.json or options.format == "json":
        print(json.dumps(conversation_to_json(*exported), ensure_ascii=False))
    else:
        print(conversation_to_markdown(*exported), end="")
    return 0


def _tune(options: argparse.Namespace) -> int:
    from tuning.command import main as tune

    return tune(options.arguments)


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
