"""The whole write flow: walk → read → chunk → embed → store → publish.

Files are read in child processes and cut in threads while earlier ones are embedded and those before them are saved; none of the three
waits for another one while it has work. A document is saved in one transaction as soon as its vectors are there; the snapshot is published
once, at the end. A file that cannot be read is set aside with its reason and the run goes on. Ended at any moment, the next run goes on
from what is saved.
"""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ingest.chunk import chunk_document
from ingest.facts import CourseFacts, facts_of_file, read_course_facts
from ingest.overlap import Saver, run_ahead
from ingest.parse import ParserPool
from ingest.report import IngestReport
from ingest.sync import apply_changes, find_changes
from ingest.walk import Changes, SourceFile
from rag.config import Config
from rag.embed import Embedder, EmbeddingUsage
from rag.errors import CorpusError, NotReadThisTime, UnreadableDocument
from rag.language import document_language
from rag.records import EmbedderStamp, NewDocument, SetAside
from rag.snapshots import publish, remove_other_snapshots
from rag.store import Store
from rag.text import embedded_text
from rag.timing import Stopwatch
from rag.types import Chunk, Document

AHEAD_BYTES = 64 << 20
SMALL_FILE_BYTES = 1 << 20
"""Files of so many bytes together are read ahead of the embedder, each counted as a mebibyte at least: enough small ones that it never
waits, and never so many large ones that their texts fill the memory."""

Progress = Callable[[int, int, str], None]
"""Told `(files done, files in all, what now)`."""

FILES_A_WORKER = 8
BYTES_A_CHARACTER = 8
"""What a character of text takes on the disk at most, in the catalogue, its text index and the write-ahead log."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One course being ingested: what the steps share."""

    folder: Path
    course: CourseFacts
    store: Store
    embedder: Embedder
    config: Config
    report: IngestReport
    watch: Stopwatch
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that is read and cut, waiting for its vectors. `keys` name the embedded text of each chunk, `texts` holds these by key."""

    file: SourceFile
    document: Document
    chunks: list[Chunk]
    keys: list[str]
    texts: dict[str, str]
    read_seconds: float
    chunk_seconds: float
    peak_bytes: int

    @property
    def source(self) -> str:
        return self.file.source


def ingest_course(
    folder: Path,
    store: Store,
    embedder: Embedder,
    config: Config,
    *,
    name: str | None = None,
    rebuild: bool = False,
    workers: int | None = None,
    progress: Progress = lambda *_: None,
) -> IngestReport:
    """Brings the store up to date with a course folder.

    Args:
        workers: how many files are read at once; None: one a core.

    Raises:
        CorpusError: the folder holds nothing, cannot be listed, or is not the one the course came from; what the store has stays.
        StoreMismatch: the store's vectors are another embedder's, and `rebuild` was not asked for.
        StoreBusy: another process is writing.
        DiskFull: there is no room; what was saved stays.
    """
    watch = Stopwatch()
    with store.writer_lock():
        with watch.stage("walk"):
            course = read_course_facts(folder, name)
            _require_same_folder(store, course.name, folder, rebuild)
            changes, refused = find_changes(folder, store, course, config)
        _settle_embedder(store, embedder, rebuild, watch)
        store.save_course(course.name, course.title, folder)
        report = IngestReport(course.name, files=_counts(changes))
        to_read = apply_changes(changes, refused, store, course.name) + (changes.unchanged if rebuild else [])
        if to_read:
            run = _Run(folder, course, store, embedder, config, report, watch, progress)
            # Starting a worker takes a tenth of a second and more: a handful of files does not pay for a second one.
            _read_embed_save(run, to_read, min(workers or os.cpu_count() or 1, 1 + len(to_read) // FILES_A_WORKER))
        with watch.stage("publish"):
            report.generation = publish_changes(store)
        _add_up(store, course.name, report)
        report.seconds = watch.seconds()
        store.save_run(course.name, report.to_json() | {"notices": []})  # they may quote a document, which must go when that goes
    return report


def _counts(changes: Changes) -> dict[str, int]:
    return {kind: len(getattr(changes, kind)) for kind in ("new", "changed", "unchanged", "renamed", "removed")} | {"set_aside": 0}


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
    store.replace_vectors(embedder.stamp, keys, embed_texts(texts, embedder))


def vector_key(stamp: EmbedderStamp, text: str) -> str:
    """Names the vector of a text by one embedder: the same passage in two files is embedded once."""
    return hashlib.sha256(f"{stamp.id}\0{stamp.revision}\0{text}".encode()).hexdigest()


def _read_embed_save(run: _Run, files: Sequence[SourceFile], workers: int) -> None:
    """Reading, embedding and saving at the same time: this thread embeds whatever has been read, and hands it on to be saved."""
    # Left in reverse order, also on an error: files under way are given up first, so that the threads that wait for them end.
    with ThreadPoolExecutor(workers + 1) as threads, Saver() as saver, ParserPool(workers) as parsers:
        loading = threads.submit(lambda: run.embedder.device)
        ready = run_ahead(lambda file: _prepare(run, file, parsers, loading), files, threads, AHEAD_BYTES, _weight)
        with run.watch.stage("load"):
            run.report.device = loading.result()
        before, done, embedded = run.embedder.usage, 0, set[str]()
        while group := _next(ready, run.watch):
            for file in group:
                if isinstance(file, SetAside):
                    # One that was not read this time has no SHA-256: the next run tries it again, and its document stays until then.
                    saver.submit(run.store.save_set_aside, run.course.name, file, not file.sha256)
            _embed(run, [file for file in group if isinstance(file, _Prepared)], embedded, saver)
            done += len(group)
            run.progress(done, len(files), group[-1].source)
        with run.watch.stage("save"):
            saver.submit(run.store.close)  # the connection of the saver's own thread
            saver.finish()
        run.report.beside["save"] = saver.seconds
    _note_usage(run.report, run.embedder, before)


def _note_usage(report: IngestReport, embedder: Embedder, before: EmbeddingUsage) -> None:
    report.tokens = (embedder.usage - before).tokens
    report.batch_tokens, report.ceiling_tokens_s = embedder.batch_tokens, embedder.ceiling_tokens_s()
    if embedder.notice:
        report.notices.append({"source": embedder.identity[0], "notice": embedder.notice})


def _weight(file: SourceFile) -> int:
    return max(file.size_bytes, SMALL_FILE_BYTES)


def _next(ready: Iterator[list[_Prepared | SetAside]], watch: Stopwatch) -> list[_Prepared | SetAside]:
    with watch.stage("read"):
        return next(ready, [])


def _prepare(run: _Run, file: SourceFile, parsers: ParserPool, loading: Future[str]) -> _Prepared | SetAside:
    """A file read and cut, or the reason why not. Runs in many threads."""
    try:
        parsed = parsers.read(file.path, file.source, run.folder)
    except NotReadThisTime as e:
        return SetAside(file.source, str(e))
    except UnreadableDocument as e:
        return SetAside(file.source, str(e), file.sha256, file.recipe, file.fingerprint)
    loading.result()  # counting tokens needs the model
    began = time.perf_counter()
    if parsed.sha256 != file.sha256:  # changed since the walk looked at it
        file = replace(file, sha256=parsed.sha256, fingerprint="")
    try:
        facts = facts_of_file(file.source, run.course, parsed.document.facts)
    except UnreadableDocument as e:
        return SetAside(file.source, str(e), file.sha256, file.recipe, file.fingerprint)
    if "language" not in facts and (language := document_language(parsed.document.text)):
        facts["language"] = language
    document = replace(parsed.document, title=facts.get("title") or parsed.document.title, facts=facts)
    chunks = chunk_document(document, run.embedder.count_tokens, run.config.chunk_tokens, run.config.whole_section_tokens)
    texts = [embedded_text(chunk.context, chunk.text) for chunk in chunks]
    keys = [vector_key(run.embedder.stamp, text) for text in texts]
    return _Prepared(
        file, document, chunks, keys, dict(zip(keys, texts, strict=True)), parsed.seconds, time.perf_counter() - began, parsed.peak_bytes
    )


def _embed(run: _Run, group: list[_Prepared], embedded: set[str], saver: Saver) -> None:
    """Embeds what has no vector yet, neither in the store nor among the `embedded` that are on their way there, and has all saved."""
    if not group:
        return
    report, stamp = run.report, run.embedder.stamp
    run.store.require_space(sum(BYTES_A_CHARACTER * len(file.document.text) + 6 * stamp.dimension * len(file.chunks) for file in group))
    with run.watch.stage("embed"):
        missing = run.store.missing_vectors([key for file in group for key in file.keys]) - embedded
        texts = {key: text for file in group for key, text in file.texts.items() if key in missing}
        vectors = embed_texts(texts, run.embedder)
        embedded |= missing
        report.embedded += len(texts)
    for file in group:
        report.notices += [{"source": file.source, "notice": notice} for notice in file.document.notices]
        report.beside["read"] += file.read_seconds
        report.beside["chunk"] += file.chunk_seconds
        report.peak_memory["reader"] = max(report.peak_memory["reader"], file.peak_bytes)
    with run.watch.stage("save"):
        saver.submit(_save, run, group, vectors)


def _save(run: _Run, group: list[_Prepared], vectors: Mapping[str, np.ndarray]) -> None:
    for one in group:
        document = NewDocument(
            source=one.source,
            sha256=one.file.sha256,
            recipe=one.file.recipe,
            format=Path(one.source).suffix.lstrip(".").lower(),
            title=one.document.title,
            pages=one.document.pages,
            text=one.document.text,
            chunks=one.chunks,
            vector_keys=one.keys,
            vectors={key: vectors[key] for key in one.keys if key in vectors},
            facts=one.document.facts,
            notices=one.document.notices,
            fingerprint=one.file.fingerprint,
        )
        run.store.save_document(run.course.name, document)


def embed_texts(texts: Mapping[str, str], embedder: Embedder) -> dict[str, np.ndarray]:
    """The vectors of texts, under the same keys."""
    if not texts:
        return {}
    return dict(zip(texts, embedder.embed_documents(list(texts.values())), strict=True))


def publish_changes(store: Store) -> int:
    """The generation that shows the catalogue as it is now; a new one if anything has changed. The caller holds the writer lock."""
    current = store.generation()
    if current is None or current.revision != store.revision():
        store.drop_unused_vectors()
        current = publish(store)
    else:  # an earlier run may have been killed before it did
        remove_other_snapshots(store.directory, current)
    store.forget_deleted()
    return current.number


def _add_up(store: Store, course: str, report: IngestReport) -> None:
    """The totals of the course as it now stands."""
    report.set_aside = [{"source": file.source, "reason": file.reason} for file in store.set_aside(course).values()]
    report.files["set_aside"] = len(report.set_aside)
    report.pages = sum(document.pages for document in store.documents(course))
    report.chunks = store.course(course).chunks
    report.peak_memory["ingest"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
