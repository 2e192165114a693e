"""Makes the weights that ship anew: `python scripts/fit_weights.py reader|generator [--data ../shared/data] [--out FOLDER]`.

The reader learns from our own made-up courses (fitting/courses), from questions of SQuAD 2.0's articles (CC BY-SA 4.0) and from questions
made by rule of the Hugging Face course (Apache-2.0) and of the slides of Python for Everybody (CC BY 4.0); the generator from our courses
alone. Twelve courses and three articles validate and calibrate. Of six more articles nothing is learnt, so that they can be measured on;
and of the others no question that the multilingual set, which is for measuring, has in English.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from rag import adapter, reader  # noqa: E402
from rag.__main__ import main as lectern  # noqa: E402  (run as a file, the checkout is not on the path)
from rag.models import BUNDLED_ADAPTER  # noqa: E402
from rag.text import words  # noqa: E402
from tuning.fit import ENDED  # noqa: E402

COURSES = ROOT / "fitting" / "courses"
HELD_OUT_COURSES = frozenset(
    """accounting-principles american-politics data-visualization family-law-clinic intro-archaeology introductory-statistics music-theory-1
    oceanography renewable-energy-systems robotics structural-engineering-design studio-drawing""".split()
)
VALIDATION_ARTICLES = ("Islamism", "Prime_number", "Yuan_dynasty")
TEST_ARTICLES = (ROOT / "fitting" / "squad2-test-articles.txt").read_text("utf-8").split()
RECIPES = {
    "reader": "--from encoder --epochs 1.5 --learning-rate 1.5e-4 --batch 8 --negatives 2 --holes 0.5 --validations 1".split(),
    "generator": ["--epochs", "1"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("reader", "generator"))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="where SQuAD 2.0 and the two courses are")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "fitting", help="for what is made on the way")
    parser.add_argument("--out", type=Path, help="default: where the shipped weights lie")
    parser.add_argument("--anew", action="store_true", help="also where a fit has ended or was cut off")
    options = parser.parse_args()
    work = options.work
    fitted = work / options.task
    names, target = {
        "reader": ((reader.WEIGHTS, reader.SETTINGS), reader.BUNDLED_READER),
        "generator": ((adapter.WEIGHTS, adapter.SETTINGS), BUNDLED_ADAPTER),
    }[options.task]
    if not (fitted / ENDED).is_file() or options.anew:
        flags = ["--store", str(work / "store"), "--out", str(fitted), "--seed", "0", *(["--no-resume"] if options.anew else [])]
        data = _courses() if options.task == "generator" else _reader_data(options.data, work)
        code = lectern(["tune", options.task, *data, *flags, *RECIPES[options.task]])
        if code:
            return code
    target = options.out or target
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(fitted / name, target / name)
    return 0


def _courses() -> list[str]:
    return ["--data", *map(str, sorted(COURSES.iterdir()))]


def _reader_data(data: Path, work: Path) -> list[str]:
    """The flags that name what the reader learns from, most of it made here."""
    kept = [one for one in sorted(COURSES.iterdir()) if one.name in HELD_OUT_COURSES]
    _together(kept, work / "courses-validation")
    kept.append(_articles(data, VALIDATION_ARTICLES, work / "squad2-validation"))
    by_rule = [data / "eval" / "hf-course", data / "courses" / "py4e" / "lectures"]
    learnt = [*learnt_courses(), learnt_articles(data, work)]
    return ["--data", *map(str, learnt), "--by-rule", *map(str, by_rule), "--validate", *map(str, kept)]


def learnt_courses() -> list[Path]:
    """The folders of our courses that the reader learns from."""
    return [one for one in sorted(COURSES.iterdir()) if one.name not in HELD_OUT_COURSES]


def learnt_articles(data: Path, work: Path) -> Path:
    """A course folder, made in `work`, of the articles that the reader learns from."""
    names = {one.name for one in (data / "eval" / "squad2" / "corpus").iterdir()}
    return _articles(data, names - {*VALIDATION_ARTICLES, *TEST_ARTICLES}, work / "squad2")


def _known(path: Path) -> frozenset[str]:
    """The ids and the words of a set's questions. XQuAD's ids are SQuAD's behind a language."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return frozenset(told for row in rows for told in (row["id"].partition("-")[2], _folded(row["question"])))


def _folded(question: str) -> str:
    return " ".join(words(question)).lower()


def _articles(data: Path, articles: Iterable[str], folder: Path) -> Path:
    """A course folder of some of the articles and of the questions about them, without those that the multilingual set has."""
    shutil.rmtree(folder, ignore_errors=True)
    without, squad2 = _known(data / "eval" / "multilingual" / "questions.jsonl"), data / "eval" / "squad2"
    wanted = frozenset(articles)
    for article in wanted:
        shutil.copytree(squad2 / "corpus" / article, folder / "corpus" / article)
    lines = (squad2 / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [(line, json.loads(line)) for line in lines]
    kept = [line for line, row in rows if row["scope"] in wanted and without.isdisjoint((row["id"], _folded(row["question"])))]
    (folder / "questions.jsonl").write_text("\n".join(kept) + "\n", "utf-8")
    return folder


def _together(courses: Iterable[Path], folder: Path) -> None:
    """Courses as one, each question asked within its own: for scripts/fit_confidence.py, to which they then are one set."""
    shutil.rmtree(folder, ignore_errors=True)
    rows = []
    for course in courses:
        shutil.copytree(course, folder / "corpus" / course.name, ignore=shutil.ignore_patterns("questions.jsonl"))
        for line in (course / "questions.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            relevant = [{**entry, "source": f"{course.name}/{entry['source']}"} for entry in row.get("relevant", ())]
            rows.append(row | {"id": f"{course.name}/{row['id']}", "scope": course.name, "relevant": relevant})
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
