"""`python benchmarks/engines.py [--store DIR] [-n 10] [--save FILE]`: the same questions through several generators.

In this process, by the same model behind `transformers serve`, and extractively: a table of what differs, as Markdown.

The questions are the sample course's golden ones that have an answer, taken at even steps. Everything but the generator is the same: one
search, one prompt, one check. Each engine is warmed with a question that does not count; nothing comes from the cache of answers.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rag.answer import answer
from rag.config import BUNDLED, NONE, Config
from rag.engine import Engine
from rag.generate import load_chat_model
from rag.golden import Golden, read_questions
from rag.models import find_generator
from rag.types import Answer, Scope
from rag.wire import answer_from_json, answer_to_json

COURSE = "llm-systems"
QUESTIONS = Path(__file__).parent.parent / "corpora" / COURSE / "questions.jsonl"
IN_PROCESS, SERVED, EXTRACTIVE = "in process", "transformers serve", "extractive"
BEFORE_FIRST_TOKEN = ("queue", "prefill")


@dataclass(frozen=True, slots=True)
class Row:
    question: Golden
    answers: dict[str, Answer]


@contextmanager
def served() -> Iterator[str]:
    """`transformers serve` on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url):
                return
        except urllib.error.URLError:
            time.sleep(0.5)
    raise SystemExit("transformers serve ended before it was ready")


class Kept:
    """The answers so far, in a file: a run that was ended goes on where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self._answers = {(one["engine"], one["id"]): answer_from_json(one) for one in map(json.loads, lines)}

    def of(self, name: str, golden: Golden) -> Answer:
        return self._answers[name, golden.id]

    def add(self, engine: Callable[[], Engine], name: str, questions: list[Golden]) -> None:
        missing = [golden for golden in questions if (name, golden.id) not in self._answers]
        if not missing:
            return
        asked = engine()
        answer("What is a token?", Scope(COURSE), asked)
        for golden in missing:
            found = self._answers[name, golden.id] = answer(golden.question, Scope(COURSE), asked)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"engine": name, "id": golden.id} | answer_to_json(found), ensure_ascii=False) + "\n")
            print(f"{name} {golden.id}: {found.latency.total:.0f} ms", file=sys.stderr, flush=True)


def ask(questions: list[Golden], config: Config, kept: Kept) -> list[Row]:
    """One engine after the other: two that compute at once would slow each other by tens of times."""
    local = Engine.from_config(config)
    kept.add(lambda: local, IN_PROCESS, questions)
    kept.add(lambda: replace(local, chat_model=None, config=config.replace(generator=NONE)), EXTRACTIVE, questions)
    with served() as url:
        limits = {"timeout_s": 300.0, "deadline_s": 300.0}  # the server loads the model with its first question
        remote = config.replace(base_url=url, generator=str(find_generator(BUNDLED).path), **limits)
        kept.add(lambda: replace(local, chat_model=load_chat_model(remote), config=remote), SERVED, questions)
    return [Row(golden, {name: kept.of(name, golden) for name in (IN_PROCESS, SERVED, EXTRACTIVE)}) for golden in questions]


def first_token_ms(answered: Answer) -> float | None:
    """From the prompt to the first token; None where nothing was generated."""
    stages = answered.latency.stages
    return sum(stages[stage] for stage in BEFORE_FIRST_TOKEN) if "prefill" in stages else None


def outcome(answered: Answer) -> str:
    if answered.abstained:
        return "refused"
    cited = sorted({f"{source.passage.source.rpartition('/')[2]} {source.passage.chunk.location.label}" for source in answered.sources})
    return f"{answered.mode.value}, {len(answered.sentences)} sentences; {', '.join(cited)}"


def table(rows: list[Row]) -> str:
    lines = [
        f"| question | {IN_PROCESS} | {SERVED} | {EXTRACTIVE} | same text |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        told = [outcome(row.answers[name]) for name in (IN_PROCESS, SERVED, EXTRACTIVE)]
        shown = [told[0], *("the same" if one == told[0] else one for one in told[1:])]
        same = ["yes" if row.answers[name].text == row.answers[IN_PROCESS].text else "no" for name in (SERVED, EXTRACTIVE)]
        lines.append(f"| {row.question.question} | {' | '.join(shown)} | {' / '.join(same)} |")
    lines += ["", "| | generated | refused | first token, ms (median) | whole answer, ms (median) |", "| --- | --- | --- | --- | --- |"]
    for name in (IN_PROCESS, SERVED, EXTRACTIVE):
        answers = [row.answers[name] for row in rows]
        firsts = sorted(ms for one in answers if (ms := first_token_ms(one)) is not None)
        totals = sorted(one.latency.total for one in answers)
        generated = sum(one.mode.value == "generated" for one in answers)
        first = f"{firsts[len(firsts) // 2]:.0f}" if firsts else "–"
        lines.append(f"| {name} | {generated} | {sum(one.abstained for one in answers)} | {first} | {totals[len(totals) // 2]:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="The same questions through several generators.")
    parser.add_argument("--store", type=Path, help="a store with the sample course (default: $LECTERN_STORE, else .lectern)")
    parser.add_argument("-n", type=int, default=10, dest="count", help="questions (default 10)")
    parser.add_argument(
        "--save", type=Path, default=Path("engines.jsonl"), help="where the answers are kept; those there are not asked again"
    )
    parser.add_argument("--show", action="store_true", help="the answers' texts too")
    options = parser.parse_args()
    config = Config.load(store=options.store).replace(cached_answers=0)
    answerable = [golden for golden in read_questions(QUESTIONS) if golden.answerable]
    rows = ask(answerable[:: len(answerable) // options.count][: options.count], config, Kept(options.save))
    print(table(rows))
    if options.show:
        for row in rows:
            print(f"\n**{row.question.question}**\n")
            print("\n".join(f"- {name}: {one.text}" for name, one in row.answers.items()))


if __name__ == "__main__":
    main()
