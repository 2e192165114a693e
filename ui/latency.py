"""How long an answer took, by stage: a line of text, a stacked bar in the order the stages ran, a table."""

from __future__ import annotations

import altair
import pandas  # type: ignore[import-untyped]
import streamlit as st

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
CHART_PIXELS = 112
"""Bar, axis and legend together."""
SHORTEST_IN_BAR = 0.005
"""Share of the total below which a stage is only in the table: a sliver that nobody can see would still take a place in the legend."""


def show_latency(latency: Latency, completion_tokens: int, key: str) -> None:
    """The line, the bar and, folded, the table."""
    st.caption(summary(latency, completion_tokens))
    rows = stage_rows(latency)
    alt = "; ".join(f"{row['Stage']}: {row['Time']}" for row in rows)
    st.altair_chart(stacked_bar(rows), width="stretch", key=f"latency-{key}", alt=f"Time by stage. {alt}")
    with st.expander("Time by stage", key=f"stages-{key}"):
        st.table(pandas.DataFrame(rows)[["Stage", "Time", "Share"]].set_index("Stage"))


def summary(latency: Latency, completion_tokens: int = 0) -> str:
    """`Answered in 2.3 s · first word after 1.0 s · 41 tokens, 32 a second`."""
    parts = [f"Answered in {in_words(latency.total)}"]
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
            "order": order,
            "Stage": STAGES[stage][0] if stage in STAGES else stage,
            "ms": max(milliseconds, 0.0),
            "Time": in_words(max(milliseconds, 0.0)),
            "Share": f"{max(milliseconds, 0.0) / total:.0%}",
        }
        for order, (stage, milliseconds) in enumerate(ordered)
    ]


def stacked_bar(rows: list[dict[str, str | float]]) -> altair.Chart:
    """One horizontal bar, its parts the stages in order."""
    total = sum(float(row["ms"]) for row in rows) or 1.0
    seen = [row for row in rows if float(row["ms"]) / total >= SHORTEST_IN_BAR]
    colours = dict(STAGES.values())
    names = [str(row["Stage"]) for row in seen]
    return (
        altair.Chart(pandas.DataFrame(seen), height=CHART_PIXELS)
        .mark_bar(size=22)
        .encode(
            x=altair.X(
                "ms:Q",
                stack="zero",
                title=None,
                scale=altair.Scale(domain=[0, total], nice=False),
                axis=altair.Axis(labelExpr="datum.value / 1000 + ' s'", tickCount=5, grid=False),
            ),
            color=altair.Color(
                "Stage:N",
                sort=names,
                scale=altair.Scale(domain=names, range=[colours.get(name, "#8a94a3") for name in names]),
                legend=altair.Legend(orient="bottom", title=None, columns=4, labelLimit=220, symbolType="square", offset=2, padding=0),
            ),
            order=altair.Order("order:Q"),
            tooltip=["Stage:N", "Time:N", "Share:N"],
        )
    )
