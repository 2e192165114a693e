"""A course as a retriever for LangChain's chains."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PrivateAttr

from rag.config import Config
from rag.retrieve import Searcher
from rag.types import Hit, Scope


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
        scope = Scope(**{field.name: getattr(self, field.name) for field in fields(Scope)})
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
