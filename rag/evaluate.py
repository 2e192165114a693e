"""Golden questions to figures: retrieval, answers and refusals, each with a bootstrap interval.

A hit is right when it stands in a relevant source (on the relevant page, slide or cell, if one is named) and holds at least half of the
quote's word 5-grams. Ranking measures come from ir-measures, over the relevant entries of each question as its documents: a hit that holds
several of them counts for the first one not found yet.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
from ir_measures import RR, R, Success, nDCG
from scipy.stats import bootstrap

from rag.errors import LecternError
from rag.types import Answer, Hit, LocationKind, Mode, Passage, Turn

STDIN = Path("-")
BUDGET_WORDS = 750
HITS = 10
RANKING_MEASURES = {"recall@5": R @ 5, "recall@10": R @ 10, "mrr@10": RR @ 10, "ndcg@10": nDCG @ 10} | {
    f"hit@{k}": Success @ k for k in (1, 3, 5, 10)
}

_MAIN_MEASURES = ("recall@5", "mrr@10", "refused_unanswerable", "refused_answerable")
_PLACES = {LocationKind.PAGE: "page", LocationKind.SLIDE: "slide", LocationKind.CELL: "cell"}
_SUFFIX = re.compile(r"\.(pdf|docx|txt|md|pptx|html)$")
"""Formats of the same text: a question set may name a document in one and the corpus hold it in another."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden question, as in `questions.jsonl`."""

    id: str
    question: str
    answerable: bool = True
    answers: tuple[str, ...] = ()
    relevant: tuple[Mapping[str, Any], ...] = ()
    scope: str | None = None
    category: str = ""
    history: tuple[Turn, ...] = ()


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
        for category, figures in self.by_category().items():
            main = [f"{name} {figures[name].mean:.3f}" for name in _MAIN_MEASURES if name in figures]
            lines.append(f"  {category or 'no category'}: {', '.join(main) or 'see above'}")
        return "\n".join(lines)


def evaluate(
    questions: Sequence[Golden],
    search: Callable[[Golden], Sequence[Hit]],
    answer: Callable[[Golden], Answer] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Judges every question's hits; with `answer`, also what is answered.

    Args:
        progress: told how many questions are done.
    """
    judged: list[Judged] = []
    for done, golden in enumerate(questions, 1):
        one = Judged(golden)
        if golden.answerable:
            one.figures |= judge_hits(golden, search(golden))
        if answer is not None:
            answered = answer(golden)
            one.answer = answered
            one.figures |= judge_answer(golden, answered)
        judged.append(one)
        progress(done)
    return Evaluation(judged)


def read_questions(path: Path) -> list[Golden]:
    """The golden questions of a file; of standard input for `-`.

    Raises:
        LecternError: the file is missing, or a line is no JSON object with `id` and `question`.
    """
    try:
        text = sys.stdin.read() if path == STDIN else path.read_text("utf-8")
    except OSError as e:
        raise LecternError(f"{path} cannot be read: {e.strerror}; name a questions.jsonl") from e
    except UnicodeDecodeError as e:
        raise LecternError(f"{path} is not UTF-8 ({e.reason} at byte {e.start}); save it as UTF-8") from e
    # Not splitlines: a JSON string may hold a line separator that only that knows.
    return [_golden(line, f"{path}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _golden(line: str, place: str) -> Golden:
    try:
        value = json.loads(line)
        return Golden(
            id=str(value["id"]),
            question=value["question"],
            answerable=value.get("answerable", True),
            answers=tuple(value.get("answers", ())),
            relevant=tuple(value.get("relevant", ())),
            scope=value.get("scope"),
            category=value.get("category", ""),
            history=tuple(Turn(turn["role"], turn["content"]) for turn in value.get("history", ())),
        )
    except (json.JSONDecodeError, KeyError, TypeError) as e:
        raise LecternError(f'{place} is no golden question ({e!r}); expected an object with "id" and "question"') from e


def judge_hits(golden: Golden, hits: Sequence[Hit]) -> dict[str, float]:
    """Ranking measures and coverage of one answerable question's hits, best first; empty when nothing relevant is named below its scope."""
    relevant = [entry for entry in golden.relevant if "quote" in entry or "page" in entry or entry["source"] != golden.scope]
    if not relevant:
        return {}
    qrels = [ir_measures.Qrel(golden.id, str(number), 1) for number in range(len(relevant))]
    run = [
        ir_measures.ScoredDoc(golden.id, name, -rank) for rank, name in enumerate(_named(relevant, [hit.passage for hit in hits[:HITS]]))
    ]
    values = ir_measures.calc_aggregate(list(RANKING_MEASURES.values()), qrels, run or [ir_measures.ScoredDoc(golden.id, "none", 0.0)])
    figures = {name: float(values[measure]) for name, measure in RANKING_MEASURES.items()}
    if any("quote" in entry for entry in relevant):
        figures[f"coverage@{BUDGET_WORDS}w"] = coverage(relevant, [hit.passage for hit in hits])
    return figures


def judge_answer(golden: Golden, answer: Answer) -> dict[str, float]:
    """Answer and refusal measures of one question."""
    refused = float(answer.abstained)
    if not golden.answerable:
        return {"refused_unanswerable": refused}
    figures = {"refused_answerable": refused}
    if golden.answers:
        text = "" if answer.abstained else answer.text
        figures["answer_contains_gold"] = float(any(_words(gold) and _contains(text, gold) for gold in golden.answers))
        figures["answer_f1"] = max(token_f1(text, gold) for gold in golden.answers)
    if golden.relevant and not answer.abstained:
        cited = [source.passage for source in answer.sources]
        figures["cited_right"] = float(any(_is_right(entry, passage) for entry in golden.relevant for passage in cited))
    return figures


def summarize(judged: Sequence[Judged]) -> dict[str, Figure]:
    """Each measure's mean over the questions that have it."""
    names = dict.fromkeys(name for one in judged for name in one.figures)
    return {name: figure([one.figures[name] for one in judged if name in one.figures]) for name in names}


def figure(values: Sequence[float]) -> Figure:
    """The mean with a percentile bootstrap interval (2,000 resamples, fixed seed)."""
    sample = np.asarray(values, float)
    if len(sample) < 2 or np.ptp(sample) == 0:
        return Figure(float(sample.mean()), float(sample.mean()), float(sample.mean()), len(sample))
    interval = bootstrap((sample,), np.mean, n_resamples=2000, method="percentile", rng=0).confidence_interval
    return Figure(float(sample.mean()), float(interval.low), float(interval.high), len(sample))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a random answerable question has more confidence than a random unanswerable one; ties count half."""
    above = np.asarray(positive)[:, None] - np.asarray(negative)[None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def coverage(relevant: Sequence[Mapping[str, Any]], passages: Sequence[Passage], budget: int = BUDGET_WORDS) -> float:
    """Mean share of each quote's word 5-grams in the passages that fit the budget, best first; the last one is cut to fit."""
    texts: dict[str, list[str]] = {}
    used = 0
    for passage in passages:
        words = _words(passage.chunk.text)
        if used and used + len(words) > budget:
            words = words[: budget - used]
        texts.setdefault(_stem(passage.source), []).extend(["\0", *words])  # the mark keeps 5-grams from crossing passages
        used += len(words)
        if used >= budget:
            break
    return float(
        np.mean([_share_of_quote(entry["quote"], texts.get(_stem(entry["source"]), [])) for entry in relevant if "quote" in entry])
    )


def token_f1(text: str, gold: str) -> float:
    """Harmonic mean of the words' precision and recall, as in SQuAD."""
    found, wanted = _words(text), _words(gold)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted)) if common else 0.0


def _named(relevant: Sequence[Mapping[str, Any]], passages: Sequence[Passage]) -> Iterator[str]:
    """A document name for each passage: the number of the first relevant entry it holds that none before it held."""
    left = set(range(len(relevant)))
    for rank, passage in enumerate(passages):
        held = [number for number in range(len(relevant)) if _is_right(relevant[number], passage)]
        fresh = [number for number in held if number in left]
        if fresh:
            left.discard(fresh[0])
        yield str(fresh[0]) if fresh else f"passage {rank}"


def _is_right(entry: Mapping[str, Any], passage: Passage) -> bool:
    if _stem(entry["source"]) != _stem(passage.source):
        return False
    location = passage.chunk.location
    place = _PLACES.get(location.kind)
    if place is not None and place in entry and entry[place] != location.number:
        return False
    return "quote" not in entry or _share_of_quote(entry["quote"], _words(passage.chunk.text)) >= 0.5


def _share_of_quote(quote: str, words: Sequence[str]) -> float:
    wanted = _words(quote)
    if not wanted:
        return 1.0
    n = min(5, len(wanted))
    grams = _grams(wanted, n)
    return len(grams & _grams(words, n)) / len(grams)


def _grams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


def _contains(text: str, gold: str) -> bool:
    return f" {' '.join(_words(gold))} " in f" {' '.join(_words(text))} "


def _words(text: str) -> list[str]:
    """Words as the common scorer cuts them, accents kept: other systems are measured by the same rule."""
    return re.findall(r"\w+", text.lower())


def _stem(source: str) -> str:
    return _SUFFIX.sub("", source)
