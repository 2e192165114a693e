"""Question to hits: dense and lexical search within a scope, fused into one ranking, optionally reranked.

Both legs search the chunk together with its context (titles and headings). The dense leg knows meaning, the lexical one exact words, names
and numbers; their scores are brought to 0…1 for each question and mixed by one weight, which keeps how far apart hits are and not only
their order (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2022).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PrivateAttr

from rag.config import NONE, Config
from rag.embed import Embedder, SentenceTransformerEmbedder
from rag.errors import QuestionError
from rag.interpret import Interpreted, Interpreter
from rag.lane import COMPUTE_LANE
from rag.models import load_reranker
from rag.store import Store
from rag.text import content_words
from rag.timing import Stopwatch
from rag.types import Hit, Scope
from rag.vectors import SnapshotHolder, search

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


_LOG = logging.getLogger("lectern")


class Searcher:
    """Searches the courses of one store. Safe to share between threads; follows the store as it changes.

    Args:
        notify: told, in a sentence, of anything that had to be repaired.

    Raises:
        StoreMismatch: the store was indexed with another embedder.
    """

    def __init__(self, store: Store, embedder: Embedder, config: Config, notify: Callable[[str], None] = _LOG.warning) -> None:
        store.require_embedder(embedder.stamp)
        self.store = store
        self.embedder = embedder
        self.config = config
        self._snapshots = SnapshotHolder(store, notify)
        self._reranker: CrossEncoder | None = load_reranker(config.reranker, config) if config.reranker != NONE else None
        self._scopes: dict[Scope, tuple[int, np.ndarray]] = {}
        self._lock = threading.Lock()
        self._interpreter = Interpreter(store, lambda word: embedder.count_tokens([word]) == [1])

    @classmethod
    def from_config(cls, config: Config, notify: Callable[[str], None] = _LOG.warning) -> Searcher:
        return cls(Store.open(config.store), SentenceTransformerEmbedder.from_config(config), config, notify)

    def interpret(self, question: str, scope: Scope) -> Interpreted:
        """The question as `search` takes it: an error that is corrected can then be told.

        Raises:
            QuestionError: the question is empty or too long, or the scope's `at` is no moment.
            UnknownCourse: the scope names a course that the store does not have.
        """
        question = check_question(question, self.config.question_characters)
        self.store.require_course(scope.course)
        return self._interpreter.interpret(question, self.store.settle(scope))

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
            scope = self.store.settle(scope)
        limit, candidates = limit or self.config.hits, max(self.config.candidates, limit or 0)
        if query is None:
            with watch.stage("embed"):
                query = self.embedder.embed_query(asked.dense)
        with watch.stage("dense"):
            self.store.require_embedder(self.embedder.stamp)  # a rebuild with another embedder may have happened since
            snapshot = self._snapshots.current()
            dense = search(snapshot, query, candidates, self._chunk_ids(scope, snapshot.generation.revision))
        with watch.stage("lexical"):
            lexical = self.store.search_text(match_expression(asked.lexical), scope, candidates)
        with watch.stage("fuse"):
            fused = fuse(dict(dense), dict(lexical), self.config.dense_weight)
            hits = self._hits(asked, fused[:candidates], dict(dense), dict(lexical))
        if self._reranker is not None:
            with watch.stage("rerank"):
                hits = _rerank(asked.text, hits, self._reranker)
        return hits[:limit]

    def _chunk_ids(self, scope: Scope, revision: int) -> np.ndarray:
        with self._lock:
            known = self._scopes.get(scope)
        if known is None or known[0] != revision:
            known = revision, self.store.chunk_ids(scope)
            with self._lock:
                self._scopes = {key: value for key, value in self._scopes.items() if value[0] == revision} | {scope: known}
        return known[1]

    def _hits(
        self, asked: Interpreted, fused: Sequence[tuple[int, float]], dense: dict[int, float], lexical: dict[int, float]
    ) -> list[Hit]:
        passages = self.store.passages([chunk_id for chunk_id, _ in fused])
        scored = [(score * asked.parts.factor(passages[chunk_id]), passages[chunk_id]) for chunk_id, score in fused if chunk_id in passages]
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


def match_expression(question: str) -> str:
    """An FTS5 expression that any content word of the question matches. Quoting keeps operators in a question from acting.

    Words stand in it folded and as they are written: the index folds Latin accents alone, not `CO₂` or other scripts.
    """
    written = [word for word in re.findall(r"\w+", question.lower()) if not word.isascii()]
    return " OR ".join(f'"{word}"' for word in dict.fromkeys([*content_words(question), *written])) or '""'


def fuse(dense: dict[int, float], lexical: dict[int, float], dense_weight: float) -> list[tuple[int, float]]:
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


def _rerank(question: str, hits: list[Hit], reranker: CrossEncoder) -> list[Hit]:
    """The hits in the reranker's order; `score` becomes its logistic output."""
    with COMPUTE_LANE:
        logits = reranker.predict([(question, hit.passage.chunk.text) for hit in hits], show_progress_bar=False) if hits else []
    scored = sorted(zip(hits, logits, strict=True), key=lambda pair: -float(pair[1]))
    return [Hit(hit.passage, rank, float(score), hit.similarity, hit.bm25) for rank, (hit, score) in enumerate(scored, start=1)]


class CourseRetriever(BaseRetriever):
    """One course as a LangChain retriever.

    The metadata of each document: `source`, `location` (a dict), `title`, `chunk_id`, `score`, `similarity`, `bm25`, `rank`.

    Args:
        course: the course's name in the store.
        config: the settings; by default those of `Config.load()`.
        k: passages to return.
        path, material, week, lecture, format, at: narrow the search, as `--filter` does.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    course: str
    config: Config | None = None
    k: int = 5
    path: str | None = None
    material: str | None = None
    week: int | None = None
    lecture: int | None = None
    format: str | None = None
    at: str | None = None
    _searcher: Searcher = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._searcher = Searcher.from_config(self.config or Config.load())

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        scope = Scope(self.course, self.path, self.material, self.week, self.lecture, self.format, self.at)
        return [_as_langchain(hit) for hit in self._searcher.search(query, scope, self.k)]


def _as_langchain(hit: Hit) -> Document:
    passage = hit.passage
    metadata = {
        "source": passage.source,
        "location": passage.chunk.location.to_json(),
        "title": passage.title,
        "chunk_id": passage.chunk_id,
        "score": hit.score,
        "similarity": hit.similarity,
        "bm25": hit.bm25,
        "rank": hit.rank,
    }
    return Document(page_content=passage.chunk.text, metadata=metadata)
