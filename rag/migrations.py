"""The catalogue's schema as numbered steps. A step that has been released is never edited; a change is a new step."""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database, Migrations

from rag.text_index import create_table, insert
from rag.vocabulary import add_words, count_words

MIGRATIONS = Migrations("lectern")
KNOWN: set[str] = set()


def _step(function: Callable[[Database], None]) -> Callable[[Database], None]:
    KNOWN.add(function.__name__)
    return MIGRATIONS()(function)


def _run(db: Database, script: str) -> None:
    """Each statement by itself: `executescript` would commit the migration's transaction."""
    for statement in script.split(";\n\n"):
        if statement.strip():
            db.execute(statement)


@_step
def m001_catalogue(db: Database) -> None:
    _run(
        db,
        """
        CREATE TABLE embedder (
            id TEXT NOT NULL, revision TEXT NOT NULL, dimension INTEGER NOT NULL
        );

        CREATE TABLE courses (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT NOT NULL, folder TEXT NOT NULL
        );

        CREATE TABLE documents (
            id INTEGER PRIMARY KEY,
            course_id INTEGER NOT NULL REFERENCES courses(id) ON DELETE CASCADE,
            source TEXT NOT NULL, sha256 TEXT NOT NULL, recipe TEXT NOT NULL, format TEXT NOT NULL,
            title TEXT NOT NULL, pages INTEGER NOT NULL, text TEXT NOT NULL,
            material TEXT, week INTEGER, date TEXT,
            ingested_at TEXT NOT NULL,
            UNIQUE (course_id, source)
        );

        CREATE TABLE vectors (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, embedding BLOB NOT NULL
        );

        CREATE TABLE chunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
            ordinal INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
            location TEXT NOT NULL, context TEXT NOT NULL, text TEXT NOT NULL,
            vector_id INTEGER NOT NULL REFERENCES vectors(id),
            UNIQUE (document_id, ordinal)
        );

        CREATE INDEX chunks_vector ON chunks (vector_id);

        CREATE TABLE set_aside (
            course_id INTEGER NOT NULL REFERENCES courses(id) ON DELETE CASCADE,
            source TEXT NOT NULL, sha256 TEXT NOT NULL, recipe TEXT NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (course_id, source)
        );

        CREATE TABLE revision (number INTEGER NOT NULL);

        INSERT INTO revision VALUES (0);

        CREATE TABLE generations (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            file TEXT NOT NULL, sha256 TEXT NOT NULL, chunks INTEGER NOT NULL, kind TEXT NOT NULL,
            revision INTEGER NOT NULL, published_at TEXT NOT NULL
        );

        CREATE TABLE runs (
            id INTEGER PRIMARY KEY, course TEXT NOT NULL, report TEXT NOT NULL, finished_at TEXT NOT NULL
        );

        CREATE TABLE conversations (
            id TEXT PRIMARY KEY, course TEXT NOT NULL, title TEXT NOT NULL, created_at TEXT NOT NULL
        );

        CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            role TEXT NOT NULL, content TEXT NOT NULL, answer TEXT, created_at TEXT NOT NULL
        );

        CREATE INDEX messages_conversation ON messages (conversation_id)
        """,
    )
    # Kept up to date by the store itself: triggers on a virtual table need trusted_schema, which stays off.
    db["chunks"].enable_fts(["context", "text"], tokenize="porter unicode61 remove_diacritics 2")


@_step
def m002_more_about_files(db: Database) -> None:
    _run(
        db,
        """
        ALTER TABLE documents ADD COLUMN lecture INTEGER;

        ALTER TABLE documents ADD COLUMN due TEXT;

        ALTER TABLE documents ADD COLUMN notices TEXT NOT NULL DEFAULT '[]';

        ALTER TABLE documents ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';

        ALTER TABLE set_aside ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';

        ALTER TABLE revision ADD COLUMN to_forget INTEGER NOT NULL DEFAULT 0
        """,
    )


@_step
def m003_measured_recall(db: Database) -> None:
    _run(db, "ALTER TABLE generations ADD COLUMN recall REAL")


@_step
def m004_visibility(db: Database) -> None:
    _run(
        db,
        """
        ALTER TABLE documents ADD COLUMN visible_from TEXT;

        ALTER TABLE documents ADD COLUMN language TEXT;

        CREATE INDEX documents_visible ON documents (course_id, visible_from) WHERE visible_from IS NOT NULL
        """,
    )


@_step
def m005_words(db: Database) -> None:
    """The words of what is there are counted in the stored texts: some 3 million characters a second."""
    _run(
        db,
        """
        CREATE TABLE words (
            course_id INTEGER NOT NULL REFERENCES courses(id) ON DELETE CASCADE,
            word TEXT NOT NULL, occurrences INTEGER NOT NULL,
            PRIMARY KEY (course_id, word)
        ) WITHOUT ROWID
        """,
    )
    for course_id, text in db.execute("SELECT course_id, text FROM documents"):
        add_words(db, course_id, count_words(text))


@_step
def m006_terms(db: Database) -> None:
    """A text index for each course, of the terms themselves (`rag.lexical`): FTS5's own tokenizer knows English alone."""
    _run(
        db,
        """
        ALTER TABLE chunks ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;

        UPDATE chunks SET tokens = (length(text) + 3) / 4;

        DROP TABLE chunks_fts
        """,
    )
    for (course_id,) in db.execute("SELECT id FROM courses"):
        create_table(db, course_id)
    rows = db.execute("SELECT d.course_id, c.id, c.context, c.text, d.language FROM chunks c JOIN documents d ON d.id = c.document_id")
    for row in rows:
        insert(db, *row)


@_step
def m007_readers(db: Database) -> None:
    """Whose a conversation is (empty: of whoever sits at the machine), what readers thought of answers, and what was asked instead of what.

    Ids of messages are never used again: links and thumbs of an open page name them.
    """
    _run(
        db,
        """
        ALTER TABLE conversations ADD COLUMN owner TEXT NOT NULL DEFAULT '';

        CREATE INDEX conversations_owner ON conversations (course, owner);

        CREATE TABLE new_messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            role TEXT NOT NULL, content TEXT NOT NULL, answer TEXT, created_at TEXT NOT NULL, replaced_at TEXT
        );

        INSERT INTO new_messages (id, conversation_id, role, content, answer, created_at)
        SELECT id, conversation_id, role, content, answer, created_at FROM messages;

        DROP TABLE messages;

        ALTER TABLE new_messages RENAME TO messages;

        CREATE INDEX messages_conversation ON messages (conversation_id);

        CREATE TABLE feedback (
            message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
            rating INTEGER NOT NULL CHECK (rating IN (-1, 1)), note TEXT NOT NULL, created_at TEXT NOT NULL
        )
        """,
    )
