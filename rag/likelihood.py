"""How likely a causal LM of this process finds a text as the answer to a prompt; LangChain has no call for that. Needs transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rag.generate import tokenize
from rag.lane import COMPUTE_LANE
from rag.prompts import as_messages
from rag.types import Turn


@dataclass(frozen=True, slots=True)
class Likelihood:
    """`log_likelihood` in nats, summed over the `tokens` of the text."""

    log_likelihood: float
    tokens: int

    @property
    def nats_per_token(self) -> float:
        return -self.log_likelihood / self.tokens


def likelihood_of_answer(model: Any, tokenizer: Any, prompt: Sequence[Turn], text: str) -> Likelihood:
    """The likelihood of `text` right after the prompt in the model's chat format, every token given those before it.

    Args:
        model: a transformers causal LM, `tokenizer` its own.
    """
    import torch

    given = tokenize(as_messages(prompt), tokenizer, "the generator")
    wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not wanted:
        return Likelihood(0.0, 1)
    tokens = torch.tensor([[*given, *wanted]], device=model.device)
    with COMPUTE_LANE, torch.inference_mode():
        logits = model(tokens).logits[0, len(given) - 1 : -1]  # (tokens of the text, vocabulary)
        nats = logits.float().log_softmax(-1).gather(1, tokens[0, len(given) :, None])
    return Likelihood(float(nats.sum()), len(wanted))
