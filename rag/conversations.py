"""Conversations kept in the catalogue: each question, its answer with sources and latency, there again after a reload.

A prompt holds text of materials that the answer need not cite: it is kept with the revision of the store it was made at, and neither shown
nor told any more once the materials have changed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rag.store import Store
from rag.types import Answer, Turn
from rag.wire import answer_from_json, answer_to_json

TITLE_CHARACTERS = 60
PROMPT_REVISION = "prompt_revision"
HIDDEN = "This answer quotes materials that are not visible at present."


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    course: str
    title: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `answer` is there for the assistant's."""

    role: str
    content: str
    answer: Answer | None = None


def start(store: Store, course: str, first_question: str) -> Conversation:
    """A new conversation, titled by its first question."""
    title = first_question if len(first_question) <= TITLE_CHARACTERS else first_question[: TITLE_CHARACTERS - 1] + "…"
    conversation = Conversation(uuid.uuid4().hex, course, title, _now())
    with store.transaction() as db:
        db.execute("INSERT INTO conversations (id, course, title, created_at) VALUES (?, ?, ?, ?)", [*_fields(conversation)])
    return conversation


def list_conversations(store: Store, course: str, limit: int = 50) -> list[Conversation]:
    """The conversations about a course, the newest first."""
    rows = store.db.query(
        "SELECT id, course, title, created_at FROM conversations WHERE course = ? ORDER BY rowid DESC LIMIT ?", [course, limit]
    )
    return [Conversation(**row) for row in rows]


def find(store: Store, conversation_id: str) -> Conversation | None:
    for row in store.db.query("SELECT id, course, title, created_at FROM conversations WHERE id = ?", [conversation_id]):
        return Conversation(**row)
    return None


def messages(store: Store, conversation_id: str) -> list[Message]:
    """The messages of a conversation, in order. An answer that cites what is not visible now is left out, and that is said."""
    conversation = find(store, conversation_id)
    hidden = store.hidden_sources(conversation.course) if conversation else set()
    rows = store.db.query("SELECT role, content, answer FROM messages WHERE conversation_id = ? ORDER BY id", [conversation_id])
    revision = store.revision()
    return [_message(row["role"], row["content"], row["answer"], hidden, revision) for row in rows]


def _message(role: str, content: str, answer: str | None, hidden: Collection[str], revision: int) -> Message:
    value = json.loads(answer) if answer else None
    answered = answer_from_json(value) if value else None
    if value and answered and value.get(PROMPT_REVISION) != revision:
        answered = replace(answered, prompt=())
    if answered is not None and any(source.passage.source in hidden for source in answered.sources):
        return Message(role, HIDDEN)
    return Message(role, content, answered)


def turns(store: Store, conversation_id: str) -> list[Turn]:
    """The messages as history for the next question."""
    return [Turn(message.role, message.content) for message in messages(store, conversation_id)]


def add_exchange(store: Store, conversation_id: str, answer: Answer, revision: int | None = None) -> None:
    """Keeps a question and its finished answer, both or neither.

    Args:
        revision: of the store before the question was searched for; the prompt is kept only if it still is that.
    """
    with store.transaction() as db:
        if revision == store.revision():
            kept = answer_to_json(answer) | {PROMPT_REVISION: revision}
        else:
            kept = answer_to_json(replace(answer, prompt=()))
        for role, content, value in (("user", answer.question, None), ("assistant", answer.text, json.dumps(kept))):
            db.execute(
                "INSERT INTO messages (conversation_id, role, content, answer, created_at) VALUES (?, ?, ?, ?, ?)",
                [conversation_id, role, content, value, _now()],
            )


def delete(store: Store, conversation_id: str) -> None:
    with store.transaction() as db:
        db.execute("DELETE FROM conversations WHERE id = ?", [conversation_id])


def _fields(conversation: Conversation) -> tuple[str, str, str, str]:
    return conversation.id, conversation.course, conversation.title, conversation.created_at


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
