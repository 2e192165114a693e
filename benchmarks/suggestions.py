"""Suggested questions: `python benchmarks/suggestions.py [--store DIR --course C] [--questions 60] [--prepared 20]`.

The questions are those that a reader sees who begins with ten and clicks every suggestion in turn; they are answered without a generator.
Printed are how many find the section that they were made of, how many are answered at all, and how long making them takes; then what
preparing their retrieval saves: time to the `Found` event and to the answer, prepared and not, in turns within one run. By default over the
sample course, ingested first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from ingest.pipeline import ingest_course  # noqa: E402  (run as a file, the checkout is not on the path)
from rag.answer import answer, stream_answer  # noqa: E402
from rag.answer_cache import AnswerCache  # noqa: E402
from rag.command_line import positive, print_error  # noqa: E402
from rag.config import NONE, Config  # noqa: E402
from rag.embed import SentenceTransformerEmbedder  # noqa: E402
from rag.engine import Engine  # noqa: E402
from rag.errors import LecternError  # noqa: E402
from rag.events import Found  # noqa: E402
from rag.followups import NEVER, suggest_first_questions, suggest_followups, topics_of  # noqa: E402
from rag.prepared import Prepared  # noqa: E402
from rag.store import Store  # noqa: E402
from rag.types import Scope, Turn  # noqa: E402

SAMPLE = "llm-systems"
FIRST = 10
"""Questions to begin with."""
FOUND_AMONG = 3
"""The hits among which a question should find its section."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """A suggestion as it was answered, with the messages before it and the seconds that making the next ones took."""

    question: str
    history: tuple[Turn, ...]
    is_found: bool
    is_answered: bool
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a store to take as it is; by default the sample course is ingested into one")
    parser.add_argument("--course", default=SAMPLE)
    parser.add_argument("--questions", type=positive, default=60)
    parser.add_argument("--prepared", type=positive, default=20, help="how many of them are timed prepared and not")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            engine, scope = open_engine(options.store, Path(scratch) / "store"), Scope(options.course)
            asked = suggestions(engine, scope, options.questions)
            print(quality(asked, scope), preparation(engine, scope, asked[: options.prepared]), sep="\n\n")
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


def suggestions(engine: Engine, scope: Scope, count: int) -> list[Suggested]:
    """The first `count`, in the order in which they are seen."""
    store = engine.searcher.store
    places = sections_asked_about(store, scope)
    waiting: list[tuple[str, tuple[Turn, ...]]] = [(question, ()) for question in suggest_first_questions(store, scope, FIRST)]
    seen: dict[str, Suggested] = {}
    while waiting and len(seen) < count:
        question, history = waiting.pop(0)
        if question in seen:
            continue
        answered = answer(question, scope, engine, history)
        hits = engine.searcher.search(engine.searcher.interpret(question, scope, history), scope)[:FOUND_AMONG]
        started = time.perf_counter()
        following = suggest_followups(answered, history, scope, store)
        seconds = time.perf_counter() - started
        is_found = any((hit.passage.source, hit.passage.ordinal) in places.get(question, ()) for hit in hits)
        seen[question] = Suggested(question, history, is_found, not answered.abstained, seconds)
        longer = (*history, Turn("user", question), Turn("assistant", answered.text))
        waiting += [(one, longer) for one in following]
    return list(seen.values())


def sections_asked_about(store: Store, scope: Scope) -> dict[str, set[tuple[str, int]]]:
    """For each question that can be suggested, the source and ordinal of the passages of its section; of each, where several make it."""
    places: dict[str, set[tuple[str, int]]] = {}
    for document in (one for one in store.documents_in(scope) if one.material not in NEVER):
        for topic in topics_of(document, scope, store):
            section = {(document.source, ordinal) for ordinal in range(topic.first, topic.last + 1)}
            places.setdefault(topic.question, set()).update(section)
    return places


def quality(asked: Sequence[Suggested], scope: Scope) -> str:
    lines = [
        f"{scope.course}: suggested questions",
        "",
        "| | asked | found | answered | next made, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, group in (("first", [one for one in asked if not one.history]), ("follow-ups", [one for one in asked if one.history])):
        if group:
            found = statistics.mean(one.is_found for one in group)
            answered = statistics.mean(one.is_answered for one in group)
            made = 1000 * statistics.median(one.seconds for one in group)
            lines.append(f"| {name} | {len(group)} | {found:.2f} | {answered:.2f} | {made:.0f} |")
    return "\n".join(lines)


def preparation(engine: Engine, scope: Scope, asked: Sequence[Suggested]) -> str:
    plain = replace(engine, prepared=Prepared(0), cache=AnswerCache(0))
    times: dict[str, list[tuple[float, float]]] = {"afresh": [], "prepared": []}
    for one in asked:
        times["afresh"].append(timed(plain, one.question, scope, one.history))
        engine.prepare([one.question], scope, one.history)
        engine.prepared.wait()
        times["prepared"].append(timed(engine, one.question, scope, one.history))
    afresh, prepared = ([statistics.median(column) for column in zip(*times[name], strict=True)] for name in ("afresh", "prepared"))
    lines = [f"{len(asked)} of them, medians in ms", "", "| until | afresh | prepared | ratio |", "| --- | --- | --- | --- |"]
    for name, before, after in zip(("what was found", "the answer, quoted"), afresh, prepared, strict=True):
        lines.append(f"| {name} | {before:.1f} | {after:.2f} | {before / after:.0f} |")
    return "\n".join(lines)


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
