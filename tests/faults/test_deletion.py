"""Deleted is deleted: no byte of a removed document is left in any file of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ingest.pipeline import ingest_course
from rag.answer import answer
from rag.config import NONE, Config
from rag.conversations import add_exchange, messages, start
from rag.engine import Engine
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder

SECRET = "The midterm solution is Quetzalcoatl."


def bytes_of(store: Store) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.directory.iterdir()))


def test_no_trace_of_a_removed_document(course_folder: Path, store: Store, embedder: HashingEmbedder) -> None:
    config = Config(store=store.directory, generator=NONE, confidence_floor=0.0)
    for number in range(30):
        (course_folder / f"notes-{number}.md").write_text(f"# Notes {number}\n\n" + f"Plain words {number}. " * 50)
    (course_folder / "solutions.md").write_text(f"# Solutions\n\n{SECRET}\n")
    ingest_course(course_folder, store, embedder, config)
    engine = Engine(Searcher(store, embedder, config), None, config)
    conversation = start(store, "optics", "What is it?")
    add_exchange(store, conversation.id, answer("What is the midterm solution?", Scope("optics"), engine))
    vector = embedder.embed_query(f"Solutions\n# Solutions\n\n{SECRET}").astype(np.float16).tobytes()
    traces = [b"Quetzalcoatl", b"quetzalcoatl", vector]
    assert [trace in bytes_of(store) for trace in traces] == [True, True, True]

    (course_folder / "solutions.md").unlink()
    ingest_course(course_folder, store, embedder, config)
    assert [trace in bytes_of(store) for trace in traces] == [False, False, False]
    assert [message.content for message in messages(store, conversation)] == [
        "What is the midterm solution?",
        "This answer quoted materials that have been removed from the course.",
    ]
    assert "midterm" in answer("What counts 30 % of the grade?", Scope("optics"), engine).text


def test_a_document_that_moves_keeps_its_answers(course_folder: Path, store: Store, embedder: HashingEmbedder) -> None:
    config = Config(store=store.directory, generator=NONE, confidence_floor=0.0)
    ingest_course(course_folder, store, embedder, config)
    engine = Engine(Searcher(store, embedder, config), None, config)
    conversation = start(store, "optics", "What is it?")
    given = answer("What does each late day cost?", Scope("optics"), engine)
    add_exchange(store, conversation.id, given)
    (course_folder / "syllabus.md").rename(course_folder / "week03-syllabus.md")
    ingest_course(course_folder, store, embedder, config)
    kept = messages(store, conversation)[1]
    assert kept.answer is not None
    assert (kept.content, {source.passage.source for source in kept.answer.sources}) == (given.text, {"week03-syllabus.md"})
    (course_folder / "week03-syllabus.md").unlink()
    ingest_course(course_folder, store, embedder, config)
    assert b"costs 5 points" not in bytes_of(store), "it is forgotten under its new name too"
