"""Office files as PDF, converted once and kept in memory while their document is in the catalogue.

In memory rather than on the disk: nothing of a course lies outside its store, and what is removed from it is forgotten here within half a
minute, whoever removes it. A page costs a conversion (seconds) at its first visitor after a start, and milliseconds for all others.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from ingest.office_pages import convert_to_pdf, find_office
from rag.errors import NotReadThisTime, StoreError, UnreadableDocument
from rag.pages import find_page_of_any
from rag.store import Store

MOST_BYTES = 96 << 20
MOST_PLACES = 500
"""Remembered of a PDF."""
PRUNE_S = 30.0
WAIT_S = 40.0
"""How long a visitor waits for the conversions of others, one of which runs at a time, before the text is shown."""

Convert = Callable[[bytes, str, Path], bytes]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A PDF, or why there is none; `store` is where its document lies."""

    store: Store
    pdf: bytes = b""
    reason: str = ""
    places: dict[tuple[str, ...], int | None] = field(default_factory=dict)
    """Where words stand in the PDF."""


class PageCache:
    """Safe to share between threads. `office` None: no LibreOffice that may be used."""

    def __init__(self, office: Path | None, convert: Convert = convert_to_pdf, most_bytes: int = MOST_BYTES) -> None:
        self.office = office
        self._convert = convert
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._converting = threading.Lock()
        self._timer: threading.Timer | None = None

    def pdf(self, data: bytes, source: str, store: Store) -> bytes:
        """The pages of an office file. Whoever asks must be allowed to see it: the file itself is the key.

        Raises:
            UnreadableDocument: it cannot be drawn; the reason is kept, so that a file that takes a minute to fail does so once.
            NotReadThisTime: too many others are being drawn just now, or the machine has no room.
        """
        assert self.office is not None, "asked for without an office"
        digest = hashlib.sha256(data).hexdigest()
        kept = self._find(digest)
        if kept is None:
            if not self._converting.acquire(timeout=WAIT_S):
                raise NotReadThisTime(f"{source} waits for other files to be drawn; try again in a moment")
            try:
                kept = self._find(digest) or self._make(digest, data, source, store, self.office)
            finally:
                self._converting.release()
        if kept.reason:
            raise UnreadableDocument(kept.reason)
        return kept.pdf

    def find_page(self, pdf: bytes, wordings: Sequence[str], near: float, source: str) -> int | None:
        """As `find_page_of_any`; remembered as long as the PDF is kept here, since the drawer asks at each of its runs."""
        with self._lock:
            places = next((kept.places for kept in self._kept.values() if kept.pdf is pdf), {})
        asked = tuple(wordings)
        if asked not in places:
            if len(places) >= MOST_PLACES:
                places.clear()
            places[asked] = find_page_of_any(pdf, wordings, near, source)
        return places.get(asked)

    def prune(self) -> None:
        """Forgets the files of documents that are no longer in their catalogues."""
        with self._lock:
            for digest, kept in list(self._kept.items()):
                if not _is_there(kept.store, digest):
                    del self._kept[digest]

    @property
    def size(self) -> int:
        """Bytes kept."""
        with self._lock:
            return sum(len(kept.pdf) for kept in self._kept.values())

    def _find(self, digest: str) -> _Kept | None:
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
            return self._kept.get(digest)

    def _make(self, digest: str, data: bytes, source: str, store: Store, office: Path) -> _Kept:
        try:
            kept = _Kept(store, pdf=self._convert(data, source, office))
        except NotReadThisTime:  # nothing that the file can help: another time it may be drawn
            raise
        except UnreadableDocument as e:
            kept = _Kept(store, reason=str(e))
        with self._lock:
            self._kept[digest] = kept
            while len(self._kept) > 1 and sum(len(one.pdf) for one in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
            if self._timer is None:
                self._start_timer()
        return kept

    def _start_timer(self) -> None:
        self._timer = threading.Timer(PRUNE_S, self._prune_again)
        self._timer.name, self._timer.daemon = "page cache", True
        self._timer.start()

    def _prune_again(self) -> None:
        self.prune()
        with self._lock:
            stores = {id(kept.store): kept.store for kept in self._kept.values()}
            self._timer = None
            if self._kept:
                self._start_timer()
        for store in stores.values():
            store.close()  # this thread's connections


def _is_there(store: Store, digest: str) -> bool:
    try:
        return store.has_file(digest)
    except (StoreError, sqlite3.Error):  # the store is gone or cannot be read: then nothing of it may be shown
        return False


@st.cache_resource(show_spinner=False)
def page_cache() -> PageCache:
    """The one of this process."""
    return PageCache(find_office())
