"""What preparing suggested questions saves: `python benchmarks/prepared.py [--store DIR --course C] [--questions 20]`.

Time from a question to its `Found` event, and to the answer without a generator, prepared and not, in turns within one run: medians, and
the ratio. By default over the sample course, ingested first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from ingest.pipeline import ingest_course  # noqa: E402  (run as a file, the checkout is not on the path)
from rag.answer import stream_answer  # noqa: E402
from rag.answer_cache import AnswerCache  # noqa: E402
from rag.command_line import positive, print_error  # noqa: E402
from rag.config import NONE, Config  # noqa: E402
from rag.embed import SentenceTransformerEmbedder  # noqa: E402
from rag.engine import Engine  # noqa: E402
from rag.errors import LecternError  # noqa: E402
from rag.events import Found  # noqa: E402
from rag.followups import suggest_first_questions, suggest_followups  # noqa: E402
from rag.prepared import Prepared  # noqa: E402
from rag.store import Store  # noqa: E402
from rag.types import Answer, Scope, Turn  # noqa: E402

SAMPLE = "llm-systems"
Asked = tuple[str, tuple[Turn, ...]]
"""A suggestion with the messages before it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="a store to take as it is; by default the sample course is ingested into one")
    parser.add_argument("--course", default=SAMPLE)
    parser.add_argument("--questions", type=positive, default=20)
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            print(report(open_engine(options.store, Path(scratch) / "store"), Scope(options.course), options.questions))
    except LecternError as e:
        print_error(e)
        return 1
    return 0


def open_engine(directory: Path | None, scratch: Path) -> Engine:
    """Without a generator, and without answers given again: those would be measured in place of searches."""
    config = Config(store=directory or scratch, generator=NONE, cached_answers=0)
    if directory is None:
        embedder = SentenceTransformerEmbedder.from_config(config)
        ingest_course(ROOT / "corpora" / SAMPLE, Store.create(scratch), embedder, config)
    return Engine.from_config(config)


def report(engine: Engine, scope: Scope, count: int) -> str:
    asked = suggestions(engine, scope, count)
    plain = replace(engine, prepared=Prepared(0), cache=AnswerCache(0))
    times: dict[str, list[tuple[float, float]]] = {"afresh": [], "prepared": []}
    for question, history in asked:
        times["afresh"].append(timed(plain, question, scope, history))
        engine.prepare([question], scope, history)
        engine.prepared.wait()
        times["prepared"].append(timed(engine, question, scope, history))
    afresh, prepared = ([statistics.median(column) for column in zip(*times[name], strict=True)] for name in ("afresh", "prepared"))
    lines = [
        f"{len(asked)} suggested questions of {scope.course}, medians in ms",
        "",
        "| until | afresh | prepared | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for name, one, other in zip(("what was found", "the answer, quoted"), afresh, prepared, strict=True):
        lines.append(f"| {name} | {one:.1f} | {other:.2f} | {one / other:.0f} |")
    return "\n".join(lines)


def suggestions(engine: Engine, scope: Scope, count: int) -> list[Asked]:
    """As a reader who clicks every suggestion in turn would see them."""
    store = engine.searcher.store
    waiting: list[Asked] = [(question, ()) for question in suggest_first_questions(store, scope)]
    seen: list[Asked] = []
    while waiting and len(seen) < count:
        question, history = waiting.pop(0)
        if question in [earlier for earlier, _ in seen]:
            continue
        seen.append((question, history))
        *_, answered = stream_answer(question, scope, engine, history)
        assert isinstance(answered, Answer)
        longer = (*history, Turn("user", question), Turn("assistant", answered.text))
        waiting += [(following, longer) for following in suggest_followups(answered, history, scope, store)]
    return seen


def timed(engine: Engine, question: str, scope: Scope, history: Sequence[Turn]) -> tuple[float, float]:
    """Milliseconds until what was found and until the answer."""
    started = time.perf_counter()
    found = 0.0
    for event in stream_answer(question, scope, engine, history):
        if isinstance(event, Found):
            found = time.perf_counter() - started
    return 1000 * found, 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
