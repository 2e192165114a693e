"""The catalogue: one SQLite file that is the truth about courses, documents, chunks, their vectors and the conversations.

Everything else (FAISS snapshots) is derived from it. A document's rows, text index and vectors change in one transaction. It knows no
model: vectors come in and go out as arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlite_utils import Database

from rag.database import Catalogue
from rag.errors import StoreError, StoreMismatch, UnknownCourse
from rag.moments import ANY, EARLIEST, now
from rag.records import Course, EmbedderStamp, Generation, NewDocument, Part, SetAside, StoredDocument
from rag.scopes import moment_of, scope_condition
from rag.text_index import TextIndex, create_table, insert, table_of
from rag.types import Chunk, Location, Passage, Scope
from rag.vocabulary import add_words, count_words, known_words, remove_words, words_beginning


class Store(Catalogue):
    """An open store. Cheap to hold; safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.text_index = TextIndex(lambda: self.db)

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
        return self.documents_in(Scope(course, at=at))

    def documents_in(self, scope: Scope, source: str | None = None) -> list[StoredDocument]:
        """The documents that a scope sees; with a source, that one alone."""
        condition, values = scope_condition(scope)
        named = "" if source is None else " AND source = ?"
        rows = self.db.query(
            f"""SELECT d.id, source, sha256, recipe, format, d.title, pages, material, week, lecture, date, due, notices, fingerprint,
                visible_from, language
            FROM documents d JOIN courses ON courses.id = d.course_id WHERE {condition}{named} ORDER BY source""",
            [*values, *([] if source is None else [source])],
        )
        return [StoredDocument(**row | {"notices": json.loads(row["notices"])}) for row in rows]

    def passages_of_documents(self, course: str, at: str | None = ANY) -> dict[str, tuple[int, int]]:
        """By source, how many passages a document has and the id of its first one; documents without any are left out."""
        condition, values = scope_condition(Scope(course, at=at))
        rows = self.db.execute(
            f"""SELECT source, (SELECT count(*) FROM chunks WHERE document_id = d.id), c.id
            FROM documents d JOIN courses ON courses.id = d.course_id JOIN chunks c ON c.document_id = d.id AND c.ordinal = 0
            WHERE {condition}""",
            values,
        )
        return {source: (count, first) for source, count, first in rows}

    def document_text(self, course: str, source: str, at: str | None = None) -> str:
        """The extracted text of a document.

        Raises:
            StoreError: the course has no such document, or it is not visible at the moment `at`: both in the same words.
        """
        condition, values = scope_condition(Scope(course, at=at))
        rows = self.db.query(
            f"SELECT text FROM documents d JOIN courses ON courses.id = d.course_id WHERE {condition} AND source = ?", [*values, source]
        )
        for row in rows:
            return row["text"]
        raise StoreError(f"the course {course} has no document {source}")

    def document(self, course: str, source: str, at: str | None = None) -> StoredDocument:
        """What the catalogue says of one document.

        Raises:
            StoreError: as for `document_text`.
        """
        for document in self.documents_in(Scope(course, at=at), source):
            return document
        raise StoreError(f"the course {course} has no document {source}")

    def parts(self, course: str, source: str, at: str | None = None) -> list[Part]:
        """The places of a document that hold text, in reading order: pages, slides, cells, sections, or spans of lines.

        Empty when the course has no such document that is visible at the moment `at`.
        """
        condition, values = scope_condition(Scope(course, at=at))
        rows = self.db.execute(
            f"""SELECT c.start, c."end", c.location FROM chunks c JOIN documents d ON d.id = c.document_id
            JOIN courses ON courses.id = d.course_id WHERE {condition} AND source = ? ORDER BY c.ordinal""",
            [*values, source],
        )
        parts: list[Part] = []
        for start, end, location in rows:
            part = Part(start, end, Location.from_json(json.loads(location)))
            if parts and parts[-1].location == part.location:
                parts[-1] = replace(parts[-1], end=end)
            else:
                parts.append(part)
        return parts

    def has_file(self, sha256: str) -> bool:
        """Whether some document was read from a file with this content."""
        return bool(self.db.execute("SELECT EXISTS (SELECT 1 FROM documents WHERE sha256 = ?)", [sha256]).fetchone()[0])

    def original(self, course: str, source: str, at: str | None = None) -> bytes:
        """The file of a document as it was ingested.

        Raises:
            StoreError: the course has no such document that is visible at the moment `at`, or its file is gone or has changed since.
        """
        condition, values = scope_condition(Scope(course, at=at))
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
        condition, values = scope_condition(scope)
        rows = self.db.execute(
            f"""SELECT d.language FROM documents d JOIN courses ON courses.id = d.course_id
            WHERE {condition} AND d.language IS NOT NULL GROUP BY d.language ORDER BY count(*) DESC, d.language""",
            values,
        )
        return [row[0] for row in rows]

    def hidden_sources(self, course: str, at: str | None = None) -> set[str]:
        """The documents of a course that are not visible at a moment."""
        condition, values = scope_condition(Scope(course, at=at))
        rows = self.db.execute(
            f"SELECT source FROM documents d JOIN courses ON courses.id = d.course_id WHERE courses.name = ? AND NOT ({condition})",
            [course, *values],
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
            [moment_of(scope.at), scope.course],
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
            create_table(db, _course_id(db, name))

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
                assert inserted.lastrowid is not None
                insert(db, course_id, inserted.lastrowid, chunk.context, chunk.text, document.facts.get("language"))
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
            if sources:
                db.execute(_FORGET_PROMPTS, [course])
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
            for (course_id,) in db.execute("SELECT id FROM courses").fetchall():
                db.execute(f"INSERT INTO {table_of(course_id)} ({table_of(course_id)}) VALUES ('optimize')")
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
        condition, values = scope_condition(scope)
        rows = self.db.query(f"{_PASSAGE} WHERE c.id IN ({marks}) AND {condition}", [*chunk_ids, *values])
        return {row["id"]: _passage(row) for row in rows}

    def passages_of(self, scope: Scope, source: str) -> list[Passage]:
        """The passages of a document in reading order; none of one that the scope does not see."""
        condition, values = scope_condition(scope)
        rows = self.db.query(
            f"""{_PASSAGE} WHERE c.document_id = (SELECT d.id FROM documents d JOIN courses ON courses.id = d.course_id
                WHERE {condition} AND d.source = ?) ORDER BY c.ordinal""",
            [*values, source],
        )
        return [_passage(row) for row in rows]

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

    def count_documents(self, scope: Scope) -> int:
        """How many documents a scope holds."""
        condition, values = scope_condition(scope)
        rows = self.db.execute(f"SELECT count(*) FROM documents d JOIN courses ON courses.id = d.course_id WHERE {condition}", values)
        return int(next(rows)[0])

    def chunk_ids(self, scope: Scope) -> np.ndarray:
        """The ids of all chunks in a scope, `(n,) int64`, ascending."""
        condition, values = scope_condition(scope)
        rows = self.db.execute(
            f"""SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document_id JOIN courses ON courses.id = d.course_id
            WHERE {condition}""",
            values,
        )
        return np.sort(np.fromiter((row[0] for row in rows), np.int64))  # a million: 0.35 s, and 0.62 s when SQLite sorts them

    def known_words(self, course: str, wanted: Iterable[str]) -> set[str]:
        """Those of the (folded) words that the course holds, exactly so."""
        return known_words(self.db, course, wanted)

    def words_beginning(self, course: str, prefix: str) -> dict[str, int]:
        """The words of a course that begin so, with how often they stand in it."""
        return words_beginning(self.db, course, prefix)

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

_FORGET_PROMPTS = """UPDATE messages SET answer = json_remove(answer, '$.prompt')
    WHERE conversation_id IN (SELECT id FROM conversations WHERE course = ?) AND json_extract(answer, '$.prompt') IS NOT NULL"""
"""Of the whole course: a prompt holds more passages than the answer cites, and earlier answers."""

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
        f"""DELETE FROM {table_of(course_id)} WHERE rowid IN (
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
