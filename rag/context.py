"""What goes into a prompt, by rule, within what the generator reads.

Given up in this order until it fits: older exchanges, then the weakest statements, then the lines that say where a statement stands. A
statement goes whole or stays whole, and one at least stays. Whatever was left out is said. Counted by the generator's own tokenizer where
that runs in this process; for a server it is an estimate, on the safe side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from rag.errors import GeneratorUnavailable
from rag.evidence import Evidence
from rag.prompts import Prompt, build_messages
from rag.types import Turn

CountTokens = Callable[[Sequence[BaseMessage]], int]
"""Tokens of a whole prompt, the chat format's own included."""

ASCII_CHARACTERS_A_TOKEN = 3.2
"""Fewer than tokenizers need for English prose (4 and more), as numbers and code take more tokens; other characters count one each."""
MESSAGE_TOKENS = 8
"""What a chat format adds to a message."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The messages to send, what was left out of them in words, and the tokens of their parts (system, history, sources, question)."""

    messages: tuple[BaseMessage, ...]
    notices: tuple[str, ...]
    tokens: dict[str, int]


def fit_prompt(
    question: str,
    statements: Sequence[Evidence],
    history: Sequence[Turn],
    prompt: Prompt,
    count: CountTokens,
    longest: int,
    history_tokens: int,
) -> Fitted:
    """The prompt for a question, trimmed where it must be.

    Args:
        statements: the strongest first.
        longest: tokens that the prompt may have.
        history_tokens: of these, for earlier messages.

    Raises:
        GeneratorUnavailable: not even the question with its strongest statement fits.
    """
    exchanges = _exchanges(history)
    kept, sources, has_context = len(exchanges), list(statements), True

    def turns() -> list[Turn]:
        return [turn for exchange in exchanges[len(exchanges) - kept :] for turn in exchange]

    def built() -> list[BaseMessage]:
        return build_messages(question, prompt_sources(sources, has_context), turns(), prompt)

    alone = count(build_messages(question, [], (), prompt))
    while kept and count(build_messages(question, [], turns(), prompt)) - alone > history_tokens:
        kept -= 1
    while (total := count(built())) > longest:
        if kept:
            kept -= 1
        elif len(sources) > 1:
            sources.pop()
        elif has_context:
            has_context = False
        else:
            raise GeneratorUnavailable(
                f"the prompt has {total} tokens with one statement, but the generator reads {longest} beside its answer; "
                "ask a shorter question, or use a generator that reads more"
            )
    notices = _left_out(len(history) - len(turns()), len(statements) - len(sources), not has_context)
    return Fitted(tuple(built()), notices, _parts(question, turns(), prompt, count, alone, total))


def prompt_sources(statements: Sequence[Evidence], has_context: bool = True) -> list[tuple[int, str, str]]:
    """`(number, context, text)`: the statements grouped by passage, in reading order."""
    by_passage: dict[int, list[Evidence]] = {}
    for one in sorted(statements, key=lambda one: (one.hit.rank, one.start)):
        by_passage.setdefault(one.hit.passage.chunk_id, []).append(one)
    return [
        (n, found[0].hit.passage.chunk.context if has_context else "", " ".join(one.text for one in found))
        for n, found in enumerate(by_passage.values(), start=1)
    ]


def estimate_tokens(messages: Sequence[BaseMessage]) -> int:
    """About how many tokens a prompt has, for a tokenizer that is not at hand."""
    texts = [message.text for message in messages]
    plain = sum(sum(map(str.isascii, text)) for text in texts)
    return round(plain / ASCII_CHARACTERS_A_TOKEN) + sum(map(len, texts)) - plain + MESSAGE_TOKENS * (len(texts) + 1)


def _exchanges(history: Sequence[Turn]) -> list[list[Turn]]:
    """The messages by exchange, each begun by the reader: chat formats expect the roles in turn."""
    exchanges: list[list[Turn]] = []
    for turn in history:
        if turn.role == "user":
            exchanges.append([turn])
        elif exchanges:
            exchanges[-1].append(turn)
    return [exchange for exchange in exchanges if [turn.role for turn in exchange] == ["user", "assistant"]]


def _left_out(messages: int, statements: int, context: bool) -> tuple[str, ...]:
    def told(count: int, one: str, several: str) -> str:
        return f"{count} {one if count == 1 else several} did not fit into the prompt"

    return tuple(
        notice
        for notice, is_so in (
            (told(messages, "earlier message", "earlier messages"), messages > 0),
            (told(statements, "statement of the materials", "statements of the materials"), statements > 0),
            ("the titles of the sources did not fit into the prompt", context),
        )
        if is_so
    )


def _parts(question: str, turns: Sequence[Turn], prompt: Prompt, count: CountTokens, asked: int, total: int) -> dict[str, int]:
    """The tokens of each part. The frames of the chat format and of the question count to the system's, which they belong to."""
    system = count(build_messages("", [], (), prompt))
    with_history = count(build_messages(question, [], turns, prompt)) if turns else asked
    return {"system": system, "history": with_history - asked, "sources": total - with_history, "question": asked - system}
