"""A course folder against what the store holds of it: renames and removals are applied, what must be read is returned.

Knows files by their content and by their recipe, which names everything else that decides what becomes of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ingest.facts import CourseFacts, facts_of_file
from ingest.includes import documents_of
from ingest.walk import Changes, Known, SourceFile, compare, walk
from rag.config import Config
from rag.records import SetAside
from rag.store import Store

READERS_VERSION = 4
"""Goes up when a reader makes something else of the same bytes, so that the next run reads again what is already there."""


def find_changes(folder: Path, store: Store, course: CourseFacts, config: Config) -> tuple[Changes, dict[str, str]]:
    """What has happened to the files of a course since the last run, and those that cannot be taken: source → reason.

    Raises:
        CorpusError: the folder holds nothing, or cannot be listed.
    """
    known = _known(store, course.name)
    files, refused = walk(folder, known)
    sums = {file.source: file.sha256 for file in files}
    parts = documents_of({file.source: file.path for file in files}, folder)
    own_documents = sums.keys() - {part for others in parts.values() for part in others}
    files = [
        replace(file, recipe=recipe_of(file.source, course, config, [sums[part] for part in parts.get(file.source, ())]))
        for file in files
        if file.source in own_documents
    ]
    return compare(files, {source: file for source, file in known.items() if source not in refused}), refused


def recipe_of(source: str, course: CourseFacts, config: Config, parts: Sequence[str] = ()) -> str:
    """Names everything besides a file's bytes that decides what becomes of it: format, facts, chunk sizes, readers, OCR for a PDF, and the
    SHA-256 of the files that are a part of it.
    """
    suffix = PurePosixPath(source).suffix.lower()
    ocr = suffix == ".pdf" and shutil.which("tesseract") is not None
    facts = sorted(facts_of_file(source, course, {}).items())
    decisive = (suffix, facts, config.chunk_tokens, config.whole_section_tokens, READERS_VERSION, ocr, list(parts))
    return hashlib.sha256(repr(decisive).encode()).hexdigest()[:16]


def apply_changes(changes: Changes, refused: Mapping[str, str], store: Store, course: str) -> list[SourceFile]:
    """Applies renames and removals, notes what was refused and what was only touched; returns the files that must be read."""
    set_aside = store.set_aside(course)
    reread = set_aside.keys() & changes.renamed.keys()  # there is nothing to rename: only the reason, which names the old file
    for old, file in changes.renamed.items():
        if old not in reread:
            store.rename_document(course, old, file.source)
    if removed := [*changes.removed, *reread]:
        store.remove_documents(course, removed)
    for source, reason in refused.items():
        if set_aside.get(source) != SetAside(source, reason):
            store.save_set_aside(course, SetAside(source, reason))
    if changes.touched:
        store.save_fingerprints(course, changes.touched)
    to_read = {file.source: file for file in (*changes.new, *changes.changed, *(changes.renamed[old] for old in sorted(reread)))}
    return list(to_read.values())


def _known(store: Store, course: str) -> dict[str, Known]:
    read = {file.source: Known(file.sha256, file.recipe, file.fingerprint) for file in store.documents(course)}
    return read | {file.source: Known(file.sha256, file.recipe, file.fingerprint) for file in store.set_aside(course).values()}
