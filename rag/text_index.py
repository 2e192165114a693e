"""The catalogue's text indexes (FTS5), one for each course: the best chunks in a scope for an expression, quickly also among millions.

What stands in them is `rag/lexical.py`'s business; scores are FTS5's own BM25, so that how rare a word is, is counted within its course. In
a large one only promising chunks are ranked (`rag/pruning.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlite_utils import Database

from rag.lexical import indexed_text
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

MOST_COUNTS = 100_000
"""That are remembered."""
_TERM = re.compile(r'"[^" ]+"')
"""One quoted word of an FTS5 expression."""


def table_of(course_id: int) -> str:
    """The name of a course's FTS5 table; its rowids are chunk ids."""
    return f"chunks_fts_{int(course_id)}"


def create_table(db: Database, course_id: int) -> None:
    """An empty index for a course."""
    db.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table_of(course_id)} USING fts5 (context, text, tokenize = 'unicode61 remove_diacritics 0')"
    )


def insert(db: Database, course_id: int, chunk_id: int, context: str, text: str, language: str | None) -> None:
    """Puts a chunk into the index of its course."""
    terms = [indexed_text(context, language), indexed_text(text, language)]
    db.execute(f"INSERT INTO {table_of(course_id)} (rowid, context, text) VALUES (?, ?, ?)", [chunk_id, *terms])


class TextIndex:
    """Searches the text index of a store.

    Args:
        connection: gives the calling thread's connection.
    """

    def __init__(self, connection: Callable[[], Database]) -> None:
        self._connection = connection
        self._counted: tuple[int, dict[tuple[str, str], int]] = 0, {}

    @property
    def db(self) -> Database:
        return self._connection()

    def search(
        self, match: str, scope: Scope, limit: int, scope_chunks: int | None = None, most_rows: int = MOST_ROWS
    ) -> list[tuple[int, float]]:
        """The best chunks in a scope for an FTS5 `match` expression: `(chunk id, bm25)`, best first, higher is better.

        A whole course costs nothing more; a small scope in it is read before, a large one joined to what is found.

        Args:
            scope_chunks: how many chunks the scope has, if that is known.
            most_rows: when the terms of an expression joined by OR match more than twice as many in a scope that is not small, only the
                most promising are ranked (`rag/pruning.py`).
        """
        table = self._table(scope.course)
        if table is None:
            return []
        condition, values = scope_condition(scope)
        where = f"{table} MATCH ?"
        if condition == WHOLE_COURSE:
            return self._rank(table, table, where, match, [], limit, most_rows)
        if scope_chunks is not None and scope_chunks <= SMALL_SCOPE:
            where += f""" AND +{table}.rowid IN (SELECT c.id FROM documents d JOIN courses ON courses.id = d.course_id
                JOIN chunks c ON c.document_id = d.id WHERE {condition})"""
            return self._rank(table, table, where, match, values, limit, None)
        joined = f"""{table} JOIN chunks c ON c.id = {table}.rowid JOIN documents d ON d.id = c.document_id
            JOIN courses ON courses.id = d.course_id"""
        return self._rank(table, joined, f"{where} AND {condition}", match, values, limit, FILTERED_ROWS_FACTOR * most_rows)

    def count(self, course: str, match: str, at_most: int = 20_000) -> int:
        """How many chunks of a course an FTS5 expression matches; counting ends at `at_most`."""
        table = self._table(course)
        return self._count(table, match, at_most) if table else 0

    def chunks(self, course: str) -> int:
        """How many chunks a course has."""
        table = self._table(course)
        return self._counted_once(table, "", partial(self._rows, table)) if table else 0

    def _rank(
        self, table: str, source: str, where: str, match: str, inside: list[Any], limit: int, most_rows: int | None
    ) -> list[tuple[int, float]]:
        """The best rows of `source` for a condition whose values are `match` and `inside`; `most_rows` is None to rank all."""
        narrowed = self._narrowed(table, match, most_rows) if most_rows is not None else None
        if narrowed is not None:
            rows = self.db.execute(f"SELECT {table}.rowid FROM {source} WHERE {where}", [narrowed.candidates, *inside])
            candidates = [row[0] for row in rows]
            if len(candidates) >= min(limit, ENOUGH_CANDIDATES):
                # The plus keeps FTS5 from running its query for one id after the other, which takes seconds.
                source, where = table, f"{table} MATCH ? AND +{table}.rowid IN (SELECT value FROM json_each(?))"
                match, inside = narrowed.ranking, [json.dumps(candidates)]
        rows = self.db.execute(
            f"SELECT {table}.rowid, -bm25({table}) FROM {source} WHERE {where} ORDER BY 2 DESC, 1 LIMIT ?", [match, *inside, limit]
        )
        return [(chunk_id, bm25) for chunk_id, bm25 in rows]

    def _narrowed(self, table: str, match: str, most_rows: int) -> Narrowed | None:
        """What to rank where the terms of `match` are expected to stand in too many rows."""
        rows = self._counted_once(table, "", partial(self._rows, table))
        terms = list(dict.fromkeys(match.split(" OR ")))
        if rows <= 2 * most_rows or not all(_TERM.fullmatch(term) for term in terms):
            return None
        at_most = int(MEANINGLESS_SHARE * rows) + 1
        counts = {term: self._counted_once(table, term, partial(self._count, table, term, at_most)) for term in terms}
        return narrow(counts, rows, most_rows)

    def _counted_once(self, table: str, term: str, count: Callable[[], int]) -> int:
        """A count, remembered until the catalogue changes: questions have words in common."""
        revision = next(iter(self.db.execute("SELECT number FROM revision")))[0]
        if self._counted[0] != revision or len(self._counted[1]) > MOST_COUNTS:
            self._counted = revision, {}
        known = self._counted[1]
        if (table, term) not in known:
            known[table, term] = count()
        return known[table, term]

    def _rows(self, table: str) -> int:
        return next(iter(self.db.execute(f"SELECT count(*) FROM {table}_docsize")))[0]

    def _count(self, table: str, match: str, at_most: int) -> int:
        rows = self.db.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)", [match, at_most])
        return next(iter(rows))[0]

    def _table(self, course: str) -> str | None:
        """The index of a course; None where there is no such course."""
        return next((table_of(row[0]) for row in self.db.execute("SELECT id FROM courses WHERE name = ?", [course])), None)
