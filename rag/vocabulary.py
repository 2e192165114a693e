"""The words of each course as they are written, and how often: what spelling is corrected against.

Kept beside the text index, whose words are stems. A document's words are counted from its stored text, in the transaction that saves or
removes it, so that a word is gone with the last document that holds it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from sqlite_utils import Database

from rag.text import words

SHORTEST, LONGEST = 3, 30
_FIRST_WITHOUT_SPACES = "\u0e00"
"""From here on are the scripts that write no spaces (Thai, Chinese, Japanese, …), or none that a typing error is like in Latin script."""


def is_vocabulary(word: str) -> bool:
    """Whether a folded word is one: letters only, of a script with spaces, neither very short nor very long."""
    return SHORTEST <= len(word) <= LONGEST and word.isalpha() and max(word) < _FIRST_WITHOUT_SPACES


def count_words(text: str) -> Counter[str]:
    return Counter(word for word in words(text) if is_vocabulary(word))


def add_words(db: Database, course_id: int, counts: Mapping[str, int]) -> None:
    db.execute(
        """INSERT INTO words (course_id, word, occurrences) SELECT ?, key, value FROM json_each(?) WHERE true
        ON CONFLICT (course_id, word) DO UPDATE SET occurrences = occurrences + excluded.occurrences""",
        [course_id, json.dumps(counts)],
    )


def remove_words(db: Database, course_id: int, counts: Mapping[str, int]) -> None:
    # Not UPDATE … FROM json_each: SQLite goes through all words of the course for that, 230 ms where there are 50,000.
    add_words(db, course_id, {word: -count for word, count in counts.items()})
    db.execute(
        "DELETE FROM words WHERE course_id = ? AND occurrences <= 0 AND word IN (SELECT key FROM json_each(?))",
        [course_id, json.dumps(counts)],
    )


def known_words(db: Database, course: str, wanted: Iterable[str]) -> set[str]:
    """Those of the words that the course holds, exactly so."""
    rows = db.execute(
        """SELECT word FROM words
        WHERE course_id = (SELECT id FROM courses WHERE name = ?) AND word IN (SELECT value FROM json_each(?))""",
        [course, json.dumps(list(wanted))],
    )
    return {row[0] for row in rows}


def words_beginning(db: Database, course: str, prefix: str) -> dict[str, int]:
    """The words of a course that begin so, with how often they stand in it."""
    rows = db.execute(
        """SELECT word, occurrences FROM words
        WHERE course_id = (SELECT id FROM courses WHERE name = ?) AND word >= ? AND word < ?""",
        [course, prefix, prefix + "\U0010ffff"],
    )
    return dict(rows.fetchall())


def occurrences(db: Database, course: str, wanted: Iterable[str]) -> dict[str, int]:
    """How often each of the (folded) words stands in the course; those that do not are left out."""
    rows = db.execute(
        """SELECT word, occurrences FROM words
        WHERE course_id = (SELECT id FROM courses WHERE name = ?) AND word IN (SELECT value FROM json_each(?))""",
        [course, json.dumps(list(wanted))],
    )
    return dict(rows.fetchall())


def count_all(db: Database, course: str) -> int:
    """How many words the course has in all, each time it stands there."""
    (total,) = db.execute(
        "SELECT total(occurrences) FROM words WHERE course_id = (SELECT id FROM courses WHERE name = ?)", [course]
    ).fetchone()
    return int(total)
