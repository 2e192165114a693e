from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, HumanMessage

from rag.context import estimate_tokens, fit_prompt, prompt_sources
from rag.errors import GeneratorUnavailable
from rag.evidence import Evidence
from rag.prompts import Prompt
from rag.types import Chunk, Hit, Location, LocationKind, Passage, Turn

BARE = Prompt("S", "{sources}|{question}", "[{n} {context}] {text}")
"""A prompt whose words can be counted by hand: the system's is 1."""


def count_words(messages: Sequence[BaseMessage]) -> int:
    return sum(len(message.text.split()) for message in messages)


def statement(text: str, rank: int = 1, context: str = "the page") -> Evidence:
    chunk = Chunk(text, 0, len(text), Location(LocationKind.PAGE, 1), context)
    return Evidence(Hit(Passage(rank, "c", f"{rank}.md", "T", chunk), rank, 1.0), 0, len(text), 0.5, 0.5)


def exchanges(count: int) -> list[Turn]:
    return [Turn(role, f"{role} says {number} now") for number in range(count) for role in ("user", "assistant")]  # 4 words each


def fit(longest: int, statements: int = 3, turns: int = 2, history_tokens: int = 1000):  # type: ignore[no-untyped-def]
    evidence = [statement(f"fact {rank} is true", rank) for rank in range(1, statements + 1)]  # "[1 the page] fact 1 is true": 7 words
    return fit_prompt("why now?", evidence, exchanges(turns), BARE, count_words, longest, history_tokens)


def test_all_that_fits_is_given_and_its_parts_add_up() -> None:
    fitted = fit(longest=100)
    assert fitted.notices == ()
    assert [message.type for message in fitted.messages] == ["system", "human", "ai", "human", "ai", "human"]
    # 1 for the system and 1 for the empty question's bar; "why" joins it, "now?" is one more; 4 messages of 4 words; 21 words of sources
    assert fitted.tokens == {"system": 2, "history": 16, "sources": 20, "question": 1}
    assert sum(fitted.tokens.values()) == count_words(fitted.messages) == 39


@pytest.mark.parametrize(
    ("longest", "messages", "statements", "context", "notices"),
    [
        (39, 4, 3, True, ()),
        (38, 2, 3, True, ("2 earlier messages did not fit into the prompt",)),
        (30, 0, 3, True, ("4 earlier messages did not fit into the prompt",)),
        (22, 0, 2, True, ("4 earlier messages did not fit into the prompt", "1 statement of the materials did not fit into the prompt")),
        (
            8,
            0,
            1,
            False,
            (
                "4 earlier messages did not fit into the prompt",
                "2 statements of the materials did not fit into the prompt",
                "the titles of the sources did not fit into the prompt",
            ),
        ),
    ],
)
def test_older_turns_go_first_then_weaker_statements_then_context(
    longest: int, messages: int, statements: int, context: bool, notices: tuple[str, ...]
) -> None:
    fitted = fit(longest)
    asked = fitted.messages[-1].text
    assert len(fitted.messages) - 2 == messages
    assert [f"fact {rank} is true" in asked for rank in (1, 2, 3)] == [rank <= statements for rank in (1, 2, 3)]
    assert ("the page" in asked) is context
    assert fitted.notices == notices


def test_the_newest_exchanges_are_kept_within_their_own_budget() -> None:
    fitted = fit(longest=1000, turns=3, history_tokens=17)
    assert [message.text for message in fitted.messages[1:-1]] == [
        "user says 1 now", "assistant says 1 now", "user says 2 now", "assistant says 2 now",
    ]  # fmt: skip
    assert fitted.notices == ("2 earlier messages did not fit into the prompt",)
    assert len(fit(longest=1000, history_tokens=0).messages) == 2


def test_what_cannot_fit_at_all_is_said() -> None:
    with pytest.raises(GeneratorUnavailable, match="has 8 tokens with one statement, but the generator reads 7"):
        fit(longest=7, statements=1)


def test_the_order_is_the_reading_order_and_passages_stay_together() -> None:
    first = statement("late in one", 2)
    evidence = [first, statement("alone", 1), Evidence(first.hit, 0, 4, 0.1, 0.1)]
    assert prompt_sources(evidence) == [(1, "the page", "alone"), (2, "the page", "late in one late")]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 5), st.integers(1, 200), st.integers(0, 60))
def test_a_prompt_fits_or_is_refused_and_statements_stay_whole(lengths: list[int], turns: int, longest: int, history_tokens: int) -> None:
    texts = [" ".join(f"w{rank}" for _ in range(length)) for rank, length in enumerate(lengths)]
    evidence = [statement(text, rank) for rank, text in enumerate(texts, 1)]
    try:
        fitted = fit_prompt("q", evidence, exchanges(turns), BARE, count_words, longest, history_tokens)
    except GeneratorUnavailable:
        assert longest < 1 + 1 + 2 + lengths[0] + 1
        return
    assert sum(fitted.tokens.values()) == count_words(fitted.messages) <= longest
    asked = fitted.messages[-1].text.removesuffix("|q")
    whole = [source.split("] ", 1)[1] for source in asked.split("\n\n")]
    assert whole == texts[: len(whole)]


def test_an_estimate_is_on_the_safe_side() -> None:
    assert estimate_tokens([HumanMessage("a" * 32)]) == 10 + 16
    assert estimate_tokens([HumanMessage("注意力机制")]) == 5 + 16


@pytest.mark.models
def test_the_bundled_generator_counts_its_own_tokens(sample_engine) -> None:  # type: ignore[no-untyped-def]
    from rag.answer import answer
    from rag.types import Scope

    given = answer("When is assignment 1 due?", Scope("llm-systems"), sample_engine)
    assert sum(given.prompt_parts.values()) == given.prompt_tokens
    assert given.prompt[0].role == "system"
    assert given.prompt[-1].content.endswith("Question: When is assignment 1 due?")
    assert estimate_tokens([HumanMessage(turn.content) for turn in given.prompt]) >= 0.9 * given.prompt_tokens
