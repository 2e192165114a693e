import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rag.likelihood import Likelihood, likelihood_of_answer
from rag.types import Turn


class LetterTokenizer:
    """Each letter is a token; a prompt is its contents, one after the other."""

    all_special_tokens: tuple[str, ...] = ()

    def apply_chat_template(self, chat: list[dict[str, str]], **_: Any) -> dict[str, list[int]]:
        return self("".join(turn["content"] for turn in chat))

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) - ord("a") for letter in text]}


class RepeatingModel:
    """Of four letters, the one before is three times as likely as each other."""

    device = "cpu"

    def __call__(self, tokens: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.nn.functional.one_hot(tokens, 4) * math.log(3.0))


def test_each_token_is_given_those_before_it() -> None:
    found = likelihood_of_answer(RepeatingModel(), LetterTokenizer(), [Turn("user", "ab")], "bbc")
    assert found.tokens == 3
    assert found.log_likelihood == pytest.approx(2 * math.log(3 / 6) + math.log(1 / 6))


def test_nats_per_token_by_hand() -> None:
    assert Likelihood(-4 * math.log(7), 4).nats_per_token == pytest.approx(math.log(7))


@pytest.mark.models
def test_the_bundled_generator_finds_the_answer_likelier_than_another() -> None:
    from rag.config import BUNDLED, Config
    from rag.models import find_generator, load_generator

    model, tokenizer = load_generator(find_generator(BUNDLED, False), Config())
    prompt = [Turn("user", "Each late day costs 5 points. How many points does a late day cost?")]
    right, wrong = (likelihood_of_answer(model, tokenizer, prompt, text).nats_per_token for text in ("5 points", "12 bananas"))
    assert right + math.log(10) < wrong
