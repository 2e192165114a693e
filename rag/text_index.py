"""The catalogue's text index (FTS5): the best chunks in a scope for an expression, quickly also among millions.

What stands in it is `rag/lexical.py`'s business; scores are FTS5's own BM25. In a large store only promising chunks are ranked
(`rag/pruning.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlite_utils import Database

from rag.pruning import MEANINGLESS_SHARE, Narrowed, narrow
from rag.scopes import WHOLE_COURSE, scope_condition
from rag.types import Scope

MOST_ROWS = 2_000
"""Of the text index that are ranked because of rare words, and as many again because of pairs of frequent ones. At a million chunks: 28 ms
instead of 137, with .89 of the ten best; 3,000 are 31 ms and .91 (docs/experiments.md)."""
SMALL_SCOPE = 50_000
"""Up to so many chunks reading them first is faster than joining what is found (of 100,000 chunks 1 %: 2 ms against 12, half of them: 15
against 18)."""
ENOUGH_CANDIDATES = 20
"""With fewer, all chunks that match are ranked: it may be that no two of the words stand together."""
FILTERED_ROWS_FACTOR = 5
"""Within a filter more are listed, as most of them may fall outside."""

_AND_AMONG = " AND +chunks_fts.rowid IN"
"""The plus keeps FTS5 from running its query for one id after the other, which takes seconds: matches are listed once, then looked up."""
_TERM = re.compile(r'"[^" ]+"')
"""One quoted word of an FTS5 expression."""


class TextIndex:
    """Searches the text index of a store.

    Args:
        connection: gives the calling thread's connection.
    """

    def __init__(self, connection: Callable[[], Database]) -> None:
        self._connection = connection
        self._counted: tuple[int, dict[str, int]] = 0, {}

    @property
    def db(self) -> Database:
        return self._connection()

    def search(
        self, match: str, scope: Scope, limit: int, scope_chunks: int | None = None, most_rows: int = MOST_ROWS
    ) -> list[tuple[int, float]]:
        """The best chunks in a scope for an FTS5 `match` expression: `(chunk id, bm25)`, best first, higher is better.

        Only rows from the course's first to its last are matched, so that a course read in one run is looked at alone. A scope that is all
        there is costs nothing more; a small one is read before, a large one joined to what is found.

        Args:
            scope_chunks: how many chunks the scope has, if that is known.
            most_rows: when the terms of an expression joined by OR match more than twice as many in a scope that is not small, only the
                most promising are ranked (`rag/pruning.py`).
        """
        first, last, alone = self._span(scope.course)
        condition, values = scope_condition(scope)
        where = "chunks_fts MATCH ? AND chunks_fts.rowid BETWEEN ? AND ?"
        if alone and condition == WHOLE_COURSE:
            return self._rank("chunks_fts", where, match, [first, last], limit, most_rows)
        inside = [first, last, *values]
        if scope_chunks is not None and scope_chunks <= SMALL_SCOPE:
            where += f"""{_AND_AMONG} (SELECT c.id FROM documents d JOIN courses ON courses.id = d.course_id
                JOIN chunks c ON c.document_id = d.id WHERE {condition})"""
            return self._rank("chunks_fts", where, match, inside, limit, most_rows=last)
        joined = """chunks_fts JOIN chunks c ON c.id = chunks_fts.rowid JOIN documents d ON d.id = c.document_id
            JOIN courses ON courses.id = d.course_id"""
        return self._rank(joined, f"{where} AND {condition}", match, inside, limit, FILTERED_ROWS_FACTOR * most_rows)

    def _rank(self, source: str, where: str, match: str, inside: list[Any], limit: int, most_rows: int) -> list[tuple[int, float]]:
        """The best rows of `source` for a condition whose values are `match` and `inside`, which begins with the first and last row."""
        narrowed = self._narrowed(match, inside[1] - inside[0] + 1, most_rows)
        if narrowed is not None:
            rows = self.db.execute(f"SELECT chunks_fts.rowid FROM {source} WHERE {where}", [narrowed.candidates, *inside])
            candidates = [row[0] for row in rows]
            if len(candidates) >= min(limit, ENOUGH_CANDIDATES):
                source, where = "chunks_fts", f"chunks_fts MATCH ?{_AND_AMONG} (SELECT value FROM json_each(?))"
                match, inside = narrowed.ranking, [json.dumps(candidates)]
        rows = self.db.execute(
            f"SELECT chunks_fts.rowid, -bm25(chunks_fts) FROM {source} WHERE {where} ORDER BY 2 DESC, 1 LIMIT ?", [match, *inside, limit]
        )
        return [(chunk_id, bm25) for chunk_id, bm25 in rows]

    def _narrowed(self, match: str, rows: int, most_rows: int) -> Narrowed | None:
        """What to rank where the `rows` rows that are looked at are expected to hold the terms of `match` too often."""
        if rows <= 2 * most_rows:
            return None
        terms = list(dict.fromkeys(match.split(" OR ")))
        if not all(_TERM.fullmatch(term) for term in terms):
            return None
        share = rows / self._last_chunk()
        return narrow({term: round(share * count) for term, count in self._counts(terms).items()}, rows, most_rows)

    def _counts(self, terms: Sequence[str]) -> dict[str, int]:
        """In how many chunks quoted terms stand, remembered until the catalogue changes: questions have words in common."""
        revision = next(iter(self.db.execute("SELECT number FROM revision")))[0]
        if self._counted[0] != revision or len(self._counted[1]) > 100_000:
            self._counted = revision, {}
        known = self._counted[1]
        for term in terms:
            if term not in known:
                known[term] = self.count(term, int(MEANINGLESS_SHARE * self._last_chunk()) + 1)
        return {term: known[term] for term in terms}

    def _span(self, course: str) -> tuple[int, int, bool]:
        """The first and the last chunk id of a course, and whether it is the only one. Ids of chunks and documents grow with time."""
        courses = dict(self.db.execute("SELECT name, id FROM courses").fetchall())
        if len(courses) == 1 and course in courses:
            return 1, self._last_chunk(), True
        ends = [
            self.db.execute(
                f"""SELECT {end}(c.id) FROM chunks c WHERE c.document_id = (SELECT d.id FROM documents d WHERE d.course_id = ?
                AND EXISTS (SELECT 1 FROM chunks WHERE document_id = d.id) ORDER BY d.id {order} LIMIT 1)""",
                [courses.get(course)],
            ).fetchone()[0]
            for end, order in (("min", "ASC"), ("max", "DESC"))
        ]
        return ends[0] or 1, ends[1] or 0, False

    def _last_chunk(self) -> int:
        return self.db.execute("SELECT max(id) FROM chunks").fetchone()[0] or 0

    def count(self, match: str, at_most: int = 20_000) -> int:
        """How many chunks of the store an FTS5 expression matches; counting ends at `at_most`."""
        rows = self.db.execute("SELECT count(*) FROM (SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH ? LIMIT ?)", [match, at_most])
        return next(iter(rows))[0]
