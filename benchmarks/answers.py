"""The answer tables of docs/answers.md: `python benchmarks/answers.py [--sets squad2 syllabi] [--half odd] [--sample 150] [--ablate]`.

Three question sets kept beside the checkout, and the sample course, are each ingested into one store and answered in this process: with
`--generator none` (the default) by the evidence alone, some 30 ms a question, or with `--generator bundled`, about a second. The two halves
are told apart: what is tuned, is tuned on the even questions. Markdown on stdout.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from quality import DATA, STORE, ingest, is_untouched  # type: ignore[import-not-found]  # noqa: E402  (run as a file, the checkout is not on the path)

from rag.answer import answer  # noqa: E402
from rag.command_line import positive, print_error  # noqa: E402
from rag.config import BUNDLED, NONE, Config  # noqa: E402
from rag.engine import Engine  # noqa: E402
from rag.errors import LecternError  # noqa: E402
from rag.evaluate import Evaluation, Figure, Judged, auroc, evaluate  # noqa: E402
from rag.evidence import select_evidence  # noqa: E402
from rag.golden import Golden, Half, read_question_set, select  # noqa: E402
from rag.ground import Grounding, ground  # noqa: E402
from rag.runs import paired_difference  # noqa: E402
from rag.types import Passage, Scope, Support  # noqa: E402

SAMPLE_COURSE = "llm-systems"
SETS = ("squad2", "syllabi", "hf-course", SAMPLE_COURSE)
TARGETS: dict[str, dict[str, tuple[float | None, float]]] = {
    "squad2": {
        "answer_contains_gold": (0.26, 0.65),
        "refused_unanswerable": (0.0, 0.70),
        "refused_answerable": (0.0, 0.15),
        "answerable_auroc": (0.67, 0.85),
    },
    "syllabi": {"answer_f1": (0.17, 0.40), "answerable_auroc": (0.63, 0.75)},
}
"""Baseline (a newcomer's LangChain over the same models) and target of the measures that have one."""
MEASURES = (
    "answer_contains_gold",
    "answer_f1",
    "refused_unanswerable",
    "refused_answerable",
    "answerable_auroc",
    "cited_right",
    "citation_precision",
    "citation_recall",
    "written_supported",
    "written_weak",
    "written_unsupported",
    "shown_markers",
    "generated_share",
)
ALWAYS_SUPPORTED = "grounding off"


@dataclass(frozen=True, slots=True)
class Variant:
    """A part turned off: by a setting, or by a stand-in for a function, named where the flow looks it up."""

    settings: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]


def _first_statements(*arguments: Any) -> Any:
    """The statements of the best passage in reading order, as if none were better than another."""
    chosen = select_evidence(*arguments)
    return sorted(chosen, key=lambda one: (one.hit.rank, one.start))


def _whole_statements(evidence: Sequence[Any], *_: Any) -> list[Any]:
    return list(evidence[:2])


def _trusting(sentence: str, passages: Sequence[Passage], question: str = "") -> Grounding:
    found = ground(sentence, passages, question)
    return replace(found, support=Support.SUPPORTED) if found.passage else Grounding(Support.SUPPORTED)


VARIANTS = {
    "evidence in reading order": Variant({}, {"rag.prepared.select_evidence": _first_statements}),
    "always two whole statements": Variant({}, {"rag.composition.quoted_statements": _whole_statements}),
    "refusal off": Variant({"confidence_floor": 0.0}, {}),
    ALWAYS_SUPPORTED: Variant({}, {"rag.composition.ground": _trusting}),
    "strongest statement not added": Variant({"unsupported": "drop"}, {}),
}
"""The last two change nothing without a generator."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of a set, by half."""

    name: str
    halves: Mapping[Half, Sequence[Golden]]


def read_set(data: Path, name: str, halves: Sequence[Half], sample: int | None) -> Asked:
    """A set's questions, or `sample` of each half drawn with a fixed seed, both kinds in their proportion."""
    folder = ROOT / "corpora" if name == SAMPLE_COURSE else data
    questions = read_question_set(folder / name / "questions.jsonl").questions
    chosen: dict[Half, Sequence[Golden]] = {}
    for half in halves:
        whole = [golden for golden in select(questions, half) if is_untouched(name, golden)]
        chosen[half] = random.Random(0).sample(whole, sample) if sample and sample < len(whole) else whole
    return Asked(name, chosen)


def ask(engine: Engine, course: str, questions: Sequence[Golden], variant: Variant | None = None) -> Evaluation:
    """What the engine answers, judged; with a variant's functions in the place of the flow's own."""
    engine = replace(engine, config=engine.config.replace(**variant.settings)) if variant else engine
    with ExitStack() as patches:
        for name, function in variant.functions.items() if variant else ():
            patches.enter_context(patch(name, function))
        return evaluate(
            questions,
            search=lambda golden: (),
            answer=lambda golden: answer(golden.question, Scope(course, path=golden.scope), engine, golden.history),
        )


def figures_of(evaluation: Evaluation) -> dict[str, Figure]:
    """The measures of the table; those that are no mean over questions with an interval of their own or none."""
    figures = evaluation.figures()
    if evaluation.answerable_auroc is not None:
        figures["answerable_auroc"] = _auroc_figure(evaluation.judged)
    if evaluation.generated_share:
        share = evaluation.generated_share
        figures["generated_share"] = Figure(share, share, share, len(evaluation.judged))
    return {name: figures[name] for name in MEASURES if name in figures}


def _auroc_figure(judged: Sequence[Judged], resamples: int = 500) -> Figure:
    """With a percentile bootstrap interval, both kinds resampled apart."""
    sure = {
        kind: [one.answer.confidence for one in judged if one.answer is not None and one.golden.answerable is kind]
        for kind in (True, False)
    }
    draw = random.Random(0)
    means = sorted(auroc(*(draw.choices(sure[kind], k=len(sure[kind])) for kind in (True, False))) for _ in range(resamples))
    return Figure(auroc(sure[True], sure[False]), means[int(0.025 * resamples)], means[int(0.975 * resamples)], len(judged))


def answer_rows(asked: Asked, found: Mapping[Half, Evaluation]) -> Iterator[str]:
    """A Markdown row for each measure."""
    by_half = [figures_of(evaluation) for evaluation in found.values()]
    sizes = " + ".join(str(len(questions)) for questions in asked.halves.values())
    for name in MEASURES:
        if all(name in figures for figures in by_half):
            baseline, target = TARGETS.get(asked.name, {}).get(name, (None, None))
            yield _row(
                f"{asked.name} ({sizes})", name, _short(baseline), *(_interval(figures[name]) for figures in by_half), _short(target)
            )


def time_rows(name: str, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    together = Evaluation([one for evaluation in evaluations for one in evaluation.judged])
    for stage, times in {**together.stage_ms, "whole answer": together.answer_ms}.items():
        yield _row(name, stage, f"{times['p50']:.1f}", f"{times['p95']:.1f}")


def print_answers(options: argparse.Namespace, engine: Engine) -> None:
    """The table of all sets, then the times by stage."""
    halves = _halves(options)
    rows = _head("set (questions)", "measure", "baseline", *(f"{half} half" for half in halves), "target")
    times = _head("set", "stage", "p50 ms", "p95 ms")
    for name in options.sets:
        began = time.perf_counter()
        asked = read_set(options.data, name, halves, options.sample)
        found = {half: ask(engine, name, questions) for half, questions in asked.halves.items()}
        rows += answer_rows(asked, found)
        times += time_rows(name, list(found.values()))
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print("\n".join(rows), end="\n\n")
    print("\n".join(times))


def print_fitted(options: argparse.Namespace, config: Config) -> None:
    """With the fitted models and without: what differs, question by question, over the halves that were asked for together."""
    without = {"reader off": {"reader": NONE}, "adapter off": {"adapter": NONE}, "both off": {"reader": NONE, "adapter": NONE}}
    if config.generator == NONE:
        without = {"reader off": without["reader off"]}
    engines = {label: _engine(config.replace(**changes)) for label, changes in {"fitted": {}, **without}.items()}
    rows = _head("set (questions)", "compared with", "measure", "without → with", "difference", "p", "target")
    times = _head("set", "stage", "p50 ms", "p95 ms")
    for name in options.sets:
        asked = read_set(options.data, name, _halves(options), options.sample)
        questions = [golden for half in asked.halves.values() for golden in half]
        found = {label: ask(engine, name, questions) for label, engine in engines.items()}
        for label in without:
            rows += [_row(f"{name} ({len(questions)})", label, *cells) for cells in _differences(name, found[label], found["fitted"])]
        for label, evaluation in found.items():
            times += time_rows(f"{name}, {label}", [evaluation])
    print("\n".join(rows), end="\n\n")
    print("\n".join(times))


def _differences(name: str, before: Evaluation, after: Evaluation) -> Iterator[tuple[str, ...]]:
    """Cells for each measure that both have of the same questions; of the AUROC, which is of none alone, without a test."""
    of_both = [(one.figures, other.figures) for one, other in zip(before.judged, after.judged, strict=True)]
    for measure in MEASURES:
        pairs = [(one[measure], other[measure]) for one, other in of_both if measure in one and measure in other]
        target = _short(TARGETS.get(name, {}).get(measure, (None, None))[1])
        if pairs:
            difference = paired_difference(*zip(*pairs, strict=True))
            interval = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
            yield measure, f"{_short(difference.before)} → {_short(difference.after)}", interval, f"{difference.p:.4f}", target
        elif measure == "answerable_auroc" and before.answerable_auroc is not None:
            was, now = _auroc_figure(before.judged), _auroc_figure(after.judged)
            yield measure, f"{_interval(was)} → {_interval(now)}", f"{now.mean - was.mean:+.3f}", "", target


def print_ablation(options: argparse.Namespace, engine: Engine) -> None:
    """Each variant beside the whole flow, over the halves that were asked for together."""
    rows = _head("set", "variant", *MEASURES[:8], "shown and unsupported")
    for name in options.sets:
        asked = read_set(options.data, name, _halves(options), options.sample)
        questions = [golden for half in asked.halves.values() for golden in half]
        for label, variant in {"full": None, **VARIANTS}.items():
            if engine.chat_model is None and label in list(VARIANTS)[-2:]:
                continue
            figures = figures_of(evaluation := ask(engine, name, questions, variant))
            cells = [_short(figures[measure].mean) if measure in figures else "" for measure in MEASURES[:8]]
            rows.append(_row(name, label, *cells, _short(_unsupported_share(evaluation))))
    print("\n".join(rows))


def _unsupported_share(evaluation: Evaluation) -> float:
    """Share of the shown sentences that the full grounding does not find supported."""
    shown, bad = 0, 0
    for one in evaluation.judged:
        if one.answer is not None:
            passages = [source.passage for source in one.answer.sources]
            for sentence in one.answer.sentences:
                shown += 1
                is_held = sentence.quoted or ground(sentence.text, passages, one.answer.standalone).support is Support.SUPPORTED
                bad += not is_held
    return bad / shown if shown else 0.0


def _engine(config: Config) -> Engine:
    return Engine.from_config(config, lambda notice: print(f"note: {notice}", file=sys.stderr))


def _halves(options: argparse.Namespace) -> list[Half]:
    return list(Half) if options.half == "both" else [Half(options.half)]


def _interval(one: Figure) -> str:
    return f"{_short(one.mean)} [{_short(one.low)}, {_short(one.high)}]"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("0.", ".", 1) if value < 1 else f"{value:.3f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=f"of: {', '.join(SETS)}")
    parser.add_argument("--half", choices=("even", "odd", "both"), default="both")
    parser.add_argument("--sample", type=positive, metavar="N", help="only N questions of each half, always the same")
    parser.add_argument("--generator", choices=(NONE, BUNDLED), default=NONE)
    parser.add_argument("--ablate", action="store_true", help="parts turned off one by one")
    parser.add_argument("--fitted", action="store_true", help="with and without the fitted models, question by question")
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    parser.add_argument("--data", type=Path, default=DATA, help="the question sets (default: ../shared/data/eval)")
    options = parser.parse_args(arguments)
    if not options.data.exists() and options.sets != [SAMPLE_COURSE]:
        parser.error(f"{options.data} is not there: name the question sets with --data, or give --sets {SAMPLE_COURSE}")
    try:
        config = Config.load(options.config, store=options.store, generator=options.generator)
        for name in options.sets:
            corpus = ROOT / "corpora" / name if name == SAMPLE_COURSE else options.data / name / "corpus"
            ingest(corpus, name, config.store, options.config)
        if options.fitted:
            print_fitted(options, config)
        else:
            (print_ablation if options.ablate else print_answers)(options, _engine(config))
    except LecternError as e:
        print_error(e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
