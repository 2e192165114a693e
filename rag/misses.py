"""The worst questions of an evaluation: what was wanted, what was found instead, and which stage of the search lost it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rag.evaluate import Evaluation, Judged
from rag.golden import Golden
from rag.interpret import Interpreted
from rag.judge import COVERAGE, HITS, is_right, relevant_entries
from rag.retrieve import Searcher
from rag.timing import Stopwatch
from rag.types import Passage, Scope
from rag.wire import hit_to_json

SHOWN = 3
_SNIPPET = 110


@dataclass(frozen=True, slots=True)
class Miss:
    """A question with the ranks, from 1, at which its first right passage stands in each leg and in the final ranking; None: not in it.

    All three are taken over the `candidates` that the search considers, not over the hits it shows.
    """

    judged: Judged
    dense: int | None
    lexical: int | None
    final: int | None
    candidates: int

    def to_json(self) -> dict[str, Any]:
        golden = self.judged.golden
        return {
            "id": golden.id,
            "question": golden.question,
            "scope": golden.scope,
            "figures": self.judged.figures,
            "wanted": [dict(entry) for entry in relevant_entries(golden)],
            "found": [hit_to_json(hit) for hit in self.judged.hits[:SHOWN]],
            "ranks": {"dense": self.dense, "lexical": self.lexical, "final": self.final, "candidates": self.candidates},
        }

    def lines(self) -> Iterator[str]:
        """The same in lines for a person."""
        golden, figures = self.judged.golden, self.judged.figures
        shown = f"mrr@10 {figures['mrr@10']:.2f}" + (f", {COVERAGE} {figures[COVERAGE]:.2f}" if COVERAGE in figures else "")
        yield f"{golden.id}  {golden.question}  ({shown})"
        for entry in relevant_entries(golden)[:SHOWN]:
            places = [f"{key} {entry[key]}" for key in ("page", "slide", "cell") if key in entry]
            yield f"   wanted  {' · '.join([entry['source'], *places])}" + (f": “{_short(entry['quote'])}”" if "quote" in entry else "")
        ranks = (("dense", self.dense), ("lexical", self.lexical), ("final", self.final))
        yield "   ranks   " + ", ".join(f"{leg} {rank or f'not among {self.candidates}'}" for leg, rank in ranks)
        for hit in self.judged.hits[:SHOWN]:
            chunk = hit.passage.chunk
            yield f"   found   {hit.rank}. {hit.passage.source} · {chunk.location.label} ({hit.score:.2f}): {_short(chunk.text)}"
        if not self.judged.hits:
            yield "   found   nothing"


def find_misses(evaluation: Evaluation, count: int, searcher: Searcher, asked: Callable[[Golden], tuple[Interpreted, Scope]]) -> list[Miss]:
    """The worst questions, each traced through the legs.

    Args:
        asked: the question as it was interpreted, and the scope that the evaluation searched with.
    """
    return [_trace(one, searcher, *asked(one.golden)) for one in worst(evaluation.judged, count)]


def worst(judged: Sequence[Judged], count: int) -> list[Judged]:
    """By reciprocal rank, then by coverage, worst first; those that want nothing more are left out."""
    imperfect = [one for one in judged if min(one.figures.get("mrr@10", 1.0), one.figures.get(COVERAGE, 1.0)) < 1]
    return sorted(imperfect, key=lambda one: (one.figures["mrr@10"], one.figures.get(COVERAGE, 1.0)))[:count]


def _trace(one: Judged, searcher: Searcher, asked: Interpreted, scope: Scope) -> Miss:
    candidates = max(searcher.config.candidates, HITS)
    query = searcher.embedder.embed_query(asked.dense)
    found = searcher.legs(asked, query, searcher.store.settle(scope), candidates, Stopwatch())
    dense, lexical = (sorted(leg, key=leg.__getitem__, reverse=True) for leg in found)
    passages = searcher.store.passages([*dense, *lexical])
    final = [hit.passage for hit in searcher.search(asked, scope, candidates, query=query)]
    legs = ([passages[chunk_id] for chunk_id in leg if chunk_id in passages] for leg in (dense, lexical))
    in_dense, in_lexical = (_first_right(one.golden, found) for found in legs)
    return Miss(one, in_dense, in_lexical, _first_right(one.golden, final), candidates)


def _first_right(golden: Golden, passages: Sequence[Passage]) -> int | None:
    wanted = relevant_entries(golden)
    return next((rank for rank, passage in enumerate(passages, 1) if any(is_right(entry, passage) for entry in wanted)), None)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SNIPPET else line[: _SNIPPET - 1].rstrip() + "…"
