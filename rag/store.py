"""The catalogue: one SQLite file that is the truth about courses, documents, chunks, their vectors and the conversations.

Everything else (FAISS snapshots) is derived from it. A document's rows, text index and vectors change in one transaction. Each thread
has its own connection; every write begins with BEGIN IMMEDIATE, so that two writers queue instead of failing half-way. It knows no model:
vectors come in and go out as arrays.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlite_utils import Database

from rag import lock
from rag.errors import DiskFull, QuestionError, StoreBusy, StoreError, StoreMismatch, StoreMissing, UnknownCourse
from rag.files import put_in_place
from rag.lexical import indexed_text
from rag.migrations import KNOWN, MIGRATIONS
from rag.moments import ANY, EARLIEST, EXPECTED, now, utc_moment
from rag.pruning import MEANINGLESS_SHARE, Narrowed, narrow
from rag.types import Chunk, Location, Passage, Scope
from rag.vocabulary import add_words, count_words, known_words, remove_words, words_beginning

CATALOGUE = "catalogue.db"
BUSY_TIMEOUT_S = 30
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
RESERVED_BYTES = 32 << 20
"""Room that writing leaves on the disk: the write-ahead log grows beside the catalogue, and other programs write too."""


@dataclass(frozen=True, slots=True)
class Course:
    name: str
    title: str
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What the catalogue says of a document; its text is read apart."""

    id: int
    source: str
    sha256: str
    recipe: str
    format: str
    title: str
    pages: int
    material: str | None
    week: int | None
    lecture: int | None
    date: str | None
    due: str | None
    notices: list[str]
    fingerprint: str
    visible_from: str | None
    """UTC; None: always."""
    language: str | None
    """ISO 639-1; None: not known."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to save.

    `recipe` names how it was read and cut: another one means reading it again. `fingerprint` tells from the file's size and times that it
    has not been touched since. `vector_keys` name each chunk's embedded text; `vectors` holds, by key, those the store lacks: (d,) float16.
    `notices` say what its reader could not take or has left out.
    """

    source: str
    sha256: str
    recipe: str
    format: str
    title: str
    pages: int
    text: str
    chunks: Sequence[Chunk]
    vector_keys: Sequence[str]
    vectors: Mapping[str, np.ndarray]
    facts: Mapping[str, str] = field(default_factory=dict)
    notices: Sequence[str] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that could not be read, and why. `sha256` is empty for one that could not even be opened."""

    source: str
    reason: str
    sha256: str = ""
    recipe: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """A published snapshot of the vectors: `file` is its name in the store, `revision` the state of the catalogue it was made from."""

    number: int
    file: str
    sha256: str
    chunks: int
    kind: str
    revision: int
    recall: float | None = None
    """Recall@10 against exact search, measured when it was made; None where nothing is missed."""


@dataclass(frozen=True, slots=True)
class EmbedderStamp:
    """Which embedder made the vectors of a store."""

    id: str
    revision: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.id} ({self.dimension}-d, revision {self.revision})"


class Store:
    """An open store. Cheap to hold; safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._local = threading.local()
        self._counted: tuple[int, dict[str, int]] = 0, {}

    @classmethod
    def open(cls, directory: Path) -> Store:
        """The store in `directory`.

        Raises:
            StoreMissing: there is none.
            StoreMismatch: a newer version of Lectern made it.
        """
        if not (directory / CATALOGUE).exists():
            raise StoreMissing(f"there is no store in {directory}; make one with: python -m ingest --store {directory}")
        return cls(directory)._migrate()

    @classmethod
    def create(cls, directory: Path) -> Store:
        """The store in `directory`, made when it is not there.

        Raises:
            StoreError: it cannot be made.
            StoreBusy: another process is making it.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / CATALOGUE).exists():
                with lock.hold(directory):
                    cls._make(directory)
        except OSError as e:
            raise StoreError(f"the store {directory} cannot be made: {e.strerror}; name another folder with --store") from e
        return cls(directory)._migrate()

    @staticmethod
    def _make(directory: Path) -> None:
        """Makes an empty catalogue that appears under its name when it is complete: two processes may begin at once."""
        partial = directory / f"{CATALOGUE}.partial"
        partial.unlink(missing_ok=True)
        partial.touch()
        db = _connect(partial)
        MIGRATIONS.apply(db)
        db.close()
        if not (directory / CATALOGUE).exists():
            put_catalogue(partial, directory)

    @property
    def db(self) -> Database:
        """This thread's connection."""
        if not hasattr(self._local, "db"):
            self._local.db = _connect(self.directory / CATALOGUE)
        return self._local.db

    def close(self) -> None:
        """Closes this thread's connection."""
        if hasattr(self._local, "db"):
            self._local.db.close()
            del self._local.db

    def _migrate(self) -> Store:
        try:
            newer = {step.name for step in MIGRATIONS.applied(self.db)} - KNOWN
            if newer:
                raise StoreMismatch(
                    f"the store {self.directory} was made by a newer Lectern (unknown: {', '.join(sorted(newer))}); upgrade this one"
                )
            if MIGRATIONS.pending(self.db):
                with self.transaction() as db:  # looks again inside: another process may have done it meanwhile
                    MIGRATIONS.apply(db)
        except sqlite3.OperationalError as e:
            raise StoreBusy(f"the catalogue in {self.directory} cannot be opened: {e}; if another process is writing, wait for it") from e
        except sqlite3.DatabaseError as e:
            raise StoreError(f"{self.directory / CATALOGUE} cannot be used: {e}; restore a backup, or delete it and ingest again") from e
        return self

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """All or nothing: commits at the end, rolls back on any error.

        Raises:
            StoreBusy: another process has been writing for longer than 30 seconds.
            DiskFull: there is no room for it.
        """
        db = self.db
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.commit()
        except BaseException as e:
            db.rollback()
            code = e.sqlite_errorcode if isinstance(e, sqlite3.OperationalError) else None
            if code == sqlite3.SQLITE_FULL:
                raise DiskFull(f"the disk of {self.directory} is full; what was saved stays; make room, then try again") from e
            if code == sqlite3.SQLITE_BUSY:
                raise StoreBusy(
                    f"the catalogue in {self.directory} cannot be written: {e}; wait for the other writer to end, then try again"
                ) from e
            raise

    def writer_lock(self) -> AbstractContextManager[None]:
        """Only one ingest at a time; raises StoreBusy, which names the holder, when there is another."""
        return lock.hold(self.directory)

    def is_being_written(self) -> bool:
        """Whether some process holds the writer lock right now."""
        return lock.is_held(self.directory)

    def require_space(self, needed_bytes: int) -> None:
        """Raises DiskFull unless the disk has room for so many bytes and what SQLite needs besides."""
        free = shutil.disk_usage(self.directory).free
        if free < needed_bytes + RESERVED_BYTES:
            raise DiskFull(
                f"the disk of {self.directory} has {free >> 20} MiB left, and writing needs {(needed_bytes + RESERVED_BYTES) >> 20} MiB; "
                "what was saved stays and can be searched; make room, then run this again"
            )

    # --- what is there

    def courses(self) -> list[Course]:
        rows = self.db.query(
            """SELECT courses.name, courses.title, count(DISTINCT documents.id) AS documents, count(chunks.id) AS chunks
            FROM courses LEFT JOIN documents ON documents.course_id = courses.id LEFT JOIN chunks ON chunks.document_id = documents.id
            GROUP BY courses.id ORDER BY courses.name"""
        )
        return [Course(**row) for row in rows]

    def course(self, name: str) -> Course:
        """The course called `name`, with its documents and chunks counted.

        Raises:
            UnknownCourse: there is none; the message lists those there are.
        """
        self.require_course(name)
        return next(course for course in self.courses() if course.name == name)

    def require_course(self, name: str) -> None:
        """Raises UnknownCourse, which lists the courses there are, unless `name` is one. Counts nothing: every question asks it."""
        names = [row["name"] for row in self.db.query("SELECT name FROM courses ORDER BY name")]
        if name not in names:
            there = ", ".join(names) or "none yet; run: python -m ingest FOLDER"
            raise UnknownCourse(f"there is no course {name!r} in {self.directory}; its courses: {there}")

    def documents(self, course: str, at: str | None = ANY) -> list[StoredDocument]:
        """The documents of a course; those visible at a moment (None: now) where one is given."""
        condition, values = _scope_condition(Scope(course, at=at))
        rows = self.db.query(
            f"""SELECT d.id, source, sha256, recipe, format, d.title, pages, material, week, lecture, date, due, notices, fingerprint,
                visible_from, language
            FROM documents d JOIN courses ON courses.id = d.course_id WHERE {condition} ORDER BY source""",
            values,
        )
        return [StoredDocument(**row | {"notices": json.loads(row["notices"])}) for row in rows]

    def document_text(self, course: str, source: str, at: str | None = None) -> str:
        """The extracted text of a document.

        Raises:
            StoreError: the course has no such document, or it is not visible at the moment `at`: both in the same words.
        """
        condition, values = _scope_condition(Scope(course, at=at))
        rows = self.db.query(
            f"SELECT text FROM documents d JOIN courses ON courses.id = d.course_id WHERE {condition} AND source = ?", [*values, source]
        )
        for row in rows:
            return row["text"]
        raise StoreError(f"the course {course} has no document {source}")

    def original(self, course: str, source: str, at: str | None = None) -> bytes:
        """The file of a document as it was ingested.

        Raises:
            StoreError: the course has no such document that is visible at the moment `at`, or its file is gone or has changed since.
        """
        condition, values = _scope_condition(Scope(course, at=at))
        rows = self.db.query(
            f"SELECT folder, sha256 FROM documents d JOIN courses ON courses.id = d.course_id WHERE {condition} AND source = ?",
            [*values, source],
        )
        for row in rows:
            try:
                data = (Path(row["folder"]) / source).read_bytes()
            except OSError as e:
                raise StoreError(f"the file of {source} cannot be read ({e.strerror}); put it back, or ingest the course again") from e
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise StoreError(f"the file of {source} has changed since it was ingested; ingest the course again")
            return data
        raise StoreError(f"the course {course} has no document {source}")

    def set_aside(self, course: str) -> dict[str, SetAside]:
        """Files that could not be read, by source."""
        rows = self.db.query(
            """SELECT source, reason, sha256, recipe, fingerprint FROM set_aside s JOIN courses ON courses.id = s.course_id
            WHERE courses.name = ? ORDER BY source""",
            [course],
        )
        return {row["source"]: SetAside(**row) for row in rows}

    def course_folder(self, name: str) -> Path | None:
        """Where a course was ingested from; None when the store does not have it."""
        for row in self.db.query("SELECT folder FROM courses WHERE name = ?", [name]):
            return Path(row["folder"])
        return None

    def revision(self) -> int:
        """A number that grows with every change to the documents."""
        return next(self.db.query("SELECT number FROM revision"))["number"]

    def languages(self, scope: Scope) -> list[str]:
        """The languages (ISO 639-1) of the documents in a scope, the one with most documents first."""
        condition, values = _scope_condition(scope)
        rows = self.db.execute(
            f"""SELECT d.language FROM documents d JOIN courses ON courses.id = d.course_id
            WHERE {condition} AND d.language IS NOT NULL GROUP BY d.language ORDER BY count(*) DESC, d.language""",
            values,
        )
        return [row[0] for row in rows]

    def hidden_sources(self, course: str, at: str | None = None) -> set[str]:
        """The documents of a course that are not visible at a moment."""
        rows = self.db.execute(
            """SELECT source FROM documents d JOIN courses ON courses.id = d.course_id
            WHERE courses.name = ? AND d.visible_from > ?""",
            [course, _moment(at)],
        )
        return {row[0] for row in rows}

    def settle(self, scope: Scope) -> Scope:
        """The scope with `at` set back to when something last became visible in its course; to `any` when nothing is hidden in it.

        It sees the same and changes only when what is seen does: so it can name what is seen in a cache, which the present moment cannot.

        Raises:
            QuestionError: `at` is no moment.
        """
        if scope.at == ANY:
            return scope
        rows = self.db.execute(
            """SELECT max(d.visible_from) FILTER (WHERE d.visible_from <= ?1), count(*) FILTER (WHERE d.visible_from > ?1)
            FROM documents d JOIN courses ON courses.id = d.course_id WHERE courses.name = ?2 AND d.visible_from IS NOT NULL""",
            [_moment(scope.at), scope.course],
        )
        latest, hidden = next(iter(rows))
        return replace(scope, at=latest or EARLIEST) if hidden else replace(scope, at=ANY)

    # --- writing documents

    def save_course(self, name: str, title: str, folder: Path) -> None:
        with self.transaction() as db:
            db.execute(
                """INSERT INTO courses (name, title, folder) VALUES (?, ?, ?)
                ON CONFLICT (name) DO UPDATE SET title = excluded.title, folder = excluded.folder""",
                [name, title, str(folder.resolve())],
            )

    def save_document(self, course: str, document: NewDocument) -> None:
        """Puts a document in the place of whatever stood under its source; on any error the old state stays."""
        with self.transaction() as db:
            course_id = _course_id(db, course)
            _delete(db, course_id, document.source)
            _insert_vectors(db, document.vectors)
            document_id = db.execute(
                """INSERT INTO documents (course_id, source, sha256, recipe, format, title, pages, text,
                    material, week, lecture, date, due, visible_from, language, notices, fingerprint, ingested_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                [
                    course_id,
                    document.source,
                    document.sha256,
                    document.recipe,
                    document.format,
                    document.title,
                    document.pages,
                    document.text,
                    *_columns(document.facts),
                    json.dumps(list(document.notices), ensure_ascii=False),
                    document.fingerprint,
                    now(),
                ],
            ).lastrowid
            for ordinal, (chunk, key) in enumerate(zip(document.chunks, document.vector_keys, strict=True)):
                location = json.dumps(chunk.location.to_json())
                inserted = db.execute(
                    """INSERT INTO chunks (document_id, ordinal, start, "end", location, context, text, tokens, vector_id)
                    SELECT ?, ?, ?, ?, ?, ?, ?, ?, id FROM vectors WHERE key = ?""",
                    [document_id, ordinal, chunk.start, chunk.end, location, chunk.context, chunk.text, chunk.tokens, key],
                )
                if inserted.rowcount != 1:
                    raise StoreError(f"chunk {ordinal} of {document.source} has no vector; nothing of the document was saved")
                language = document.facts.get("language")
                db.execute(
                    "INSERT INTO chunks_fts (rowid, context, text) VALUES (?, ?, ?)",
                    [inserted.lastrowid, indexed_text(chunk.context, language), indexed_text(chunk.text, language)],
                )
            add_words(db, course_id, count_words(document.text))
            _count_up(db)

    def save_set_aside(self, course: str, file: SetAside, keep_document: bool = False) -> None:
        """Remembers that a file could not be read. A document that stood under its name is removed, as its text is no longer true, unless
        `keep_document` says that this is not known.
        """
        with self.transaction() as db:
            course_id = _course_id(db, course)
            if not keep_document:
                _delete(db, course_id, file.source)
            db.execute("DELETE FROM set_aside WHERE course_id = ? AND source = ?", [course_id, file.source])
            db.execute(
                "INSERT INTO set_aside (course_id, source, reason, sha256, recipe, fingerprint) VALUES (?, ?, ?, ?, ?, ?)",
                [course_id, file.source, file.reason, file.sha256, file.recipe, file.fingerprint],
            )
            _count_up(db)

    def remove_documents(self, course: str, sources: Sequence[str]) -> None:
        """Removes files that are gone from the course, with what past answers quoted from them."""
        with self.transaction() as db:
            course_id = _course_id(db, course)
            for source in sources:
                _delete(db, course_id, source)
                db.execute(_FORGET_QUOTES, [course, source])
            _count_up(db)

    def rename_document(self, course: str, source: str, new_source: str) -> None:
        """Moves a document to another place in its course; nothing is embedded again."""
        with self.transaction() as db:
            db.execute("UPDATE documents SET source = ? WHERE course_id = ? AND source = ?", [new_source, _course_id(db, course), source])
            db.execute(_RENAME_QUOTES, [source, new_source, course, source])
            _count_up(db)

    def save_fingerprints(self, course: str, fingerprints: Mapping[str, str]) -> None:
        """Notes, by source, the fingerprints of files whose content is known to be the same as before."""
        with self.transaction() as db:
            course_id = _course_id(db, course)
            for table in ("documents", "set_aside"):
                for source, fingerprint in fingerprints.items():
                    db.execute(f"UPDATE {table} SET fingerprint = ? WHERE course_id = ? AND source = ?", [fingerprint, course_id, source])

    def forget_deleted(self) -> bool:
        """Takes what was deleted off the disk too: from the text index, whose deletions are only marks until its segments are merged, and
        from the write-ahead log. (`secure_delete` zeroes what the tables give up.) False when a reader has kept the log in use: the next
        call goes on with it, as it does after a run that was ended half-way.
        """
        if not next(self.db.query("SELECT to_forget FROM revision"))["to_forget"]:
            return True
        with self.transaction() as db:
            db.execute("INSERT INTO chunks_fts (chunks_fts) VALUES ('optimize')")
        (busy, *_) = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            with self.transaction() as db:
                db.execute("UPDATE revision SET to_forget = 0")
        return not busy

    def save_run(self, course: str, report: Mapping[str, Any]) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO runs (course, report, finished_at) VALUES (?, ?, ?)", [course, json.dumps(report), now()])

    # --- reading chunks

    def passages(self, chunk_ids: Sequence[int]) -> dict[int, Passage]:
        """Passages by chunk id. An id that has been deleted meanwhile is left out."""
        marks = ",".join("?" * len(chunk_ids))
        rows = self.db.query(f"{_PASSAGE} WHERE c.id IN ({marks})", list(chunk_ids))
        return {row["id"]: _passage(row) for row in rows}

    def passages_in(self, scope: Scope, chunk_ids: Sequence[int]) -> dict[int, Passage]:
        """Those of the passages that the scope sees, by chunk id."""
        marks = ",".join("?" * len(chunk_ids))
        condition, values = _scope_condition(scope)
        rows = self.db.query(f"{_PASSAGE} WHERE c.id IN ({marks}) AND {condition}", [*chunk_ids, *values])
        return {row["id"]: _passage(row) for row in rows}

    def neighbours(self, passage: Passage, reach: int = 1) -> list[Passage]:
        """The chunks up to `reach` before and after a passage in its document, in reading order, itself included."""
        rows = self.db.query(
            f"""{_PASSAGE} WHERE c.document_id = (SELECT document_id FROM chunks WHERE id = ?) AND c.ordinal BETWEEN ? AND ?
            ORDER BY c.ordinal""",
            [passage.chunk_id, passage.ordinal - reach, passage.ordinal + reach],
        )
        return [_passage(row) for row in rows]

    def span_text(self, chunk_id: int, start: int, end: int) -> str:
        """The text of a chunk's document from `start` to `end`; empty when the chunk has been deleted meanwhile."""
        rows = self.db.execute(
            "SELECT substr(d.text, ? + 1, ?) FROM documents d JOIN chunks c ON c.document_id = d.id WHERE c.id = ?",
            [start, end - start, chunk_id],
        )
        return next((row[0] for row in rows), "")

    def chunk_ids(self, scope: Scope) -> np.ndarray:
        """The ids of all chunks in a scope, `(n,) int64`, ascending."""
        condition, values = _scope_condition(scope)
        rows = self.db.execute(
            f"""SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document_id JOIN courses ON courses.id = d.course_id
            WHERE {condition}""",
            values,
        )
        return np.sort(np.fromiter((row[0] for row in rows), np.int64))  # a million: 0.35 s, and 0.62 s when SQLite sorts them

    def search_text(
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
        condition, values = _scope_condition(scope)
        where = "chunks_fts MATCH ? AND chunks_fts.rowid BETWEEN ? AND ?"
        if alone and condition == _WHOLE_COURSE:
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
        revision = self.revision()
        if self._counted[0] != revision or len(self._counted[1]) > 100_000:
            self._counted = revision, {}
        known = self._counted[1]
        for term in terms:
            if term not in known:
                known[term] = self.count_chunks_with(term, int(MEANINGLESS_SHARE * self._last_chunk()) + 1)
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

    def known_words(self, course: str, wanted: Iterable[str]) -> set[str]:
        """Those of the (folded) words that the course holds, exactly so."""
        return known_words(self.db, course, wanted)

    def words_beginning(self, course: str, prefix: str) -> dict[str, int]:
        """The words of a course that begin so, with how often they stand in it."""
        return words_beginning(self.db, course, prefix)

    def count_chunks(self) -> int:
        return next(iter(self.db.execute("SELECT count(*) FROM chunks")))[0]

    def count_chunks_with(self, match: str, at_most: int = 20_000) -> int:
        """How many chunks of the store an FTS5 expression matches; counting ends at `at_most`."""
        rows = self.db.execute("SELECT count(*) FROM (SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH ? LIMIT ?)", [match, at_most])
        return next(iter(rows))[0]

    # --- vectors and their snapshots

    def embedder(self) -> EmbedderStamp | None:
        """The embedder that made the store's vectors; None while there are none."""
        for row in self.db.query("SELECT id, revision, dimension FROM embedder"):
            return EmbedderStamp(**row)
        return None

    def stamp_embedder(self, stamp: EmbedderStamp) -> None:
        """Sets the embedder of a store that has none yet.

        Raises:
            StoreMismatch: it has another one.
        """
        with self.transaction() as db:
            there = self.embedder()
            if there is None:
                db["embedder"].insert({"id": stamp.id, "revision": stamp.revision, "dimension": stamp.dimension})
        if there is not None:
            self.require_embedder(stamp)

    def require_embedder(self, stamp: EmbedderStamp) -> None:
        """Raises StoreMismatch unless the store's vectors are of this embedder."""
        there = self.embedder()
        if there is not None and there != stamp:
            raise StoreMismatch(
                f"the store {self.directory} was indexed with {there} but the config names {stamp}; run: python -m ingest --rebuild"
            )

    def chunk_texts(self) -> list[tuple[int, str, str]]:
        """`(chunk id, context, text)` of every chunk."""
        return [tuple(row) for row in self.db.execute("SELECT id, context, text FROM chunks ORDER BY id")]

    def replace_vectors(self, stamp: EmbedderStamp, keys: Mapping[int, str], vectors: Mapping[str, np.ndarray]) -> None:
        """Gives every chunk the vector named by its key, all made by the embedder `stamp`; the old vectors go."""
        with self.transaction() as db:
            db.execute("DELETE FROM embedder")
            db["embedder"].insert({"id": stamp.id, "revision": stamp.revision, "dimension": stamp.dimension})
            _insert_vectors(db, vectors)
            for chunk_id, key in keys.items():
                db.execute("UPDATE chunks SET vector_id = (SELECT id FROM vectors WHERE key = ?) WHERE id = ?", [key, chunk_id])
            _count_up(db)
        self.drop_unused_vectors()

    def drop_unused_vectors(self) -> None:
        """Deletes the vectors that no chunk has. At the end of a run, not before: a passage may move from one file to another in it."""
        with self.transaction() as db:
            db.execute("DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.vector_id = vectors.id)")

    def missing_vectors(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that have no vector yet."""
        missing = set(keys)
        unique = sorted(missing)
        for first in range(0, len(unique), 500):
            part = unique[first : first + 500]
            marks = ",".join("?" * len(part))
            missing -= {row[0] for row in self.db.execute(f"SELECT key FROM vectors WHERE key IN ({marks})", part)}
        return missing

    def vectors(self) -> tuple[np.ndarray, np.ndarray, int]:
        """All chunk ids `(n,) int64`, their unit vectors `(n, d) float16`, and the revision they belong to."""
        stamp = self.embedder()
        dimension = stamp.dimension if stamp else 0
        self.db.execute("BEGIN")
        try:
            revision = self.revision()
            (count,) = self.db.execute("SELECT count(*) FROM chunks").fetchone()
            ids, matrix = np.empty(count, np.int64), np.empty((count, dimension), np.float16)
            cursor = self.db.execute("SELECT c.id, v.embedding FROM chunks c JOIN vectors v ON v.id = c.vector_id ORDER BY c.id")
            first = 0
            while rows := cursor.fetchmany(4096):  # a list of all of them would take three times the memory of the array
                ids[first : first + len(rows)] = [row[0] for row in rows]
                matrix[first : first + len(rows)] = np.frombuffer(b"".join(row[1] for row in rows), np.float16).reshape(
                    len(rows), dimension
                )
                first += len(rows)
        finally:
            self.db.rollback()
        return ids, matrix, revision

    def generation(self) -> Generation | None:
        """The current snapshot; None before the first."""
        for row in self.db.query(
            "SELECT number, file, sha256, chunks, kind, revision, recall FROM generations ORDER BY number DESC LIMIT 1"
        ):
            return Generation(**row)
        return None

    def next_generation(self) -> int:
        current = self.generation()
        return current.number + 1 if current else 1

    def save_generation(self, generation: Generation) -> None:
        with self.transaction() as db:
            db.execute(
                """INSERT INTO generations (number, file, sha256, chunks, kind, revision, recall, published_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                [*astuple(generation), now()],
            )


_FORGET_QUOTES = """UPDATE messages SET answer = NULL, content = 'This answer quoted materials that have been removed from the course.'
    WHERE conversation_id IN (SELECT id FROM conversations WHERE course = ?) AND answer IS NOT NULL
    AND EXISTS (SELECT 1 FROM json_each(answer, '$.sources') AS cited WHERE json_extract(cited.value, '$.source') = ?)"""

_RENAME_QUOTES = """UPDATE messages SET answer = json_set(answer, '$.sources', (
        SELECT json_group_array(CASE json_extract(cited.value, '$.source') WHEN ?
            THEN json_set(cited.value, '$.source', ?) ELSE json(cited.value) END)
        FROM json_each(answer, '$.sources') AS cited))
    WHERE conversation_id IN (SELECT id FROM conversations WHERE course = ?) AND answer IS NOT NULL
    AND EXISTS (SELECT 1 FROM json_each(answer, '$.sources') AS cited WHERE json_extract(cited.value, '$.source') = ?)"""

_PASSAGE = """SELECT c.id, courses.name AS course, d.source, d.title, c.start, c."end", c.location, c.context, c.text, c.tokens, c.ordinal,
        d.material, d.week, d.lecture
    FROM chunks c CROSS JOIN documents d ON d.id = c.document_id CROSS JOIN courses ON courses.id = d.course_id"""
"""Crossed, which fixes the order: the ids of a few chunks first, never all chunks of a course."""


def _passage(row: Mapping[str, Any]) -> Passage:
    chunk = Chunk(row["text"], row["start"], row["end"], Location.from_json(json.loads(row["location"])), row["context"], row["tokens"])
    facts = (row[key] for key in ("ordinal", "material", "week", "lecture"))
    return Passage(row["id"], row["course"], row["source"], row["title"], chunk, *facts)


_WHOLE_COURSE = "courses.name = ?"
_AND_AMONG = " AND +chunks_fts.rowid IN"
"""The plus keeps FTS5 from running its query for one id after the other, which takes seconds: matches are listed once, then looked up."""
_TERM = re.compile(r'"[^" ]+"')
"""One quoted word of an FTS5 expression."""


def _scope_condition(scope: Scope) -> tuple[str, list[Any]]:
    """A scope as SQL over `courses` and documents `d`: the one place where it is decided who sees what."""
    conditions = [_WHOLE_COURSE]
    values: list[Any] = [scope.course]
    if scope.path is not None:
        folder = scope.path.rstrip("/")
        conditions.append("(d.source = ? OR substr(d.source, 1, ?) = ?)")
        values += [folder, len(folder) + 1, folder + "/"]
    for column in ("material", "week", "lecture", "format"):
        wanted = getattr(scope, column)
        if wanted is not None:
            conditions.append(f"d.{column} = ?")
            values.append(wanted)
    if scope.at != ANY:
        conditions.append("(d.visible_from IS NULL OR d.visible_from <= ?)")
        values.append(_moment(scope.at))
    return " AND ".join(conditions), values


def _moment(at: str | None) -> str:
    """A scope's moment as the catalogue keeps them."""
    moment = now() if at is None else utc_moment(at)
    if moment is None:
        raise QuestionError(f"at is {at!r}; expected {EXPECTED}, or {ANY}")
    return moment


def put_catalogue(path: Path, directory: Path) -> None:
    """Makes a complete file the catalogue of a store that has none. SQLite would replay the log of one that was there before onto it."""
    for leftover in ("-wal", "-shm"):
        (directory / f"{CATALOGUE}{leftover}").unlink(missing_ok=True)
    put_in_place(path, directory / CATALOGUE)


def _connect(path: Path) -> Database:
    # mode=rw: a catalogue that is deleted under a running page is an error, not an empty new one.
    db = Database(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S))
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF", "secure_delete = ON"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    return db


def _course_id(db: Database, name: str) -> int:
    for row in db.query("SELECT id FROM courses WHERE name = ?", [name]):
        return row["id"]
    raise UnknownCourse(f"there is no course {name!r}; save it before its documents")


def _columns(facts: Mapping[str, str]) -> list[str | int | None]:
    """Material, week, lecture, date, due, visible_from and language as they stand in a document's row."""
    numbers = [int(facts[key]) if key in facts else None for key in ("week", "lecture")]
    return [facts.get("material"), *numbers, *(facts.get(key) for key in ("date", "due", "visible", "language"))]


def _delete(db: Database, course_id: int, source: str) -> None:
    db.execute(
        """DELETE FROM chunks_fts WHERE rowid IN (
            SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document_id WHERE course_id = ? AND source = ?)""",
        [course_id, source],
    )
    for row in db.query("SELECT text FROM documents WHERE course_id = ? AND source = ?", [course_id, source]):
        remove_words(db, course_id, count_words(row["text"]))
    deleted = db.execute("DELETE FROM documents WHERE course_id = ? AND source = ?", [course_id, source]).rowcount
    if deleted:
        db.execute("UPDATE revision SET to_forget = 1")
    db.execute("DELETE FROM set_aside WHERE course_id = ? AND source = ?", [course_id, source])


def _insert_vectors(db: Database, vectors: Mapping[str, np.ndarray]) -> None:
    for key, vector in vectors.items():
        db.execute("INSERT OR IGNORE INTO vectors (key, embedding) VALUES (?, ?)", [key, vector.astype(np.float16).tobytes()])


def _count_up(db: Database) -> None:
    db.execute("UPDATE revision SET number = number + 1")
