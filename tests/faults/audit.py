"""Everything that may be wrong with a store, looked for. An empty list means: nothing lost, doubled, orphaned, mixed or wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from rag.backup import check_catalogue
from rag.database import CATALOGUE
from rag.lexical import indexed_text
from rag.snapshots import load_snapshot, search
from rag.store import Store
from rag.text import embedded_text
from rag.text_index import table_of
from rag.types import Scope
from rag.vectors import ChunkSet
from support import HashingEmbedder

COURSE = "optics"
QUESTIONS = ("Topic3 bends light", "Topic17 degrees", "What does Topic8 bend?")


def faults_of_store(directory: Path) -> list[str]:
    """Faults within the store itself, as a reader finds it at this moment."""
    store = Store.open(directory)
    try:
        return [*_catalogue_faults(store), *_search_faults(store)]
    finally:
        store.close()


def faults_against_folder(directory: Path, folder: Path) -> list[str]:
    """What the store has too little, too much or different from the folder, after a run that came to its end."""
    store = Store.open(directory)
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    documents = [(document.source, document.sha256) for document in store.documents(COURSE)]
    aside = [(file.source, file.sha256) for file in store.set_aside(COURSE).values()]
    found = dict([*documents, *aside])
    faults = [f"doubled: {source}" for source in found if len([one for one in [*documents, *aside] if one[0] == source]) > 1]
    faults += [f"lost: {source}" for source in expected.keys() - found.keys()]
    faults += [f"left over: {source}" for source in found.keys() - expected.keys()]
    faults += [f"stale: {source}" for source in expected.keys() & found.keys() if expected[source] != found[source]]
    for source, _ in documents:
        if source in expected and _words(store.document_text(COURSE, source)) != _words((folder / source).read_text()):
            faults.append(f"another text: {source}")
    generation = store.generation()
    if generation is None or generation.revision != store.revision():
        faults.append("the snapshot is not that of the catalogue")
    if sorted(path.name for path in directory.glob("vectors-*")) != ([generation.file] if generation and generation.file else []):
        faults.append(f"snapshot files left over: {sorted(path.name for path in directory.glob('vectors-*'))}")
    store.close()
    return faults


def _words(text: str) -> list[str]:
    return text.replace("#", "").split()


def _catalogue_faults(store: Store) -> list[str]:
    problem = check_catalogue(store.directory / CATALOGUE)
    faults = [problem] if problem else []
    stored = store.db.execute(
        """SELECT d.course_id, c.id, c.context, c.text, d.language FROM chunks c JOIN documents d ON d.id = c.document_id
        ORDER BY d.course_id, c.id"""
    )
    expected = [
        (course, chunk, indexed_text(context, language), indexed_text(text, language)) for course, chunk, context, text, language in stored
    ]
    indexed = []
    for (course,) in store.db.execute("SELECT id FROM courses ORDER BY id").fetchall():
        table = table_of(course)
        store.db.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")  # raises when the index is not that of its texts
        store.db.rollback()
        indexed += [(course, *row) for row in store.db.execute(f"SELECT rowid, context, text FROM {table} ORDER BY rowid")]
    if expected != indexed:
        faults.append("the text index does not hold the chunks")
    counted = {
        "documents without chunks": "SELECT count(*) FROM documents d WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE document_id = d.id)",
        "orphaned chunks": "SELECT count(*) FROM chunks WHERE document_id NOT IN (SELECT id FROM documents)",
        "chunks without vector": "SELECT count(*) FROM chunks WHERE vector_id NOT IN (SELECT id FROM vectors)",
        "doubled chunks": """SELECT count(*) FROM (SELECT 1 FROM chunks GROUP BY document_id, start, "end" HAVING count(*) > 1)""",
        "doubled vectors": "SELECT count(*) FROM (SELECT 1 FROM vectors GROUP BY key HAVING count(*) > 1)",
        "gaps in a document": """SELECT count(*) FROM (SELECT 1 FROM chunks GROUP BY document_id HAVING max(ordinal) + 1 <> count(*))""",
    }
    return faults + [f"{count} {what}" for what, query in counted.items() if (count := next(iter(store.db.execute(query)))[0])]


def _search_faults(store: Store) -> list[str]:
    """Both legs against the stored text itself: a hit must be there, say what the catalogue says, and be as similar as its text is."""
    if not any(course.name == COURSE for course in store.courses()):
        return []
    scope, embedder = Scope(COURSE), HashingEmbedder()
    chunk_ids = store.chunk_ids(scope)
    passages = store.passages(chunk_ids.tolist())
    texts = {chunk_id: embedded_text(passage.chunk.context, passage.chunk.text) for chunk_id, passage in passages.items()}
    snapshot = load_snapshot(store, lambda notice: None)
    faults = []
    for question in QUESTIONS:
        query = embedder.embed_query(question)
        exact = sorted((float(embedder.embed_query(text) @ query) for text in texts.values()), reverse=True)[:10]
        found = search(snapshot, query, 10, ChunkSet(chunk_ids))
        if not np.allclose([similarity for _, similarity in found], exact, atol=2e-3):
            faults.append(f"the vector search for {question!r} does not find what is there")
        if any(abs(float(embedder.embed_query(texts[chunk_id]) @ query) - similarity) > 2e-3 for chunk_id, similarity in found):
            faults.append(f"a wrong vector for {question!r}")
    for passage in passages.values():
        text = store.document_text(COURSE, passage.source)
        if text[passage.chunk.start : passage.chunk.end] != passage.chunk.text:
            faults.append(f"a chunk of {passage.source} is not at its place")
    return faults
