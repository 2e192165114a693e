from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rag.batching import BatchingEngine, PrefixCache, PromptLookup, shared_length
from rag.decoder import KeyValues, LlamaDecoder, Reading, read_decoder_recipe
from rag.errors import GeneratorUnavailable
from rag.types import Decoding
from support import generating_threads

END = 96
PROMPTS = [[1, 2, 3, 4, 5], [1, 2, 3, 9], [40, 41, 42, 40, 41, 42, 40, 41], [7]]


@pytest.fixture(params=[0, 10], ids=["one by one", "guessing"])
def engine(decoder: LlamaDecoder, request: pytest.FixtureRequest) -> Iterator[BatchingEngine]:
    made = BatchingEngine(decoder, frozenset({END}), slots=4, guess_tokens=request.param, cache_mb=8)
    yield made
    made.close()


def greedy(decoder: LlamaDecoder, prompt: Sequence[int], count: int) -> list[int]:
    """What comes when one token after the other is read alone."""
    past, tokens = decoder.start(), list(prompt)
    read: Sequence[int] = prompt
    for _ in range(count):
        tokens.append(int(decoder.read([Reading(read, past)])[0].argmax()))
        read = tokens[-1:]
        if tokens[-1] == END:
            break
    return tokens[len(prompt) :]


def flat(lists: Iterator[list[int]]) -> list[int]:
    return [token for tokens in lists for token in tokens]


def test_all_get_what_each_would_get_alone(engine: BatchingEngine, decoder: LlamaDecoder) -> None:
    expected = [greedy(decoder, prompt, 30) for prompt in PROMPTS]
    for _ in range(2):  # the second time from the prefix cache
        generations = [engine.generate(prompt, Decoding(max_new_tokens=30)) for prompt in PROMPTS]
        assert [flat(iter(generation)) for generation in generations] == expected
    assert [generation.reused_tokens for generation in generations] == [4, 3, 7, 0]


def test_more_than_the_slots_wait_and_are_served(decoder: LlamaDecoder) -> None:
    engine = BatchingEngine(decoder, frozenset({END}), slots=2, guess_tokens=0, cache_mb=8)
    generations = [engine.generate([number, number + 1], Decoding(max_new_tokens=5)) for number in range(12)]
    assert [flat(iter(one)) for one in generations] == [greedy(decoder, [number, number + 1], 5) for number in range(12)]
    assert engine.load.tokens == sum(len(greedy(decoder, [number, number + 1], 5)) for number in range(12))
    engine.close()


def test_a_seed_repeats_an_answer_whoever_else_asks(engine: BatchingEngine) -> None:
    decoding = Decoding(temperature=1.5, top_k=20, top_p=0.95, repetition_penalty=1.2, max_new_tokens=20, seed=3)
    alone = flat(iter(engine.generate(PROMPTS[0], decoding)))
    others = [engine.generate(prompt, Decoding(temperature=1.0, max_new_tokens=20, seed=9)) for prompt in PROMPTS]
    assert flat(iter(engine.generate(PROMPTS[0], decoding))) == alone
    assert flat(iter(engine.generate(PROMPTS[0], Decoding(temperature=1.5, max_new_tokens=20, seed=4)))) != alone
    for other in others:
        other.close()


def test_300_cancels_leave_nothing_behind(decoder: LlamaDecoder) -> None:
    before = generating_threads()
    engine = BatchingEngine(decoder, frozenset(), slots=4, guess_tokens=4, cache_mb=8)
    for number in range(300):
        generation = engine.generate([number % 90, 3], Decoding(max_new_tokens=120))
        tokens = iter(generation)
        for _ in range(number % 4):
            next(tokens)
        generation.close()
    assert flat(iter(engine.generate([1, 2], Decoding(max_new_tokens=4)))) != []
    assert engine.load.active == engine.load.waiting == 0
    assert engine.load.tokens < 300 * 20, "work went on after a cancel"
    engine.close()
    assert generating_threads() == before


class NarrowDecoder:
    """Fails as torch does without memory whenever a pass reads a certain token, or more than so many sequences."""

    def __init__(self, decoder: LlamaDecoder, poison: int, most: int) -> None:
        self._decoder, self._poison, self._most = decoder, poison, most
        self.recipe, self.is_on_cpu, self.bytes_per_token = decoder.recipe, True, decoder.bytes_per_token

    def start(self, *arguments: Any) -> KeyValues:
        return self._decoder.start(*arguments)

    def read(self, readings: Sequence[Reading]) -> torch.Tensor:
        if len(readings) > self._most or any(self._poison in reading.tokens for reading in readings):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory")
        return self._decoder.read(readings)


def test_without_memory_one_answer_fails_and_the_others_go_on(decoder: LlamaDecoder) -> None:
    expected = greedy(decoder, [1, 2, 3], 10)
    poison = next(token for token in range(90, 0, -1) if token not in (*expected, 1, 2, 3))
    engine = BatchingEngine(NarrowDecoder(decoder, poison, 2), frozenset({END}), slots=4, guess_tokens=0, cache_mb=8)  # type: ignore[arg-type]
    good = [engine.generate([1, 2, 3], Decoding(max_new_tokens=10)) for _ in range(3)]
    bad = engine.generate([1, poison], Decoding(max_new_tokens=10))
    with pytest.raises(GeneratorUnavailable, match="can't allocate memory"):
        flat(iter(bad))
    assert [flat(iter(one)) for one in good] == [expected] * 3
    assert flat(iter(engine.generate([1, 2, 3], Decoding(max_new_tokens=10)))) == expected
    engine.close()


def test_who_cannot_be_drawn_for_fails_alone(engine: BatchingEngine, decoder: LlamaDecoder) -> None:
    """Scores overflow at such a temperature; those who were read in the same pass must not be read twice."""
    before = engine.generate(PROMPTS[0], Decoding(max_new_tokens=20))
    bad = engine.generate(PROMPTS[1], Decoding(temperature=1e-39, max_new_tokens=20))
    after = engine.generate(PROMPTS[2], Decoding(max_new_tokens=20))
    with pytest.raises(GeneratorUnavailable, match="failed for this answer"):
        flat(iter(bad))
    assert flat(iter(before)) == greedy(decoder, PROMPTS[0], 20)
    assert flat(iter(after)) == greedy(decoder, PROMPTS[2], 20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_leaves_nobody_waiting_and_the_next_question_works(decoder: LlamaDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = BatchingEngine(decoder, frozenset({END}), slots=4, guess_tokens=0, cache_mb=8)
    with monkeypatch.context() as broken:
        broken.setattr(engine, "_parts", lambda: {}["a fault"])
        with pytest.raises(GeneratorUnavailable, match="has stopped"):
            flat(iter(engine.generate([1, 2], Decoding(max_new_tokens=5))))
    assert flat(iter(engine.generate([1, 2], Decoding(max_new_tokens=5)))) == greedy(decoder, [1, 2], 5)
    engine.close()


def test_what_was_read_can_be_forgotten(engine: BatchingEngine) -> None:
    def reused() -> int:
        generation = engine.generate(PROMPTS[0], Decoding(max_new_tokens=2))
        flat(iter(generation))
        return generation.reused_tokens

    assert (reused(), reused()) == (0, 4)
    engine.forget()
    assert (reused(), reused()) == (0, 4)


def test_what_cannot_fit_is_refused_at_once(decoder: LlamaDecoder, tiny_llama: Path) -> None:
    engine = BatchingEngine(decoder, frozenset(), slots=4, guess_tokens=0, cache_mb=8)
    with pytest.raises(GeneratorUnavailable, match="the prompt has 100 tokens and the answer may have 29, but .* takes 128 in all"):
        engine.generate([1] * 100, Decoding(max_new_tokens=29))
    with pytest.raises(GeneratorUnavailable, match="more than generator_cache_mb = 0; raise it, or lower context_tokens"):
        BatchingEngine(decoder, frozenset(), slots=4, guess_tokens=0, cache_mb=0).generate([1], Decoding(max_new_tokens=1))
    engine.close()
    with pytest.raises(GeneratorUnavailable, match="shut down"):
        engine.generate([1], Decoding(max_new_tokens=1))
    assert read_decoder_recipe(tiny_llama).max_tokens == 128


def test_guesses_are_what_followed_the_longest_match() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 9, 2, 3])
    assert lookup.guess(3) == [4, 9, 2]
    lookup.add(8)
    assert lookup.guess(3) == []
    lookup.add(3)
    assert lookup.guess(2) == [8, 3]  # the latest of several
    assert PromptLookup().guess(3) == []


@given(st.lists(st.integers(0, 3)), st.integers(1, 5))
def test_a_guess_has_stood_there(tokens: list[int], most: int) -> None:
    guess = PromptLookup(tokens).guess(most)
    assert len(guess) <= most
    if guess:
        assert any(tokens[at - 1] == tokens[-1] and tokens[at : at + len(guess)] == guess for at in range(1, len(tokens)))


def test_prefixes_are_kept_up_to_the_limit_and_the_least_used_goes_first(decoder: LlamaDecoder) -> None:
    def read(length: int) -> KeyValues:
        past = decoder.start(64)
        past.length = length
        return past

    cache = PrefixCache(3 * read(1).bytes)
    for first in (1, 2, 3):
        cache.keep([first, 10, 11], read(3))
    assert cache.longest([1, 10, 12])[1] == 2
    cache.keep([4, 10], read(2))
    assert [cache.longest([first, 10, 11])[1] for first in (1, 2, 3, 4)] == [3, 0, 3, 2]
    cache.keep([4, 10, 20], read(3))  # its beginning is not needed any more
    assert cache.bytes == 3 * read(1).bytes
    cache.shrink(0)
    assert cache.longest([4, 10]) == (None, 0)


@pytest.mark.parametrize(("one", "other", "length"), [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2], [2, 2], 0)])
def test_shared_length(one: list[int], other: list[int], length: int) -> None:
    assert shared_length(one, other) == length
