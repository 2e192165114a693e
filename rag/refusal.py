"""What a reader is told instead of an answer. Code's words, never a generator's: of one that writes the phrase itself nothing is shown."""

from __future__ import annotations

from rag.ground import without_verdict
from rag.prompts import REFUSAL
from rag.types import Scope


def refusal(searched: Scope, documents: int, nearest: bool) -> str:
    """That there is no answer, what was searched, and what to do. Begins with `REFUSAL`.

    Args:
        searched: what the question could see.
        documents: how many documents that is.
        nearest: whether passages are shown beside it.
    """
    if not documents:
        return f"{REFUSAL} There is nothing to search: no document of {_in_words(searched)} is visible."
    there = f"{documents} document{'s' if documents != 1 else ''}"
    more = " The passages below come nearest; they may still help." if nearest else " No passage comes near."
    return f"{REFUSAL} Searched {there} of {_in_words(searched)}.{more} Try other words, or ask the course staff."


def declines(text: str) -> bool:
    """Whether a generator's text begins with the refusal phrase as a sentence of its own."""
    said = _plain(text)
    return said.startswith(_PHRASE) and said[len(_PHRASE) :][:1] in ("", ".", "!")


def may_decline(text: str) -> bool:
    """Whether a generator's text, as far as it has come, may become the refusal phrase or is it."""
    return _PHRASE.startswith(_plain(text)) or declines(text)


def _plain(text: str) -> str:
    return " ".join(without_verdict(text).split()).lower()


_PHRASE = _plain(REFUSAL).removesuffix(".")


def _in_words(searched: Scope) -> str:
    """A scope as a reader knows it: `llm-systems (slides, week 3)`."""
    kept = [searched.material, searched.path, searched.format]
    kept += [f"{kind} {number}" for kind in ("week", "lecture") if (number := getattr(searched, kind)) is not None]
    narrowed = ", ".join(part for part in kept if part)
    return f"{searched.course} ({narrowed})" if narrowed else searched.course
