"""The reader as torch fits it: a BERT encoder with two heads, and the loss over labelled pairs. `rag.reader` computes the same in use."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear, log_softmax, pad
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertPreTrainedModel
from transformers.utils import ModelOutput

NEVER = -1e4
"""Instead of a logit that must not be chosen; -inf would make nan of the gradient."""
AT_ONCE = 8


@dataclass
class ReaderOutput(ModelOutput):
    """Logits of every token of a batch `(pairs, tokens)`, of every pair `(pairs,)`, and the loss where there were labels."""

    loss: Tensor | None = None
    starts: Tensor | None = None
    ends: Tensor | None = None
    answers: Tensor | None = None
    relevance: Tensor | None = None


class ReaderModel(BertPreTrainedModel):
    """`bert` with `span` (start and end, of every token) and `judge` (answers and relevance, of `[CLS]`)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.span = nn.Linear(config.hidden_size, 2)
        self.judge = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        in_text: Tensor,
        spans: Tensor | None = None,
        answers: Tensor | None = None,
        relevant: Tensor | None = None,
        example: Tensor | None = None,
    ) -> ReaderOutput:
        """
        Args:
            in_text: `(pairs, tokens) bool`: the passage's text, where an answer may be.
            spans: `(pairs, spans, 2) int`: first and last token of each right span, -1 where there is none.
            answers: `(pairs,) float`: 1 where the passage answers; `relevant` likewise.
            example: `(pairs,) int`: pairs with the same number are of one question.
        """
        states = self._states(input_ids, attention_mask)
        starts, ends = self.span(states).float().masked_fill(~in_text[..., None], NEVER).unbind(-1)
        judged = linear(states[:, 0], self.judge.weight, self.judge.bias).float()
        loss = None
        if answers is not None:
            assert spans is not None
            assert relevant is not None
            assert example is not None
            loss = (
                span_loss(starts, ends, spans)
                + binary_cross_entropy_with_logits(judged[:, 0], answers)
                + ranking_loss(judged[:, 1], relevant, example)
            )
        return ReaderOutput(loss, starts, ends, judged[:, 0], judged[:, 1])

    def _states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """`(pairs, tokens, hidden)`, computed for `AT_ONCE` pairs of similar length at a time: together, a third would be padding."""
        lengths = attention_mask.sum(1)
        order = lengths.argsort()
        parts = []
        for chosen in order.split(AT_ONCE):
            longest = int(lengths[chosen].max())
            given = input_ids[chosen, :longest]
            states = self.bert(
                input_ids=given, attention_mask=attention_mask[chosen, :longest], token_type_ids=torch.zeros_like(given)
            ).last_hidden_state
            parts.append(pad(states, (0, 0, 0, input_ids.shape[1] - longest)))
        return torch.cat(parts)[order.argsort()]


def span_loss(starts: Tensor, ends: Tensor, spans: Tensor) -> Tensor:
    """How unlikely the right spans are, taken together: a passage that says it twice may be marked in either place. 0 without any span."""
    is_there = spans[..., 0] >= 0
    first, last = spans.clamp(min=0).unbind(-1)
    likelihood = log_softmax(starts, 1).gather(1, first) + log_softmax(ends, 1).gather(1, last)
    of_pair = torch.logsumexp(likelihood.masked_fill(~is_there, NEVER), 1)[is_there.any(1)]
    return -of_pair.mean() / 2 if len(of_pair) else starts.sum() * 0


def ranking_loss(relevance: Tensor, relevant: Tensor, example: Tensor) -> Tensor:
    """Listwise: the softmax over the passages of a question should lie on those that are relevant. Questions without any do not count."""
    losses = []
    for number in example.unique():
        of_question = example == number
        wanted = relevant[of_question]
        if 0 < wanted.sum() < len(wanted):
            losses.append(-(log_softmax(relevance[of_question], 0) * wanted).sum() / wanted.sum())
    return torch.stack(losses).mean() if losses else relevance.sum() * 0
