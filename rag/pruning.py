"""Which chunks a text search ranks when the words of a question stand in too many.

BM25 of a chunk costs FTS5 nearly a microsecond, so that a question whose words stand in every fifth of a million chunks takes 130 ms.
Listing chunks costs a twentieth of that. The best ones are hardly among those that hold nothing of a question but one frequent word: a rare
word weighs more, and so do two frequent ones together. So only these are ranked, by all words (bounds like these: Turtle and Flood, "Query
evaluation: strategies and optimizations", 1995).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

MEANINGLESS_SHARE = 0.15
"""Of all chunks. A word that stands in more tells little, and listing where takes longest: p95 67 ms without such words, 115 with them."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """FTS5 expressions: which chunks to rank, and by what."""

    candidates: str
    ranking: str


def narrow(counts: Mapping[str, int], total: int, most_rows: int) -> Narrowed | None:
    """Candidates are chunks with a rare term, as long as these are at most `most_rows`, or with both others of a pair that few are expected
    to have if terms were independent, until these are as many again. None when all terms together stand in no more than that.

    Args:
        counts: in how many of the `total` chunks each quoted term stands.
    """
    if sum(counts.values()) <= 2 * most_rows:
        return None
    rarest_first = sorted(counts, key=lambda term: counts[term])
    telling = [term for term in rarest_first if counts[term] <= MEANINGLESS_SHARE * total] or rarest_first[:1]
    chosen: list[str] = []
    rows = 0.0
    for term in telling:
        if (rows := rows + counts[term]) > most_rows:
            break
        chosen.append(term)
    others = telling[len(chosen) :]
    expected = {pair: counts[pair[0]] * counts[pair[1]] / total for pair in combinations(others, 2)}
    rows = 0.0
    for pair in sorted(expected, key=lambda pair: expected[pair]):
        if (rows := rows + expected[pair]) > most_rows and chosen:
            break
        chosen.append(f"({pair[0]} AND {pair[1]})")
    return Narrowed(" OR ".join(chosen or others), " OR ".join(telling))
