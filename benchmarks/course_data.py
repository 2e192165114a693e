"""What made-up courses are worth to the reader: `python benchmarks/course_data.py [--courses 0 21 42 84] [--steps 240]`.

The encoder is fitted anew with equally many updates on the articles that the shipped reader has learnt from and on so many of its courses,
and judged on questions of a set of which nothing is ever learnt. Fits that have ended are kept in --work and not made again. Markdown on
stdout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from fit_weights import RECIPES, learnt_articles, learnt_courses  # type: ignore[import-not-found]  # noqa: E402  (run as a file)

from rag.command_line import positive  # noqa: E402
from tuning.fit import ENDED  # noqa: E402

MEASURES = ("auroc", "mrr", "found")


def some_of(courses: Sequence[Path], count: int) -> list[Path]:
    """So many of them at even steps; a smaller choice of half as many lies within a larger one.

    Raises:
        SystemExit: there are not so many.
    """
    if count > len(courses):
        raise SystemExit(f"{count} courses are wanted of {len(courses)}; name fewer in --courses")
    return [courses[number * len(courses) // count] for number in range(count)]


def fit(learnt: Sequence[Path], judged: Path, steps: int, work: Path, out: Path) -> dict[str, dict[str, float]]:
    """The measures before and after a fit, made in a process of its own; of one that has ended, those that it wrote."""
    if not (out / ENDED).is_file():
        recipe = [*RECIPES["reader"], "--steps", str(steps), "--patience", "0", "--seed", "0"]
        places = ["--validate", str(judged), "--store", str(work / "store"), "--out", str(out)]
        subprocess.run(
            [sys.executable, "-m", "rag", "tune", "reader", "--data", *map(str, learnt), *places, *recipe],
            cwd=ROOT, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    about = json.loads((out / ENDED).read_text("utf-8"))
    return {when: about[when] for when in ("before", "after")}


def row(name: str, updates: str, measures: dict[str, float]) -> str:
    return f"| {name} | {updates} | {' | '.join(f'{measures[one]:.3f}'.removeprefix('0') for one in MEASURES)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--courses", type=int, nargs="+", default=[0, 21, 42, 84], metavar="N", help="how many courses to learn from")
    parser.add_argument("--steps", type=positive, default=240, metavar="N", help="updates of each fit")
    parser.add_argument("--set", default="syllabi", help="what is judged on, of the measuring sets")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="where the articles and the sets are")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "fitting", help="for the fits and what is made on the way")
    options = parser.parse_args()
    judged, articles = options.data / "eval" / options.set, learnt_articles(options.data, options.work)
    rows = [
        "| learnt from | updates | AUROC of `answers` | MRR by relevance alone | the best stretch is right |",
        "| --- | --- | --- | --- | --- |",
    ]
    for count in options.courses:
        learnt, out = [articles, *some_of(learnt_courses(), count)], options.work / f"{options.set}-{count}-courses-{options.steps}"
        measures = fit(learnt, judged, options.steps, options.work, out)
        if count == options.courses[0]:
            rows.append(row("nothing", "0", measures["before"]))
        rows.append(row(f"the articles and {count} courses", str(options.steps), measures["after"]))
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
