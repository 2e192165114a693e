"""The tables of docs/quality.md: `python benchmarks/quality.py [--sets syllabi squad2] [--half even] [--ablate]`, Markdown on stdout.

Seven question sets kept beside the checkout. Each is ingested into one store (a second run embeds only what has changed), every answerable
question is searched in this process, and the two halves are told apart: what is tuned, is tuned on the even questions. Questions are
embedded once a set, so that variants differ in the search alone; their times are taken in turns, question by question.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from rag.command_line import positive, print_error  # noqa: E402  (run as a file, the checkout is not on the path)
from rag.config import Config  # noqa: E402
from rag.errors import LecternError  # noqa: E402
from rag.evaluate import Evaluation, Figure, Judged, figure  # noqa: E402
from rag.golden import Golden, Half, QuestionSet, read_question_set, select  # noqa: E402
from rag.judge import HITS, judge_rankings, relevant_entries  # noqa: E402
from rag.retrieve import Searcher  # noqa: E402
from rag.runs import Difference, Run, compare, load_run, make_run, make_setting, paired_difference, save_run  # noqa: E402
from rag.timing import Stopwatch  # noqa: E402
from rag.types import Hit, Scope  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "eval"
STORE = ROOT / "build" / "quality"
OF_DOCUMENTS = "ndcg@10 of documents"
"""BEIR ranks documents: each counts once, by its best passage. In `ndcg@10` a second passage of a document costs a place."""
TEST_ARTICLES = frozenset((ROOT / "fitting" / "squad2-test-articles.txt").read_text("utf-8").split())
"""Of squad2; from the others the shipped reader has learnt."""
DEPTH = 30
"""Hits searched, so that there are ten documents among them. All measures but that of documents see the first ten."""

TARGETS: dict[str, dict[str, tuple[float, float]]] = {
    "syllabi": {"coverage@750w": (0.702, 0.90), "hit@5": (0.748, 0.92), "mrr@10": (0.582, 0.78)},
    "chunk-spans": {"coverage@750w": (0.803, 0.93), "hit@5": (0.794, 0.93)},
    "course-faq": {"hit@5": (0.931, 0.97), "mrr@10": (0.831, 0.92)},
    "hf-course": {"hit@5": (0.702, 0.85), "mrr@10": (0.573, 0.72)},
    "squad2": {"hit@5": (0.930, 0.98), "mrr@10": (0.815, 0.93)},
    "scifact": {OF_DOCUMENTS: (0.65, 0.73)},
    "multilingual": {"hit@5": (0.674, 0.97), "mrr@10": (0.583, 0.92)},
}
"""Baseline (a newcomer's LangChain with the same embedder) and target of each measure that counts on a set."""
BY_CATEGORY = "multilingual"
ABLATED = ("syllabi", "squad2", "hf-course")
VARIANTS: dict[str, dict[str, Any]] = {
    "reader off": {"reader": "none"},
    "dense leg off": {"dense_weight": 0.0},
    "lexical leg off": {"dense_weight": 1.0},
    "phrases off": {"phrase_weight": 0.0},
    "growing over neighbours off": {"passage_tokens": 0},
    "near-duplicates kept": {"collapse_duplicates": False},
    "spelling off": {"correct_spelling": False},
    "named parts off": {"prefer_named_parts": False},
    "documents not spread": {"hits_per_document": 0},
}
"""What each variant changes in the configuration. Only settings of the search: all variants share the store and the questions' vectors."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The answerable questions of a set whose retrieval can be judged, by half."""

    name: str
    source: QuestionSet
    halves: Mapping[Half, Sequence[Golden]]
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    """What was embedded already, by text: `(d,) float32`, norm 1."""

    @property
    def all(self) -> list[Golden]:
        return [golden for half in self.halves.values() for golden in half]

    def vector(self, text: str, searcher: Searcher) -> np.ndarray:
        if text not in self.vectors:
            self.vectors[text] = searcher.embedder.embed_query(text)
        return self.vectors[text]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a searcher got, by question id, and the milliseconds of each search (embedding the question not counted)."""

    judged: Mapping[str, Judged]
    search_ms: Sequence[float]

    def values(self, measure: str, questions: Iterable[Golden]) -> list[float]:
        figures = (self.judged[golden.id].figures for golden in questions)
        return [one[measure] for one in figures if measure in one]


def ingest(corpus: Path, course: str, store: Path, config: Path | None = None) -> None:
    """Brings a set's documents into the store, as a person would."""
    command = [sys.executable, "-m", "ingest", str(corpus), "--course", course, "--store", str(store)]
    command += ["--config", str(config)] if config else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):  # 3: some file was set aside
        raise LecternError(f"{course} cannot be ingested: {done.stderr.strip()[-500:]}")
    print(f"{course}: {done.stdout.strip().splitlines()[0]}", file=sys.stderr)


def is_untouched(name: str, golden: Golden) -> bool:
    """Whether no golden question about the same document was fitted on. Of hf-course the reader has seen the documents, by rule."""
    return name != "squad2" or golden.scope in TEST_ARTICLES


def read_set(data: Path, name: str, halves: Sequence[Half], sample: int | None = None) -> Questions:
    """A set's questions, or `sample` of each half drawn with a fixed seed."""
    source = read_question_set(data / name / "questions.jsonl")
    chosen: dict[Half, Sequence[Golden]] = {}
    for half in halves:
        able = [golden for golden in select(source.questions, half) if golden.answerable and is_untouched(name, golden)]
        judged = [golden for golden in able if relevant_entries(golden)]
        chosen[half] = random.Random(0).sample(judged, sample) if sample and sample < len(judged) else judged
    ids = [golden.id for half in chosen.values() for golden in half]
    if len(set(ids)) != len(ids):
        raise LecternError(f"{source.path} has {len(ids)} questions but {len(set(ids))} ids; give each question an id of its own")
    return Questions(name, source, chosen)


def measure(searchers: Mapping[str, Searcher], questions: Questions) -> dict[str, Measured]:
    """The figures of each searcher. Every question goes to all of them before the next one, so that they meet the same machine."""
    asked = questions.all
    found: dict[str, list[Sequence[Hit]]] = {name: [] for name in searchers}
    search_ms: dict[str, list[float]] = {name: [] for name in searchers}
    for golden in asked:
        for name, searcher in searchers.items():
            scope, watch = Scope(questions.name, path=golden.scope), Stopwatch()
            question = searcher.interpret(golden.question, scope, golden.history)
            interpreting = watch.latency().total
            query, watch = questions.vector(question.dense, searcher), Stopwatch()
            hits = searcher.search(question, scope, DEPTH, watch, query)
            search_ms[name].append(interpreting + watch.latency().total)
            found[name].append(hits)
    return {name: Measured(_judge(asked, found[name], questions.name), search_ms[name]) for name in searchers}


def _judge(asked: Sequence[Golden], found: Sequence[Sequence[Hit]], name: str) -> dict[str, Judged]:
    passages = [hits[:HITS] for hits in found]
    figures = judge_rankings(list(zip(asked, passages, strict=True)))
    if OF_DOCUMENTS in TARGETS.get(name, ()):
        of_documents = judge_rankings([(golden, best_of_documents(hits)) for golden, hits in zip(asked, found, strict=True)])
        figures = [one | {OF_DOCUMENTS: other["ndcg@10"]} for one, other in zip(figures, of_documents, strict=True)]
    return {golden.id: Judged(golden, one, hits) for golden, one, hits in zip(asked, figures, passages, strict=True)}


def best_of_documents(hits: Sequence[Hit]) -> list[Hit]:
    """The best hit of each document, in their order."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.passage.source, hit)
    return list(best.values())


def quality_rows(questions: Questions, measured: Measured) -> Iterator[str]:
    """A Markdown row for each measure that counts on the set."""
    sizes = " + ".join(str(len(half)) for half in questions.halves.values())
    for name, (baseline, target) in TARGETS[questions.name].items():
        figures = [_interval(figure(measured.values(name, half))) for half in questions.halves.values()]
        yield _row(f"{questions.name} ({sizes})", name, _short(baseline), *figures, _short(target))


def category_rows(name: str, measured: Measured) -> Iterator[str]:
    """A table of the same by category, both halves together."""
    yield from _head("category", *TARGETS[name])
    for category, figures in Evaluation(list(measured.judged.values())).by_category().items():
        yield _row(f"{name}: {category}", *(_interval(figures[measure]) for measure in TARGETS[name]))


def ablation_rows(questions: Questions, measured: Mapping[str, Measured]) -> Iterator[str]:
    """A row for each variant and measure: the variant minus the full configuration, question by question."""
    (_, full), *variants = measured.items()
    for variant, one in variants:
        for name in TARGETS[questions.name]:
            difference = paired_difference(full.values(name, questions.all), one.values(name, questions.all))
            yield _row(questions.name, variant, name, *_difference(difference), f"{_p50(full)} / {_p50(one)}")


def comparison_rows(name: str, before: Run, after: Run) -> Iterator[str]:
    """A row for each measure that counts on the set: this run minus the saved one."""
    differences = compare(before, after).measures
    for measured in TARGETS[name]:
        yield _row(name, measured, *_difference(differences[measured]))


def as_run(questions: Questions, measured: Measured, searcher: Searcher, label: str, **asked_for: Any) -> Run:
    """What is saved of a set."""
    stamp, revision = searcher.embedder.stamp, searcher.store.revision()
    setting = make_setting(searcher.config, questions.name, questions.source, stamp, revision, **asked_for)
    return make_run(label, Evaluation(list(measured.judged.values())), setting)


def _difference(difference: Difference) -> tuple[str, ...]:
    interval = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    counts = f"{difference.rose} / {difference.fell} / {difference.same}"
    return f"{_short(difference.before)} → {_short(difference.after)}", interval, f"{difference.p:.4f}", counts


def _p50(measured: Measured) -> str:
    return f"{statistics.median(measured.search_ms):.1f}"


def _interval(one: Figure) -> str:
    return f"{_short(one.mean)} [{_short(one.low)}, {_short(one.high)}]"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if value < 1 else f"{value:.3f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def print_quality(options: argparse.Namespace, config: Config) -> None:
    """The table of all sets, then the categories, then what differs from the saved runs."""
    halves = _halves(options)
    searcher = _searcher(options, config)
    rows: dict[str, list[str]] = {
        "quality": _head("set (questions)", "measure", "baseline", *(f"{half} half" for half in halves), "target"),
        "categories": [],
        "comparison": _head("set", "measure", "before → now", "difference", "p", "rose / fell / same"),
        "times": _head("set", "search p50, p95 in ms"),
    }
    for name in options.sets:
        began = time.perf_counter()
        questions = read_set(options.data, name, halves, options.sample)
        measured = measure({"full": searcher}, questions)["full"]
        rows["quality"] += quality_rows(questions, measured)
        rows["categories"] += category_rows(name, measured) if name == BY_CATEGORY else ()
        p50, p95 = np.percentile(measured.search_ms, (50, 95))
        rows["times"].append(_row(name, f"{p50:.1f}, {p95:.1f}"))
        run = partial(as_run, questions, measured, searcher, half=options.half, sample=options.sample)
        if options.save:
            save_run(run(f"{options.save.name}/{name}"), options.save / f"{name}.json")
        if options.compare:
            rows["comparison"] += comparison_rows(name, load_run(options.compare / f"{name}.json"), run("now"))
        print(f"{name}: {len(questions.all)} questions in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    for table in rows.values():
        if len(table) > 2:
            print("\n".join(table), end="\n\n")


def print_ablation(options: argparse.Namespace, config: Config) -> None:
    """Each variant beside the full configuration, on the sets that decide."""
    full = _searcher(options, config)
    searchers = {"full": full} | {
        name: Searcher(full.store, full.embedder, config.replace(**changes))
        for name, changes in VARIANTS.items()
        if name in options.variants
    }
    rows = _head("set", "variant", "measure", "full → variant", "difference", "p", "rose / fell / same", "search p50, full / variant, ms")
    for name in options.sets:
        questions = read_set(options.data, name, _halves(options), options.sample)
        rows += ablation_rows(questions, measure(searchers, questions))
    print("\n".join(rows))


def _halves(options: argparse.Namespace) -> list[Half]:
    return list(Half) if options.half == "both" else [Half(options.half)]


def _searcher(options: argparse.Namespace, config: Config) -> Searcher:
    for name in options.sets:
        ingest(options.data / name / "corpus", name, config.store, options.config)
    return Searcher.from_config(config, lambda notice: print(f"note: {notice}", file=sys.stderr))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=TARGETS, metavar="SET", help=f"of: {', '.join(TARGETS)}")
    parser.add_argument("--half", choices=("even", "odd", "both"), default="both")
    parser.add_argument("--sample", type=positive, metavar="N", help="only N questions of each half, always the same")
    parser.add_argument("--ablate", action="store_true", help="parts turned off one by one, by default on the sets that decide")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT", help="only these parts")
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep the runs there, a file for each set")
    parser.add_argument("--compare", type=Path, metavar="DIR", help="runs kept before: what differs, question by question")
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    parser.add_argument("--data", type=Path, default=DATA, help="the question sets (default: ../shared/data/eval)")
    options = parser.parse_args(arguments)
    if not options.data.exists():
        parser.error(f"{options.data} is not there: name the question sets with --data")
    if options.ablate and (options.save or options.compare):
        parser.error("--ablate keeps no runs: leave --save and --compare out")
    options.sets = options.sets or list(ABLATED if options.ablate else TARGETS)
    try:
        config = Config.load(options.config, store=options.store)
        (print_ablation if options.ablate else print_quality)(options, config)
    except LecternError as e:
        print_error(e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
