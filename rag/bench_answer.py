"""How fast answers are generated in this process: first token cold and warm, tokens a second, for 1 to 8 askers, beside `generate()`.

The prompts are made of the sample course's golden questions and the quotes that answer them, at two lengths: what an answer is given by
default, and 1,200 tokens. Both sides get the same prompts and decode greedily, in turns, in one run.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.batching import BatchingEngine
from rag.config import Config
from rag.errors import LecternError
from rag.generate import open_engine, tokenize
from rag.golden import Golden, read_questions
from rag.lane import in_own_thread
from rag.models import find_generator, load_generator
from rag.prompts import build_messages
from rag.types import Decoding

LENGTHS = {"short": 3, "long": None}
"""Quotes in a prompt; None: as many as fit `LONG_TOKENS`."""
LONG_TOKENS = 1200
ASKERS = (1, 2, 4, 8)
QUESTIONS = 6
NEW_TOKENS = 48
ASKED_BEFORE = "What does the course say about this?"
"""Asked of the same sources before, so that they are warm."""


Arrived = tuple[float, list[int]]
"""New tokens, and the moment at which they were there."""
Generate = Callable[[list[int]], Iterable[Arrived]]


@dataclass(frozen=True, slots=True)
class Timed:
    """One generation: seconds to the first token and to the end, and the tokens."""

    first_s: float
    total_s: float
    tokens: list[int]

    @property
    def tokens_s(self) -> float:
        """Of decoding: the first token belongs to the reading of the prompt."""
        return (len(self.tokens) - 1) / (self.total_s - self.first_s) if len(self.tokens) > 1 else 0.0


def bench_answer(config: Config, folder: Path | None = None, questions: int = QUESTIONS, askers: Sequence[int] = ASKERS) -> dict[str, Any]:
    """Our engine beside transformers' `generate()`, medians.

    Args:
        folder: a course folder with `questions.jsonl`; by default the sample course.
        questions: prompts of each length.
        askers: how many ask at once.
    """
    files = find_generator(config.generator, config.allow_downloads)
    decoding = Decoding(max_new_tokens=NEW_TOKENS)
    golden = [one for one in read_questions(_questions_of(folder)) if one.answerable and any("quote" in entry for entry in one.relevant)]
    if len(golden) < questions:
        raise LecternError(f"the question file has {len(golden)} questions with quotes; expected {questions} or more")
    model, tokenizer = in_own_thread(lambda: load_generator(files, config))
    plain = _plain(model, decoding)
    engine, _ = in_own_thread(lambda: open_engine(files, config))
    if not isinstance(engine, BatchingEngine):
        raise LecternError(f"{files.id} is computed by generate() itself on {model.device}: there is nothing to compare")
    figures: dict[str, Any] = {"model": files.id, "device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    for length, quotes in LENGTHS.items():
        prompts = [_prompt(golden, number, quotes, tokenizer) for number in range(questions)]
        figures |= {f"{length} {name}": value for name, value in _alone(prompts, decoding, engine, plain, model).items()}
    many = [_prompt(golden, number, LENGTHS["short"], tokenizer)[1] for number in range(2 * max(askers))]
    for count in askers:
        figures |= {f"{count} askers {name}": value for name, value in _together(many, count, engine, decoding).items()}
    engine.close()
    return figures


def _questions_of(folder: Path | None) -> Path:
    return (folder or Path(__file__).parent.parent / "corpora" / "llm-systems") / "questions.jsonl"


def _prompt(golden: Sequence[Golden], number: int, quotes: int | None, tokenizer: Any) -> tuple[list[int], list[int]]:
    """`(warming, prompt)`: another question over the same sources, and the question itself, in tokens."""
    around = [*golden[number:], *golden[:number]]
    texts = [str(entry["quote"]) for one in around for entry in one.relevant if "quote" in entry]

    def tokens(question: str, count: int) -> list[int]:
        sources = [(n, "Course", text) for n, text in enumerate(texts[:count], start=1)]
        return tokenize(build_messages(question, sources), tokenizer, "the generator")

    count = quotes or next((count for count in range(1, len(texts)) if len(tokens(ASKED_BEFORE, count + 1)) > LONG_TOKENS), len(texts))
    return tokens(ASKED_BEFORE, count), tokens(golden[number].question, count)


def _alone(
    prompts: Sequence[tuple[list[int], list[int]]], decoding: Decoding, engine: BatchingEngine, plain: Generate, model: Any
) -> dict[str, Any]:
    """One asker: each prompt by `generate()`, by the engine, and again when its sources have been read for another question."""
    found: dict[str, list[Timed]] = {"plain": [], "cold": [], "warm": []}
    _time(_by(engine, Decoding(max_new_tokens=1)), [0])  # starts the thread and its trial
    for warming, prompt in prompts:
        found["plain"].append(_time(plain, prompt))
        engine.forget()
        found["cold"].append(_time(_by(engine, decoding), prompt))
        engine.forget()
        _time(_by(engine, Decoding(max_new_tokens=1)), warming)
        found["warm"].append(_time(_by(engine, decoding), prompt))
    engine.forget()
    median = {
        f"{kind} {name}": statistics.median(getattr(one, name) for one in timed)
        for kind, timed in found.items()
        for name in ("first_s", "tokens_s", "total_s")
    }
    same = [ours.tokens == theirs.tokens for ours, theirs in zip(found["cold"], found["plain"], strict=True)]
    gaps = [
        _gap(prompt, ours.tokens, theirs.tokens, model)
        for (_, prompt), ours, theirs in zip(prompts, found["cold"], found["plain"], strict=True)
        if ours.tokens != theirs.tokens
    ]
    return {
        "prompt_tokens": statistics.median(len(prompt) for _, prompt in prompts),
        **median,
        "first_token_ratio": median["plain first_s"] / median["cold first_s"],
        "tokens_s_ratio": median["cold tokens_s"] / median["plain tokens_s"],
        "identical_answers": sum(same) / len(same),
        "warm_as_cold": statistics.mean(warm.tokens == cold.tokens for warm, cold in zip(found["warm"], found["cold"], strict=True)),
        "largest_logit_gap": max(gaps, default=None),
    }


def _gap(prompt: Sequence[int], ours: Sequence[int], theirs: Sequence[int], model: Any) -> float:
    """How much more transformers' logit of its own token is than that of ours, at the first token that differs."""
    import torch

    shared = next((place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    if shared is None:
        return 0.0  # one ended where the other went on to its limit

    def read() -> torch.Tensor:
        with torch.inference_mode():
            return model(torch.tensor([[*prompt, *theirs[:shared]]], device=model.device), logits_to_keep=1).logits[0, -1].float()

    logits = in_own_thread(read)
    return float(logits[theirs[shared]] - logits[ours[shared]])


def _by(engine: BatchingEngine, decoding: Decoding) -> Generate:
    def generate(prompt: list[int]) -> Iterator[Arrived]:
        for tokens in engine.generate(prompt, decoding):
            if tokens:
                yield time.perf_counter(), tokens

    return generate


def _plain(model: Any, decoding: Decoding) -> Generate:
    """`generate()` as its documentation writes it, greedy; its first token is timed by a streamer."""

    def generate(prompt: list[int]) -> Iterable[Arrived]:
        import torch

        arrived: list[Arrived] = []

        class Streamer:
            def put(self, tokens: Any) -> None:
                arrived.append((time.perf_counter(), tokens.reshape(-1).tolist()))

            def end(self) -> None:
                pass

        ids = torch.tensor([prompt], device=model.device)
        settings = {"do_sample": False, "max_new_tokens": decoding.max_new_tokens, "streamer": Streamer()}

        def run() -> None:
            with torch.inference_mode():
                model.generate(ids, attention_mask=torch.ones_like(ids), **settings)

        in_own_thread(run)
        return arrived[1:]  # the first is the prompt

    return generate


def _time(generate: Generate, prompt: list[int]) -> Timed:
    started = time.perf_counter()
    arrived = list(generate(prompt))
    return Timed(arrived[0][0] - started, time.perf_counter() - started, [token for _, tokens in arrived for token in tokens])


def _together(prompts: Sequence[list[int]], count: int, engine: BatchingEngine, decoding: Decoding) -> dict[str, Any]:
    """So many ask one question after the other, all at once."""
    asked = iter(prompts)
    found: list[Timed] = []
    lock = threading.Lock()

    def ask() -> None:
        while True:
            with lock:
                prompt = next(asked, None)
            if prompt is None:
                return
            timed = _time(_by(engine, decoding), prompt)
            with lock:
                found.append(timed)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    engine.forget()
    return {
        "tokens_s": sum(len(one.tokens) for one in found) / seconds,
        "first_s": statistics.median(one.first_s for one in found),
        "total_s": statistics.median(one.total_s for one in found),
    }
