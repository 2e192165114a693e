"""How long an answer took, by stage, in words: what the foot of an answer and the insights page show. No Streamlit here."""

from __future__ import annotations

from rag.types import Latency

STAGES: dict[str, tuple[str, str]] = {
    "cache": ("Look for an earlier answer", "#d9d9d9"),
    "prepared": ("Prepared while you read", "#6a994e"),
    "understand": ("Understand the question", "#8c6bb1"),
    "embed": ("Embed the question", "#2b6cb0"),
    "dense": ("Search by meaning", "#4a9fd8"),
    "lexical": ("Search by words", "#7cc4e8"),
    "fuse": ("Merge results", "#a9d6e5"),
    "rerank": ("Rerank", "#1a7f8e"),
    "read": ("Read the passages", "#14606b"),
    "compose": ("Put passages together", "#5fb3b3"),
    "evidence": ("Weigh the evidence", "#2a9d8f"),
    "load": ("Load the generator, once", "#c9b458"),
    "prompt": ("Build the prompt", "#8ab17d"),
    "queue": ("Wait for a turn", "#b8b8b8"),
    "prefill": ("Read the prompt", "#e9b44c"),
    "decode": ("Write the answer", "#e07a3f"),
    "ground": ("Check the answer", "#b5446e"),
    "other": ("Other", "#8a94a3"),
}
"""Stage → its name in words and its colour, in the order in which the stages run."""
UNKNOWN = "#6f7985"


def summary(latency: Latency, completion_tokens: int = 0, cached: bool = False) -> str:
    """`Answered in 2.3 s · first word after 1.0 s · 41 tokens, 32 a second`."""
    parts = [f"Answered in {in_words(latency.total)}"]
    if cached:
        return f"{parts[0]} · from the cache: an earlier answer to the same question"
    first = latency.first_token_ms
    if first is not None:
        parts.append(f"first word after {in_words(first)}")
    decode = latency.stages.get("decode", 0.0)
    if completion_tokens and decode > 0:
        parts.append(f"{completion_tokens} tokens, {1000 * completion_tokens / decode:.0f} a second")
    return " · ".join(parts)


def in_words(milliseconds: float) -> str:
    """`2.3 s`, `140 ms`, `0.8 ms`."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def stage_rows(latency: Latency) -> list[dict[str, str | float]]:
    """One row a stage, in the order they run; stages this version does not know come last, under their own name."""
    ordered = sorted(latency.stages.items(), key=lambda item: list(STAGES).index(item[0]) if item[0] in STAGES else len(STAGES))
    total = latency.total or 1.0
    return [
        {
            "name": STAGES[stage][0] if stage in STAGES else stage,
            "colour": STAGES[stage][1] if stage in STAGES else UNKNOWN,
            "ms": max(milliseconds, 0.0),
            "time": in_words(max(milliseconds, 0.0)),
            "share": f"{max(milliseconds, 0.0) / total:.0%}",
        }
        for stage, milliseconds in ordered
    ]
