"""Answers to read and judge by hand (docs/answers-audit.md): `python benchmarks/audit.py --store S llm-systems=50 …/questions.jsonl …`.

Of each set, so many answers to questions of the odd half, drawn with a fixed seed and refusals left out: the question, every sentence with
its support, the words that its citation quotes, what was left out. Text on stdout, for a person; it holds the sets' texts: do not keep it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from rag.answer import answer  # noqa: E402  (run as a file, the checkout is not on the path)
from rag.config import BUNDLED, Config  # noqa: E402
from rag.engine import Engine  # noqa: E402  (run as a file, the checkout is not on the path)
from rag.golden import Golden, Half, read_questions, select  # noqa: E402
from rag.types import Answer, Scope  # noqa: E402

SEED = 11


def lines(number: int, golden: Golden, answered: Answer) -> Iterator[str]:
    kind = "" if golden.answerable else " (has no answer)"
    yield f"## {number}. {golden.id}{kind}, confidence {answered.confidence:.2f}"
    yield f"Q: {golden.question}" + (f"   [after: {golden.history[-2].content}]" if len(golden.history) > 1 else "")
    yield f"gold: {' / '.join(golden.answers)}"
    for sentence in answered.sentences:
        yield f"  {'quoted' if sentence.quoted else 'written'} {sentence.support}: {sentence.text}"
        for n in sentence.citations:
            source = answered.sources[n - 1]
            place = f"{source.passage.source}, {source.passage.chunk.location.label} ({source.passage.chunk.context})"
            yield f"      [{n}] {place}: “{' '.join(source.quote.split())}”"
    for sentence in answered.dropped:
        yield f"  left out, {sentence.support}: {sentence.text}"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="COURSE=N=QUESTIONS.jsonl")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--generator", default=BUNDLED)
    options = parser.parse_args()
    engine = Engine.from_config(Config.load(store=options.store, generator=options.generator))
    number = 0
    for argument in options.sets:
        course, wanted, path = argument.split("=", 2)
        questions = select(read_questions(Path(path)), Half.ODD)
        left = int(wanted)
        for golden in random.Random(SEED).sample(questions, len(questions)):
            if not left:
                break
            answered = answer(golden.question, Scope(course, path=golden.scope), engine, golden.history)
            if not answered.abstained:
                number, left = number + 1, left - 1
                print("\n".join(lines(number, golden, answered)), flush=True)


if __name__ == "__main__":
    main()
