"""Conversations kept in the catalogue: each question, its answer with sources and latency, there again after a reload.

A prompt holds text of materials that the answer need not cite: it is kept with the revision of the store it was made at, and neither shown
nor told any more once the materials have changed.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlite_utils import Database

from rag.store import Store
from rag.types import Answer, Turn
from rag.wire import answer_from_json, answer_to_json

TITLE_CHARACTERS = 60
LONGEST_SEARCH = 200
"""Characters of the words that conversations are searched for: SQLite refuses patterns of tens of thousands."""
PROMPT_REVISION = "prompt_revision"
_COLUMNS = "id, course, title, created_at, owner"
HIDDEN = "This answer quotes materials that are not visible at present."


@dataclass(frozen=True, slots=True)
class Conversation:
    """`owner` names whose it is without telling who that is; empty: of whoever sits at the machine."""

    id: str
    course: str
    title: str
    created_at: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a reader thought of an answer: `rating` is 1 or -1."""

    rating: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `answer` is there for the assistant's, `feedback` where its reader gave some."""

    id: int
    role: str
    content: str
    answer: Answer | None = None
    feedback: Feedback | None = None
    created_at: str = ""


def start(store: Store, course: str, first_question: str, owner: str = "") -> Conversation:
    """A new conversation, titled by its first question."""
    with store.transaction() as db:
        return _start(db, course, first_question, owner)


def rename(store: Store, conversation_id: str, title: str) -> None:
    """Gives a conversation another title; an empty one changes nothing."""
    if title.strip():
        with store.transaction() as db:
            db.execute("UPDATE conversations SET title = ? WHERE id = ?", [_title(" ".join(title.split())), conversation_id])


def list_conversations(store: Store, course: str, owner: str = "", words: str = "", limit: int = 50) -> list[Conversation]:
    """An owner's conversations about a course, the newest first; with `words`, those that hold them in title or messages."""
    pattern = "%" + re.sub(r"[%_^]", r"^\g<0>", words.strip()[:LONGEST_SEARCH]) + "%"
    rows = store.db.query(
        f"""SELECT {_COLUMNS} FROM conversations c WHERE course = ? AND owner = ? AND (title LIKE ? ESCAPE '^' OR EXISTS (
            SELECT 1 FROM messages WHERE conversation_id = c.id AND replaced_at IS NULL AND content LIKE ? ESCAPE '^'))
        ORDER BY rowid DESC LIMIT ?""",
        [course, owner, pattern, pattern, limit],
    )
    return [Conversation(**row) for row in rows]


def find(store: Store, conversation_id: str, owner: str = "") -> Conversation | None:
    """The conversation, if it is this owner's."""
    for row in store.db.query(f"SELECT {_COLUMNS} FROM conversations WHERE id = ? AND owner = ?", [conversation_id, owner]):
        return Conversation(**row)
    return None


def find_of_anyone(store: Store, conversation_id: str) -> Conversation | None:
    """The conversation, whoever's it is: for staff at the command line, who can read the catalogue anyway."""
    for row in store.db.query(f"SELECT {_COLUMNS} FROM conversations WHERE id = ?", [conversation_id]):
        return Conversation(**row)
    return None


def messages(store: Store, conversation: Conversation) -> list[Message]:
    """The messages of a conversation, in order. An answer that cites what is not visible now is left out, and that is said."""
    hidden = store.hidden_sources(conversation.course)
    rows = store.db.query(
        """SELECT id, role, content, answer, rating, note, messages.created_at FROM messages LEFT JOIN feedback ON message_id = messages.id
        WHERE conversation_id = ? AND replaced_at IS NULL ORDER BY id""",
        [conversation.id],
    )
    revision = store.revision()
    return [_message(row, hidden, revision) for row in rows]


def _message(row: Mapping[str, Any], hidden: Collection[str], revision: int) -> Message:
    value = json.loads(row["answer"]) if row["answer"] else None
    answered = answer_from_json(value) if value else None
    if value and answered and value.get(PROMPT_REVISION) != revision:
        answered = replace(answered, prompt=())
    if answered is not None and any(source.passage.source in hidden for source in answered.sources):
        return Message(row["id"], row["role"], HIDDEN, created_at=row["created_at"])
    feedback = Feedback(row["rating"], row["note"]) if row["rating"] else None
    return Message(row["id"], row["role"], row["content"], answered, feedback, row["created_at"])


def turns(earlier: Sequence[Message]) -> list[Turn]:
    """The messages as history for the next question."""
    return [Turn(message.role, message.content) for message in earlier]


def add_exchange(store: Store, conversation_id: str, answer: Answer, revision: int | None = None) -> None:
    """Keeps a question and its finished answer, both or neither.

    Args:
        revision: of the store before the question was searched for; the prompt is kept only if it still is that.
    """
    with store.transaction() as db:
        _add_exchange(db, conversation_id, answer, revision if revision == store.revision() else None)


def keep_exchange(
    store: Store, place: Conversation | tuple[str, str], answer: Answer, revision: int, replaced: tuple[int, int] | None = None
) -> Conversation:
    """Keeps a question and its finished answer, with the conversation they begin if they do: all of it or nothing.

    Args:
        place: the conversation; or course and owner of a new one. One that has been deleted meanwhile begins anew.
        revision: as in `add_exchange`.
        replaced: first and last of the messages that this is asked instead of. They are shown no more, and are there for insights until the
            conversation is deleted.
    """
    with store.transaction() as db:
        conversation = place if isinstance(place, Conversation) and _exists(db, place) else None
        if conversation is None:
            course, owner = (place.course, place.owner) if isinstance(place, Conversation) else place
            conversation = _start(db, course, answer.question, owner)
        elif replaced is not None:
            db.execute(
                "UPDATE messages SET replaced_at = ? WHERE conversation_id = ? AND id BETWEEN ? AND ?", [_now(), conversation.id, *replaced]
            )
        _add_exchange(db, conversation.id, answer, revision if revision == store.revision() else None)
        return conversation


def give_feedback(store: Store, conversation: Conversation, message_id: int, feedback: Feedback | None) -> None:
    """Keeps what a reader thinks of an answer, in place of what he thought before; None takes it back.

    Nothing happens where the conversation has no such message: it was deleted in another tab.
    """
    with store.transaction() as db:
        message = db.execute("SELECT id FROM messages WHERE id = ? AND conversation_id = ?", [message_id, conversation.id]).fetchone()
        if message is None:
            return
        db.execute("DELETE FROM feedback WHERE message_id = ?", [message_id])
        if feedback is not None:
            db.execute(
                "INSERT INTO feedback (message_id, rating, note, created_at) VALUES (?, ?, ?, ?)",
                [message_id, feedback.rating, feedback.note, _now()],
            )


def delete(store: Store, conversation_id: str) -> None:
    with store.transaction() as db:
        db.execute("DELETE FROM conversations WHERE id = ?", [conversation_id])


def _start(db: Database, course: str, first_question: str, owner: str) -> Conversation:
    conversation = Conversation(uuid.uuid4().hex, course, _title(first_question), _now(), owner)
    db.execute(
        "INSERT INTO conversations (id, course, title, created_at, owner) VALUES (:id, :course, :title, :created_at, :owner)",
        asdict(conversation),
    )
    return conversation


def _exists(db: Database, conversation: Conversation) -> bool:
    rows = db.execute("SELECT 1 FROM conversations WHERE id = ? AND owner = ?", [conversation.id, conversation.owner])
    return rows.fetchone() is not None


def _add_exchange(db: Database, conversation_id: str, answer: Answer, prompt_revision: int | None) -> None:
    """
    Args:
        prompt_revision: of the store that the prompt was made from; None leaves the prompt out.
    """
    if prompt_revision is None:
        kept = answer_to_json(replace(answer, prompt=()))
    else:
        kept = answer_to_json(answer) | {PROMPT_REVISION: prompt_revision}
    for role, content, value in (("user", answer.question, None), ("assistant", answer.text, json.dumps(kept))):
        db.execute(
            "INSERT INTO messages (conversation_id, role, content, answer, created_at) VALUES (?, ?, ?, ?, ?)",
            [conversation_id, role, content, value, _now()],
        )


def _title(text: str) -> str:
    return text if len(text) <= TITLE_CHARACTERS else text[: TITLE_CHARACTERS - 1] + "…"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
