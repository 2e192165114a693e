"""Answers given again to the same question, at once: bounded, in memory, the least recently used goes first.

Whatever else is kept of one state of the store is kept in the same way (`RevisionCache`).

The same question means the same text but for white space, the same scope as it is at the moment (`Store.settle`), history, settings, model
and state of the store. Whatever changes in the store makes all earlier answers useless, so they go at once: no text of a deleted document
outlives it here. Who asks nothing more is served by a timer, which drops them within a minute and lives only while answers are kept.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rag.errors import StoreError
from rag.store import Store
from rag.types import Answer

Kept = TypeVar("Kept")

PRUNE_S = 30.0
"""Answers of an earlier state of the store are dropped within so long, also when nobody asks."""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the cache holds and has done since the start."""

    size: int
    longest: int
    hits: int
    misses: int


class RevisionCache(Generic[Kept]):
    """Values that hold for one revision of the store. Safe to share between threads.

    Args:
        longest: values kept; 0: none, and nothing is looked up.
        forget: called when the store has changed, for whatever else holds texts of its earlier state.
    """

    def __init__(self, longest: int = 0, forget: Callable[[], None] = lambda: None) -> None:
        self.longest = longest
        self._forget = forget
        self._values: OrderedDict[Hashable, Kept] = OrderedDict()
        self._revision: int | None = None
        """Of the store, which all the values are of."""
        self._hits = self._misses = 0
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def find(self, key: Hashable, revision: int) -> Kept | None:
        """The value kept under a key at this revision of the store."""
        with self._lock:
            self._drop_others(revision)
            if not self.longest:
                return None
            value = self._values.get(key)
            if value is None:
                self._misses += 1
            else:
                self._hits += 1
                self._values.move_to_end(key)
            return value

    def keep(self, key: Hashable, revision: int, value: Kept, store: Store) -> None:
        """Keeps a value that was made wholly at this revision of the store; one that the store has left meanwhile is not kept."""
        if not self.longest:
            return
        with self._lock:
            if store.revision() != revision:
                return
            self._drop_others(revision)
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.longest:
                self._values.popitem(last=False)
            if self._timer is None:
                self._start_timer(store)

    def clear(self) -> None:
        """Forgets all values; the counts stay."""
        with self._lock:
            self._values.clear()

    @property
    def use(self) -> CacheUse:
        with self._lock:
            return CacheUse(len(self._values), self.longest, self._hits, self._misses)

    def _drop_others(self, revision: int) -> None:
        if revision != self._revision:
            self._values.clear()
            self._forget()
            self._revision = revision

    def _start_timer(self, store: Store) -> None:
        self._timer = threading.Timer(PRUNE_S, self._prune_again, [store])
        self._timer.name, self._timer.daemon = "forget an earlier state", True
        self._timer.start()

    def _prune_again(self, store: Store) -> None:
        with self._lock:
            self._timer = None
            try:
                self._drop_others(store.revision())
            except (StoreError, sqlite3.Error):  # the store is gone or cannot be read: then nothing of it may be given again
                self._values.clear()
            finally:
                store.close()  # this thread's connection
            if self._values:
                self._start_timer(store)


AnswerCache = RevisionCache[Answer]
"""Of finished answers."""
