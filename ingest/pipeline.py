"""The whole write flow: walk → read → chunk → embed → store → publish.

A document is saved in one transaction as soon as its vectors are there; the snapshot is published once, at the end. A file that cannot be
read is set aside with its reason and the run goes on. Ended at any moment, the next run goes on from what is saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ingest.chunk import chunk_document, embedded_text
from ingest.facts import CourseFacts, facts_of_file, read_course_facts
from ingest.readers import READERS_VERSION, read_document
from ingest.walk import SourceFile, compare, walk
from rag.config import Config
from rag.embed import Embedder
from rag.errors import CorpusError, UnreadableDocument
from rag.store import EmbedderStamp, NewDocument, Store
from rag.timing import Stopwatch
from rag.types import Chunk, Document
from rag.vectors import publish

CHUNKS_AT_ONCE = 512
"""Documents are gathered until they have so many chunks: an embedder is fast when its batches are sorted by length from a large heap."""

Progress = Callable[[int, int, str], None]
"""Told `(files done, files in all, what now)`."""


@dataclass(slots=True)
class IngestReport:
    """What a run did to one course."""

    course: str
    files: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("new", "changed", "unchanged", "renamed", "removed", "set_aside"), 0)
    )
    set_aside: list[dict[str, str]] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)
    pages: int = 0
    chunks: int = 0
    tokens: int = 0
    embedded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = ""
    generation: int = 0

    def to_json(self) -> dict[str, Any]:
        rounded = {stage: round(seconds, 4) for stage, seconds in self.seconds.items()}
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"seconds": rounded}


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that is read and chunked, waiting for its vectors."""

    file: SourceFile
    document: Document
    facts: dict[str, str]
    chunks: list[Chunk]
    keys: list[str]


def ingest_course(
    folder: Path,
    store: Store,
    embedder: Embedder,
    config: Config,
    *,
    name: str | None = None,
    rebuild: bool = False,
    progress: Progress = lambda *_: None,
) -> IngestReport:
    """Brings the store up to date with a course folder.

    Raises:
        CorpusError: the folder holds nothing, cannot be listed, or is not the one the course came from; what the store has stays.
        StoreMismatch: the store's vectors are another embedder's, and `rebuild` was not asked for.
        StoreBusy: another process is writing.
    """
    watch = Stopwatch()
    with store.writer_lock():
        with watch.stage("walk"):
            course = read_course_facts(folder, name)
            _require_same_folder(store, course.name, folder, rebuild)
            files, refused = walk(folder)
            files = [replace(file, recipe=_recipe(file.source, course, config)) for file in files]
        _settle_embedder(store, embedder, rebuild, watch)
        store.save_course(course.name, course.title, folder)
        report = IngestReport(course.name)
        to_read = _sync(store, course, files, refused, report, rebuild)
        if to_read:
            with watch.stage("load"):
                report.device = embedder.device
        done = 0
        for group in _groups(_prepare(to_read, store, course, embedder, config, report, watch)):
            _embed_and_save(group, store, course.name, embedder, report, watch)
            done += len(group)
            progress(done, len(to_read), group[-1].file.source)

        with watch.stage("publish"):
            current = store.generation()
            if current is None or current.revision != store.revision():
                store.drop_unused_vectors()
                current = publish(store)
        _add_up(store, course.name, report)
        report.generation = current.number
        report.seconds = watch.seconds()
        store.save_run(course.name, report.to_json())
    return report


def _require_same_folder(store: Store, course: str, folder: Path, rebuild: bool) -> None:
    """Raises CorpusError when the course was ingested from another folder that is still there: one would remove the other's documents."""
    known = store.course_folder(course)
    if known is not None and known != folder.resolve() and known.is_dir() and not rebuild:
        raise CorpusError(
            f"the course {course} was ingested from {known}, not from {folder}; give this one another name with --course, "
            "or let it take the other's place with --rebuild"
        )


def _settle_embedder(store: Store, embedder: Embedder, rebuild: bool, watch: Stopwatch) -> None:
    """Makes sure that the store's vectors are this embedder's. A store that has them already does not need the model loaded."""
    known = store.embedder()
    if known is not None and (known.id, known.revision) == embedder.identity:
        return
    with watch.stage("load"):
        stamp = embedder.stamp
    if rebuild:
        with watch.stage("embed"):
            reembed(store, embedder)
    store.stamp_embedder(stamp)


def reembed(store: Store, embedder: Embedder) -> None:
    """Gives every chunk of the store a vector of this embedder, from the stored text; nothing is parsed. All at once or not at all."""
    if store.embedder() in (None, embedder.stamp):
        return
    embedded = {chunk_id: embedded_text(context, text) for chunk_id, context, text in store.chunk_texts()}
    keys = {chunk_id: vector_key(embedder.stamp, text) for chunk_id, text in embedded.items()}
    texts = {keys[chunk_id]: text for chunk_id, text in embedded.items()}
    store.replace_vectors(embedder.stamp, keys, _embed(texts, embedder))


def vector_key(stamp: EmbedderStamp, text: str) -> str:
    """Names the vector of a text by one embedder: the same passage in two files is embedded once."""
    return hashlib.sha256(f"{stamp.id}\0{stamp.revision}\0{text}".encode()).hexdigest()


def _recipe(source: str, course: CourseFacts, config: Config) -> str:
    """Names everything besides a file's bytes that decides what becomes of it: its format and facts, the chunk size, the readers."""
    parts = (Path(source).suffix.lower(), sorted(facts_of_file(source, course, {}).items()), config.chunk_tokens, READERS_VERSION)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _sync(
    store: Store, course: CourseFacts, files: list[SourceFile], refused: dict[str, str], report: IngestReport, rebuild: bool
) -> list[SourceFile]:
    """Applies renames and removals, notes what was refused, and returns the files that must be read."""
    set_aside = store.set_aside(course.name)
    known = {document.source: f"{document.sha256} {document.recipe}" for document in store.documents(course.name)}
    known |= {source: f"{sha256} {recipe}" for source, (sha256, recipe, _) in set_aside.items()}
    changes = compare(files, {source: state for source, state in known.items() if source not in refused})
    renamed_set_aside = set_aside.keys() & changes.renamed.keys()
    for old, file in changes.renamed.items():
        if old not in renamed_set_aside:
            store.rename_document(course.name, old, file.source)
    if removed := [*changes.removed, *renamed_set_aside]:
        store.remove_documents(course.name, removed)
    for source, reason in refused.items():
        if set_aside.get(source) != ("", "", reason):
            store.save_set_aside(course.name, source, "", "", reason)
    report.files |= {
        "new": len(changes.new),
        "changed": len(changes.changed),
        "unchanged": len(changes.unchanged),
        "renamed": len(changes.renamed),
        "removed": len(changes.removed),
    }
    to_read = [*changes.new, *changes.changed, *(changes.renamed[old] for old in sorted(renamed_set_aside))]
    return [*to_read, *changes.unchanged] if rebuild else to_read


def _prepare(
    files: Iterable[SourceFile],
    store: Store,
    course: CourseFacts,
    embedder: Embedder,
    config: Config,
    report: IngestReport,
    watch: Stopwatch,
) -> Iterator[_Prepared]:
    for file in files:
        try:
            with watch.stage("read"):
                document = read_document(_bytes(file), file.source)
        except UnreadableDocument as e:
            store.save_set_aside(course.name, file.source, file.sha256, file.recipe, str(e))
            continue
        report.notices += [{"source": file.source, "notice": notice} for notice in document.notices]
        with watch.stage("chunk"):
            facts = facts_of_file(file.source, course, document.facts)
            titled = Document(facts.get("title") or document.title, document.sections, facts, document.pages)
            chunks = chunk_document(titled, embedder.count_tokens, config.chunk_tokens)
            keys = [vector_key(embedder.stamp, embedded_text(chunk.context, chunk.text)) for chunk in chunks]
        yield _Prepared(file, titled, facts, chunks, keys)


def _bytes(file: SourceFile) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as e:
        raise UnreadableDocument(f"cannot be opened: {e.strerror}") from e


def _groups(prepared: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    group: list[_Prepared] = []
    waiting = 0
    for document in prepared:
        group.append(document)
        waiting += len(document.chunks)
        if waiting >= CHUNKS_AT_ONCE:
            yield group
            group, waiting = [], 0
    if group:
        yield group


def _embed_and_save(group: list[_Prepared], store: Store, course: str, embedder: Embedder, report: IngestReport, watch: Stopwatch) -> None:
    with watch.stage("embed"):
        missing = store.missing_vectors([key for prepared in group for key in prepared.keys])
        texts = {
            key: embedded_text(chunk.context, chunk.text)
            for prepared in group
            for key, chunk in zip(prepared.keys, prepared.chunks, strict=True)
            if key in missing
        }
        vectors = _embed(texts, embedder)
        report.embedded += len(texts)
        report.tokens += sum(embedder.count_tokens(list(texts.values())))
    with watch.stage("store"):
        for prepared in group:
            document = NewDocument(
                source=prepared.file.source,
                sha256=prepared.file.sha256,
                recipe=prepared.file.recipe,
                format=Path(prepared.file.source).suffix.lstrip(".").lower(),
                title=prepared.document.title,
                pages=prepared.document.pages,
                text=prepared.document.text,
                chunks=prepared.chunks,
                vector_keys=prepared.keys,
                vectors={key: vectors[key] for key in prepared.keys if key in vectors},
                facts=prepared.facts,
            )
            store.save_document(course, document)


def _embed(texts: dict[str, str], embedder: Embedder) -> dict[str, np.ndarray]:
    if not texts:
        return {}
    return dict(zip(texts, embedder.embed_documents(list(texts.values())), strict=True))


def _add_up(store: Store, course: str, report: IngestReport) -> None:
    """The totals of the course as it now stands."""
    report.set_aside = [{"source": source, "reason": reason} for source, (_, _, reason) in sorted(store.set_aside(course).items())]
    report.files["set_aside"] = len(report.set_aside)
    report.pages = sum(document.pages for document in store.documents(course))
    report.chunks = store.course(course).chunks
