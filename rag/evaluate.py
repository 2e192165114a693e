"""Golden questions to figures: retrieval, answers and refusals, each with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from rag.golden import Golden
from rag.judge import COVERAGE, judge_answer, judge_rankings, judge_writing
from rag.types import Answer, Hit, Mode

RESAMPLES = 2000
BATCH = 100
"""Resamples computed at once: with all of them a set of 9,000 questions would take 300 MB, and five times as long."""

PERPLEXITY = "gold_nats_per_token"
"""Measure of an answer's likelihood under the generator; its mean's exponential is the perplexity."""

_MAIN_MEASURES = ("recall@5", "mrr@10", COVERAGE, "refused_unanswerable", "refused_answerable")


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over questions with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


@dataclass(slots=True)
class Judged:
    """What one question got, by measure."""

    golden: Golden
    figures: dict[str, float] = field(default_factory=dict)
    hits: Sequence[Hit] = ()
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The judgements of a run over a question set."""

    judged: Sequence[Judged]

    @property
    def answerable_auroc(self) -> float | None:
        """How well the confidence tells answerable from unanswerable questions; None without both."""
        sure: dict[bool, list[float]] = {True: [], False: []}
        for one in self.judged:
            if one.answer is not None:
                sure[one.golden.answerable].append(one.answer.confidence)
        return auroc(sure[True], sure[False]) if all(sure.values()) else None

    @property
    def answer_ms(self) -> dict[str, float]:
        """p50 and p95 of the whole time of the answers that were not refused; empty without any."""
        times = [one.answer.latency.total for one in self.judged if one.answer is not None and not one.answer.abstained]
        return {f"p{share}": round(float(np.percentile(times, share)), 1) for share in (50, 95)} if times else {}

    @property
    def stage_ms(self) -> dict[str, dict[str, float]]:
        """p50 and p95 of each stage of the answers that were not refused; `first token` of those that a generator wrote."""
        given = [one.answer for one in self.judged if one.answer is not None and not one.answer.abstained]
        names = dict.fromkeys(stage for answer in given for stage in answer.latency.stages)
        times = {name: [answer.latency.stages.get(name, 0.0) for answer in given] for name in names}
        times["first token"] = [ms for answer in given if (ms := answer.latency.first_token_ms) is not None]
        return {
            name: {f"p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 95)}
            for name, values in times.items()
            if values
        }

    @property
    def gold_perplexity(self) -> float | None:
        """How surprised the generator is by a token of the gold answers after its prompt; None where that was not asked."""
        nats = [one.figures[PERPLEXITY] for one in self.judged if PERPLEXITY in one.figures]
        return float(np.exp(np.mean(nats))) if nats else None

    @property
    def generated_share(self) -> float | None:
        """Share of the answers, refusals apart, that hold a sentence of the generator's; the others quote the materials."""
        modes = [one.answer.mode is Mode.GENERATED for one in self.judged if one.answer is not None and not one.answer.abstained]
        return sum(modes) / len(modes) if modes else None

    def figures(self) -> dict[str, Figure]:
        """Each measure over all questions that have it."""
        return summarize(self.judged)

    def by_category(self) -> dict[str, dict[str, Figure]]:
        categories = dict.fromkeys(one.golden.category for one in self.judged)
        return {category: summarize([one for one in self.judged if one.golden.category == category]) for category in categories}

    def to_json(self) -> dict[str, Any]:
        return {
            "questions": len(self.judged),
            "figures": {name: asdict(figure) for name, figure in self.figures().items()},
            "answerable_auroc": self.answerable_auroc,
            "generated_share": self.generated_share,
            "answer_ms": self.answer_ms,
            "stage_ms": self.stage_ms,
            "gold_perplexity": self.gold_perplexity,
            "categories": {
                category: {name: figure.mean for name, figure in figures.items()} for category, figures in self.by_category().items()
            },
        }

    def table(self) -> str:
        """The figures in lines for a person; below them the main ones by category."""
        lines = [f"{name:22} {figure}" for name, figure in self.figures().items()]
        if self.answerable_auroc is not None:
            lines.append(f"{'answerable_auroc':22} {self.answerable_auroc:.3f}")
        if self.generated_share is not None:
            lines.append(f"{'generated_share':22} {self.generated_share:.3f}")
            lines += [f"{f'answer_ms_{name}':22} {value:.0f}" for name, value in self.answer_ms.items()]
        if self.gold_perplexity is not None:
            lines.append(f"{'gold_perplexity':22} {self.gold_perplexity:.1f}")
        lines += [f"  {stage + ' ms':20} p50 {one['p50']:.1f}, p95 {one['p95']:.1f}" for stage, one in self.stage_ms.items()]
        for category, figures in self.by_category().items():
            main = [f"{name} {figures[name].mean:.3f}" for name in _MAIN_MEASURES if name in figures]
            lines.append(f"  {category or 'no category'}: {', '.join(main) or 'see above'}")
        return "\n".join(lines)


def evaluate(
    questions: Sequence[Golden],
    search: Callable[[Golden], Sequence[Hit]],
    answer: Callable[[Golden], Answer] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    more: Sequence[Callable[[Golden, Answer], dict[str, float]]] = (),
) -> Evaluation:
    """Judges every question's hits; with `answer`, also what is answered.

    Args:
        more: further figures of an answer, such as another model's judgement.
        progress: told how many questions are done.
    """
    judged: list[Judged] = []
    for done, golden in enumerate(questions, 1):
        one = Judged(golden, hits=search(golden) if golden.answerable else ())
        if answer is not None:
            one.answer = answer(golden)
            for figures_of in more:
                one.figures |= figures_of(golden, one.answer)
        judged.append(one)
        progress(done)
    answerable = [one for one in judged if one.golden.answerable]
    for one, figures in zip(answerable, judge_rankings([(one.golden, one.hits) for one in answerable]), strict=True):
        one.figures |= figures
    for one in judged:
        if one.answer is not None:
            one.figures |= judge_answer(one.golden, one.answer) | judge_writing(one.answer)
    return Evaluation(judged)


def summarize(judged: Sequence[Judged]) -> dict[str, Figure]:
    """Each measure's mean over the questions that have it."""
    names = dict.fromkeys(name for one in judged for name in one.figures)
    return {name: figure([one.figures[name] for one in judged if name in one.figures]) for name in names}


def figure(values: Sequence[float] | np.ndarray) -> Figure:
    """The mean with a percentile bootstrap interval (2,000 resamples, fixed seed)."""
    sample = np.asarray(values, float)
    if len(sample) < 2 or np.ptp(sample) == 0:
        return Figure(float(sample.mean()), float(sample.mean()), float(sample.mean()), len(sample))
    interval = bootstrap((sample,), np.mean, n_resamples=RESAMPLES, batch=BATCH, method="percentile", rng=0).confidence_interval
    return Figure(float(sample.mean()), float(interval.low), float(interval.high), len(sample))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a random answerable question has more confidence than a random unanswerable one; ties count half."""
    above = np.asarray(positive)[:, None] - np.asarray(negative)[None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())
