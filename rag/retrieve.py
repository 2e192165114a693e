"""Question to hits: dense and lexical search within a scope, fused into one ranking, optionally reranked.

Both legs search the chunk together with its context (titles and headings). The dense leg knows meaning, the lexical one exact words, names
and numbers; their scores are brought to 0…1 for each question and mixed by one weight, which keeps how far apart hits are and not only
their order (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2022).
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rag.compose import compose, is_broad
from rag.config import BUNDLED, NONE, Config
from rag.dialogue import meant_by
from rag.embed import Embedder, SentenceTransformerEmbedder
from rag.errors import ModelError, QuestionError
from rag.interpret import Interpreted, Interpreter
from rag.lane import COMPUTE_LANE
from rag.lexical import any_phrase, any_word
from rag.models import load_reranker
from rag.reader import Reader, load_reader
from rag.snapshots import Snapshot, SnapshotHolder, search
from rag.store import Store
from rag.timing import Stopwatch
from rag.types import Hit, Passage, Scope, Turn
from rag.understand import NamedParts
from rag.vectors import ChunkSet

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


_LOG = logging.getLogger("lectern")

_ENGLISH_ONLY = re.compile(r"\ball-(?:MiniLM|mpnet)|-en(?:-|$)", re.IGNORECASE)
"""Names of embedders that were made for English alone; of others all languages are expected."""
MOST_SCOPES = 64
"""Whose chunks are remembered: 125 KB each for a million chunks, and half a second to read them again."""
PREPARED_SCOPES = 8
"""Of them, read for a newer snapshot before it is used: more would keep it waiting for longer than 5 s at a million chunks."""
LEXICAL_THREADS = 4
"""Text searches at once; SQLite gives up the interpreter's lock while it searches."""
PHRASES_OF_STOP_WORDS = 50_000
"""Chunks of a scope up to which phrases with one stop word are looked for too: FTS5 goes through all rows that hold the stop word."""


class Searcher:
    """Searches the courses of one store. Safe to share between threads; follows the store as it changes.

    Args:
        notify: told, in a sentence, of anything that had to be repaired.
        reranker: the one that the config names, where it is loaded already; `reader` likewise.

    Raises:
        StoreMismatch: the store was indexed with another embedder.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        config: Config,
        notify: Callable[[str], None] = _LOG.warning,
        reranker: CrossEncoder | None = None,
        reader: Reader | None = None,
    ) -> None:
        store.require_embedder(embedder.stamp)
        self.store = store
        self.embedder = embedder
        self.config = config
        self.snapshots = SnapshotHolder(store, notify, self._prepare, use_gpu=config.device != "cpu")
        self._notify = notify
        self._reranker = load_reranker(config.reranker, config) if reranker is None and config.reranker != NONE else reranker
        self.reader = self._load_reader() if reader is None else reader
        self._scopes: dict[tuple[Scope, int], ChunkSet] = {}
        self._lock = threading.Lock()
        self._lexical_threads = ThreadPoolExecutor(LEXICAL_THREADS, "lexical")
        self._interpreter = Interpreter(store, lambda word: embedder.count_tokens([word]) == [1])

    def _load_reader(self) -> Reader | None:
        try:
            return load_reader(self.config)
        except ModelError as e:
            if self.config.reader != BUNDLED:
                raise
            self._notify(f"passages are not read, what is found is ranked by the search alone: {e}")
            return None

    @classmethod
    def from_config(cls, config: Config, notify: Callable[[str], None] = _LOG.warning) -> Searcher:
        return cls(Store.open(config.store), SentenceTransformerEmbedder.from_config(config), config, notify)

    def over(self, store: Store) -> Searcher:
        """A searcher of another store, with the models of this one."""
        return Searcher(store, self.embedder, self.config, self._notify, self._reranker, self.reader)

    def close(self) -> None:
        """Ends the threads that search, once they have no work. Nothing can be searched after it."""
        self._lexical_threads.shutdown(wait=False)

    def interpret(self, question: str, scope: Scope, history: Sequence[Turn] = ()) -> Interpreted:
        """The question as `search` takes it, a follow-up with what it refers to. What was corrected in it can then be told.

        Raises:
            QuestionError: the question is empty or too long, or the scope's `at` is no moment.
            UnknownCourse: the scope names a course that the store does not have.
        """
        question = check_question(question, self.config.question_characters)
        self.store.require_course(scope.course)
        meant = meant_by(question, history)
        standalone = meant.text[-self.config.question_characters :]
        asked = self._interpreter.interpret(standalone, self.store.settle(scope), self.config.correct_spelling)
        return replace(asked, meaning=meant.meaning, leans=meant.leans)

    def search(
        self,
        question: str | Interpreted,
        scope: Scope,
        limit: int | None = None,
        watch: Stopwatch | None = None,
        query: np.ndarray | None = None,
    ) -> list[Hit]:
        """The best hits for a question, best first.

        Args:
            query: the vector of the question's `dense` text, `(d,) float32` of norm 1, where the caller has it already.

        Raises:
            QuestionError: the question is empty or too long.
            UnknownCourse: the scope names a course that the store does not have.
        """
        watch = watch or Stopwatch()
        with watch.stage("understand"):
            asked = self.interpret(question, scope) if isinstance(question, str) else question
            settled = self.store.settle(scope)
        limit, candidates = limit or self.config.hits, max(self.config.candidates, limit or 0)
        dense, lexical = self.legs(asked, query, settled, candidates, watch)
        with watch.stage("fuse"):
            fused = fuse(dense, lexical, self._dense_weight(asked.language))[:candidates]
            # The scope as it was given: a document that is still hidden may have come meanwhile.
            ranked = self._ranked(asked, fused, dense, lexical, scope)
        if self._reranker is not None:
            with watch.stage("rerank"):
                ranked = _rerank(asked.text, ranked[: max(limit, self.config.rerank_candidates)], self._reranker)
        reader = self._reader_for(asked)
        if reader is not None:
            with watch.stage("read"):
                factor = self._preferred(asked).factor
                ranked = read_hits(asked.text, ranked, reader, self.config.reader_passages, self.config.reader_weight, factor)
        with watch.stage("compose"):
            config, text_of = self.config, self.store.span_text
            per_document = config.hits_per_document if is_broad(asked.text) else 0
            hits = compose(ranked, limit, config.passage_tokens, text_of, per_document or None, config.collapse_duplicates)
        if reader is None:
            return hits
        with watch.stage("read"):
            return read_rest(asked.text, hits, reader, self.config.sources)

    def _reader_for(self, asked: Interpreted) -> Reader | None:
        """What reads the passages for a question. The shipped reader learnt from English alone."""
        return None if self.config.reader == BUNDLED and asked.language not in (None, "en") else self.reader

    def sees(self, revision: int) -> bool:
        """Whether searches see the vectors of this revision of the store: just after a change the older ones are used for a moment."""
        return self.snapshots.current().generation.revision == revision

    def legs(
        self, asked: Interpreted, query: np.ndarray | None, scope: Scope, limit: int, watch: Stopwatch
    ) -> tuple[dict[int, float], dict[int, float]]:
        """What each leg brings to the fusion: similarities and BM25 scores by chunk id.

        The lexical leg runs beside the embedding and the dense leg; its stage is the time that it is waited for.

        Args:
            query: the vector of `asked.dense`, `(d,) float32` of norm 1; None to embed it here.
            scope: settled.
        """
        snapshot = self.snapshots.current()
        chunks = self._chunks(scope, snapshot.generation.revision)
        if not len(chunks):
            return {}, {}
        lexical = self._lexical_threads.submit(self._search_text, asked, scope, limit, len(chunks))
        if query is None:
            with watch.stage("embed"):
                query = self.embedder.embed_query(asked.dense)
        with watch.stage("dense"):
            self.store.require_embedder(self.embedder.stamp)  # a rebuild with another embedder may have happened since
            dense = dict(search(snapshot, query, limit, chunks))
        with watch.stage("lexical"):
            return dense, lexical.result()

    def _search_text(self, asked: Interpreted, scope: Scope, limit: int, scope_chunks: int) -> dict[int, float]:
        """BM25 by chunk id: of the question's words, and a share of that of its phrases."""
        found = dict(self.store.text_index.search(any_word(asked.lexical, asked.language), scope, limit, scope_chunks))
        if self.config.phrase_weight:
            phrases = any_phrase(asked.lexical, asked.language, stop_words=scope_chunks <= PHRASES_OF_STOP_WORDS)
            for chunk_id, bm25 in self.store.text_index.search(phrases, scope, limit, scope_chunks):
                found[chunk_id] = found.get(chunk_id, 0.0) + self.config.phrase_weight * bm25
        return found

    def _dense_weight(self, language: str | None) -> float:
        is_foreign = language not in (None, "en") and _ENGLISH_ONLY.search(self.embedder.identity[0])
        return self.config.foreign_dense_weight if is_foreign else self.config.dense_weight

    def _chunks(self, scope: Scope, revision: int) -> ChunkSet:
        """The chunks of a scope, read once for each revision of a snapshot."""
        with self._lock:
            known = self._scopes.get((scope, revision))
        if known is None:
            before = self.store.revision()
            ids = self.store.chunk_ids(scope)
            known = ChunkSet(ids, before if self.store.revision() == before else None)
            with self._lock:
                self._scopes = dict([*self._scopes.items(), ((scope, revision), known)][-MOST_SCOPES:])
        return known

    def _prepare(self, snapshot: Snapshot) -> None:
        """Reads the chunks of the scopes in use for a newer snapshot, so that no search waits for that; those of older ones go."""
        revision = snapshot.generation.revision
        with self._lock:
            newest = max((known for _, known in self._scopes), default=revision)
            self._scopes = {key: chunks for key, chunks in self._scopes.items() if key[1] in (newest, revision)}
            scopes = list(dict.fromkeys(scope for scope, _ in self._scopes))
        for scope in scopes[-PREPARED_SCOPES:]:
            self._chunks(scope, revision)

    def _preferred(self, asked: Interpreted) -> NamedParts:
        """The parts of the course that the question names, as far as the config prefers them."""
        return asked.parts if self.config.prefer_named_parts else NamedParts()

    def _ranked(
        self,
        asked: Interpreted,
        fused: Sequence[tuple[int, float]],
        dense: Mapping[int, float],
        lexical: Mapping[int, float],
        scope: Scope,
    ) -> list[Hit]:
        passages = self.store.passages_in(scope, [chunk_id for chunk_id, _ in fused])
        parts = self._preferred(asked)
        scored = [(score * parts.factor(passages[chunk_id]), passages[chunk_id]) for chunk_id, score in fused if chunk_id in passages]
        scored.sort(key=lambda pair: -pair[0])
        return [
            Hit(passage, rank, score, dense.get(passage.chunk_id), lexical.get(passage.chunk_id))
            for rank, (score, passage) in enumerate(scored, 1)
        ]


def check_question(question: str, longest: int) -> str:
    """The question without white space around it.

    Raises:
        QuestionError: nothing is left, or it has more than `longest` characters.
    """
    question = " ".join(question.split())
    if not question:
        raise QuestionError("the question is empty; ask something")
    if len(question) > longest:
        raise QuestionError(f"the question has {len(question):,} characters; at most {longest:,} are taken: shorten it")
    return question


def fuse(dense: Mapping[int, float], lexical: Mapping[int, float], dense_weight: float) -> list[tuple[int, float]]:
    """Convex combination of both legs: `(chunk id, score 0…1)`, best first; ties in the order of ids.

    Similarities are scaled from the weakest candidate to the best, BM25 from 0 to the best. Who is missing in a leg has 0 there.
    """
    floor = min(dense.values(), default=0.0)
    similarity_range = max(dense.values(), default=0.0) - floor or 1.0
    best_bm25 = max(lexical.values(), default=0.0) or 1.0
    scores = {
        chunk_id: dense_weight * (dense.get(chunk_id, floor) - floor) / similarity_range
        + (1 - dense_weight) * lexical.get(chunk_id, 0.0) / best_bm25
        for chunk_id in dense.keys() | lexical.keys()
    }
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def read_hits(
    question: str,
    hits: Sequence[Hit],
    reader: Reader,
    passages: int,
    weight: float,
    factor: Callable[[Passage], float] = lambda passage: 1.0,
) -> list[Hit]:
    """The hits, the first of them with what the reader says of them, in the order that both give.

    `score` becomes the mean of what it was and of how far the reader's relevance lies below the best one's: `exp(relevance - best)`. For a
    hit that was not read that is 0, so that none comes before one that was.

    Args:
        hits: best first.
        passages: how many of them are read.
        weight: the reader's share of the mean.
        factor: what the reader's part of a passage's score is multiplied with; the search's part has it already.
    """
    read, others = hits[:passages], hits[passages:]
    readings = reader.read(question, [(hit.passage.chunk.context, hit.passage.chunk.text) for hit in read])
    best = max((reading.relevance for reading in readings), default=0.0)
    scored = [
        replace(
            hit,
            score=(1 - weight) * hit.score + weight * factor(hit.passage) * math.exp(reading.relevance - best),
            reading=reading,
        )
        for hit, reading in zip(read, readings, strict=True)
    ]
    scored.sort(key=lambda hit: -hit.score)
    scored += [replace(hit, score=(1 - weight) * hit.score) for hit in others]
    return [replace(hit, rank=rank) for rank, hit in enumerate(scored, start=1)]


def read_rest(question: str, hits: Sequence[Hit], reader: Reader, passages: int) -> list[Hit]:
    """The hits, the first of them all read: of several documents, or of few read ones, some may have come up that were not."""
    unread = [hit for hit in hits[:passages] if hit.reading is None]
    if not unread:
        return list(hits)
    readings = reader.read(question, [(hit.passage.chunk.context, hit.passage.chunk.text) for hit in unread])
    read = {hit.rank: reading for hit, reading in zip(unread, readings, strict=True)}
    return [replace(hit, reading=read.get(hit.rank, hit.reading)) for hit in hits]


def _rerank(question: str, hits: list[Hit], reranker: CrossEncoder) -> list[Hit]:
    """The hits in the reranker's order; `score` becomes its logistic output."""
    with COMPUTE_LANE:
        logits = reranker.predict([(question, hit.passage.chunk.text) for hit in hits], show_progress_bar=False) if hits else []
    scored = sorted(zip(hits, logits, strict=True), key=lambda pair: -float(pair[1]))
    return [replace(hit, rank=rank, score=float(score)) for rank, (hit, score) in enumerate(scored, start=1)]
