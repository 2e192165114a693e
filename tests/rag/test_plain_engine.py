from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rag.decoder import LlamaDecoder
from rag.errors import GeneratorUnavailable
from rag.plain_engine import PlainEngine
from rag.types import Decoding
from support import generating_threads

TOKENIZER = SimpleNamespace(eos_token_id=96)
PROMPT = [1, 2, 3, 4, 5]


@pytest.fixture
def engine(tiny_llama: Path) -> Iterator[PlainEngine]:
    from transformers import LlamaForCausalLM

    made = PlainEngine(LlamaForCausalLM.from_pretrained(tiny_llama), TOKENIZER, guess_tokens=0)
    yield made
    made.close()


def tokens_of(engine: PlainEngine, **decoding: float) -> list[int]:
    generation = engine.generate(PROMPT, Decoding(**{"max_new_tokens": 12} | decoding))  # type: ignore[arg-type]
    return [token for tokens in generation for token in tokens]


def test_greedy_tokens_are_those_of_our_decoder(engine: PlainEngine, decoder: LlamaDecoder) -> None:
    from rag.batching import BatchingEngine

    ours = BatchingEngine(decoder, frozenset({96}), slots=1, guess_tokens=0, cache_mb=8)
    assert tokens_of(engine) == [token for tokens in ours.generate(PROMPT, Decoding(max_new_tokens=12)) for token in tokens]
    ours.close()


def test_a_seed_repeats_a_sample(engine: PlainEngine) -> None:
    sampled = [tokens_of(engine, temperature=2.0, top_p=0.9, top_k=50, repetition_penalty=1.1, seed=seed) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]


def test_beams_come_at_once_and_whole(engine: PlainEngine) -> None:
    told = list(engine.generate(PROMPT, Decoding(num_beams=3, max_new_tokens=6)))
    assert len(told) == 1
    assert 1 <= len(told[0]) <= 6


def test_closing_ends_the_work_within_a_token_and_the_thread_with_it(engine: PlainEngine) -> None:
    before = generating_threads()
    generation = engine.generate(PROMPT, Decoding(max_new_tokens=120))
    assert len(next(iter(generation))) == 1
    generation.close()
    engine.close()
    assert generating_threads() <= before


def test_what_goes_wrong_is_told_to_the_one_who_asked(engine: PlainEngine) -> None:
    with pytest.raises(GeneratorUnavailable, match="the generator failed"):
        list(engine.generate([500], Decoding(max_new_tokens=4)))  # the vocabulary has 97 tokens
    assert len(tokens_of(engine)) == 12
    with pytest.raises(GeneratorUnavailable, match="lower context_tokens or max_new_tokens"):
        engine.generate(PROMPT, Decoding(max_new_tokens=124))
