"""Evaluations kept by name, and two of them compared question by question.

A saved run is one JSON file: what it was made with, and for each question its figures and where its hits stand. It holds no text of the
materials, headings included, so that a document deleted later leaves only its name and places there. A name stands for one run for good:
saving under a taken one is an error, since the same settings under changed code would otherwise replace what they are compared with.

Comparison is paired: what differs between questions, which is most of the variance, cancels out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from rag.config import ACCESS, OF_THE_PAGE, Config
from rag.errors import LecternError
from rag.evaluate import BATCH, Evaluation, Judged, figure
from rag.files import put_in_place
from rag.golden import QuestionSet
from rag.records import EmbedderStamp
from rag.types import Hit

FORMAT = 1
FOLDER = "runs"
SUFFIX = ".json"
LONGEST_NAME = 80
PERMUTATIONS = 9999


@dataclass(frozen=True, slots=True)
class Result:
    """One question of a run. `hits` hold source, location, start, end, score."""

    id: str
    question: str
    category: str
    figures: Mapping[str, float]
    hits: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Run:
    """An evaluation with what it was made with. `setting` is flat: `config.dense_weight`, `course`, `revision`, …"""

    name: str
    made: str
    setting: Mapping[str, Any]
    results: Sequence[Result]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "name": self.name, "made": self.made, "setting": dict(self.setting)} | {
            "results": [asdict(result) for result in self.results]
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Run:
        return cls(value["name"], value["made"], value["setting"], [Result(**result) for result in value["results"]])


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure after minus before, over the questions that have it in both runs: its mean with a 95 % bootstrap interval, and the p of a
    paired permutation test. `rose`, `fell` and `same` count questions."""

    before: float
    after: float
    mean: float
    low: float
    high: float
    p: float
    rose: int
    fell: int
    same: int

    def __str__(self) -> str:
        return (
            f"{self.before:.3f} → {self.after:.3f}  {self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}] p={self.p:.4f}  "
            f"rose {self.rose}, fell {self.fell}, same {self.same}"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the questions that both hold. `settings` are those that differ, before and after."""

    before: str
    after: str
    questions: int
    only_before: int
    only_after: int
    settings: Mapping[str, tuple[Any, Any]]
    measures: Mapping[str, Difference]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """The differences in lines for a person."""
        lines = [f"{self.before} → {self.after}, {self.questions} questions that both hold"]
        if self.only_before or self.only_after:
            lines.append(f"  left out: {self.only_before} questions of {self.before} alone, {self.only_after} of {self.after} alone")
        lines += [f"{name:22} {difference}" for name, difference in self.measures.items()]
        lines += [f"  {key}: {before!r} → {after!r}" for key, (before, after) in self.settings.items()]
        return "\n".join(lines if self.settings else [*lines, "  no setting differs"])


def make_run(name: str, evaluation: Evaluation, setting: Mapping[str, Any]) -> Run:
    """An evaluation as it is saved.

    Raises:
        LecternError: an id stands twice, so that its question could not be found again in another run.
    """
    seen: set[str] = set()
    for one in evaluation.judged:
        if one.golden.id in seen:
            raise LecternError(f"the id {one.golden.id!r} stands twice in the questions; a run that can be compared needs each id once")
        seen.add(one.golden.id)
    return Run(name, datetime.now(UTC).isoformat(timespec="seconds"), setting, [_result(one) for one in evaluation.judged])


def _result(one: Judged) -> Result:
    figures = one.figures | ({"confidence": one.answer.confidence} if one.answer is not None else {})
    return Result(one.golden.id, one.golden.question, one.golden.category, figures, [_place(hit) for hit in one.hits])


def _place(hit: Hit) -> dict[str, Any]:
    chunk = hit.passage.chunk
    location = {key: value for key, value in chunk.location.to_json().items() if key != "heading"}
    return {"source": hit.passage.source, "location": location, "start": chunk.start, "end": chunk.end, "score": hit.score}


def make_setting(
    config: Config, course: str, questions: QuestionSet, embedder: EmbedderStamp, revision: int, **more: Any
) -> dict[str, Any]:
    """All that a run's figures depend on, and `more` that the caller knows; None stands for what was not given."""
    left_out = {*ACCESS, *OF_THE_PAGE}
    settings = {
        f"config.{key}": str(value) if isinstance(value, Path) else value for key, value in asdict(config).items() if key not in left_out
    }
    known = {
        "course": course,
        "questions": str(questions.path),
        "questions_sha256": questions.sha256,
        "embedder": f"{embedder.id} {embedder.revision} ({embedder.dimension}-d)",
        "revision": revision,
        "code": _code_sha256(),
    }
    return known | more | settings


def _code_sha256() -> str:
    """Of this package's own modules: the same settings under other code are another run."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def run_path(name: str, store: Path) -> Path:
    """Where a run is: below the store by its name, or the file itself when `name` has a slash or ends in `.json`."""
    return Path(name) if "/" in name or name.endswith(SUFFIX) else named_run_path(name, store)


def named_run_path(name: str, store: Path) -> Path:
    """Where the run of that name is, below the store and nowhere else.

    Raises:
        LecternError: it is no name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith(SUFFIX) or len(name) > LONGEST_NAME:
        raise LecternError(
            f"{name!r} is no name for a run; expected at most {LONGEST_NAME} letters, digits, dots, hyphens, or a path to a {SUFFIX}"
        )
    return store / FOLDER / f"{name}{SUFFIX}"


def run_paths(store: Path) -> list[Path]:
    """The saved runs of a store, the newest first."""
    return sorted((store / FOLDER).glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def require_free(path: Path) -> None:
    """Raises:
    LecternError: a run is there already.
    """
    if path.exists():
        raise LecternError(f"there is a run {path} already; save under another name, or remove it first")


def save_run(run: Run, path: Path) -> None:
    """Writes the run complete or not at all.

    Raises:
        LecternError: the name is taken, or the file cannot be written.
    """
    require_free(path)
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(run.to_json(), ensure_ascii=False), "utf-8")
        put_in_place(partial, path)
    except OSError as e:
        if partial.exists():
            partial.unlink()
        raise LecternError(f"the run cannot be written to {path}: {e.strerror}; name another place with --save") from e


def load_run(path: Path) -> Run:
    """A saved run.

    Raises:
        LecternError: there is none, or the file holds something else.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as e:
        others = ", ".join(sorted(other.stem for other in path.parent.glob(f"*{SUFFIX}"))) or "none"
        raise LecternError(f"there is no run {path}; those beside it: {others}; save one with: python -m rag evaluate … --save NAME") from e
    except OSError as e:
        raise LecternError(f"the run {path} cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise LecternError(f"{path} is no saved run: {e}; expected what python -m rag evaluate --save writes") from e
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise LecternError(f"{path} is no saved run of format {FORMAT}; expected what python -m rag evaluate --save writes")
    try:
        return Run.from_json(value)
    except (KeyError, TypeError) as e:
        raise LecternError(f"{path} is no whole run ({e!r}); expected what python -m rag evaluate --save writes") from e


def compare(before: Run, after: Run) -> Comparison:
    """What changed from one run to another, over the questions that both hold: same id, same words.

    Raises:
        LecternError: they have no question in common.
    """
    earlier = {(result.id, result.question): result.figures for result in before.results}
    later = {(result.id, result.question): result.figures for result in after.results}
    both = [key for key in later if key in earlier]
    if not both:
        raise LecternError(f"the runs {before.name} and {after.name} have no question in common; compare runs over the same questions")
    measures: dict[str, Difference] = {}
    for name in dict.fromkeys(name for key in both for name in later[key]):
        pairs = [(earlier[key][name], later[key][name]) for key in both if name in earlier[key] and name in later[key]]
        if pairs:
            measures[name] = paired_difference(*zip(*pairs, strict=True))
    settings = {
        key: (before.setting.get(key), after.setting.get(key))
        for key in dict.fromkeys([*before.setting, *after.setting])
        if before.setting.get(key) != after.setting.get(key)
    }
    return Comparison(before.name, after.name, len(both), len(earlier) - len(both), len(later) - len(both), settings, measures)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Difference:
    """The mean difference with a percentile bootstrap interval over questions, and a two-sided permutation test of signs.

    Under the test's hypothesis either run might have had either figure, so that each difference is as likely with the other sign. Ties
    are left out of it: they change no sum. Up to 13 questions that differ the test is exact, else it draws 9,999 patterns of signs.
    """
    differences = np.asarray(after, float) - np.asarray(before, float)
    differing = differences[differences != 0]
    found = figure(differences)
    p = 1.0  # also for a single question that differs: both of its signs are as extreme
    if len(differing) > 1:
        test = permutation_test((differing,), np.sum, permutation_type="samples", n_resamples=PERMUTATIONS, batch=BATCH * 10, rng=0)
        p = float(test.pvalue)
    rose, fell = int((differing > 0).sum()), int((differing < 0).sum())
    return Difference(
        float(np.mean(before)), float(np.mean(after)), found.mean, found.low, found.high, p, rose, fell, found.n - len(differing)
    )
