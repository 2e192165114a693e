"""What a reader is told instead of an answer. Code's words, never a generator's."""

from __future__ import annotations

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


def _in_words(searched: Scope) -> str:
    """A scope as a reader knows it: `llm-systems (slides, week 3)`."""
    kept = [searched.material, searched.path, searched.format]
    kept += [f"{kind} {number}" for kind in ("week", "lecture") if (number := getattr(searched, kind)) is not None]
    narrowed = ", ".join(part for part in kept if part)
    return f"{searched.course} ({narrowed})" if narrowed else searched.course
