"""What `stream_answer` yields while an answer is made, for whoever shows it; the `Answer` comes last."""

from __future__ import annotations

from dataclasses import dataclass

from rag.types import Answer, Hit, Sentence, Source, Waiting


@dataclass(frozen=True, slots=True)
class Found:
    """Retrieval has finished: the passages, best first."""

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The sentence being written, so far and as shown: not yet checked, replaced by what follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The checked sentences so far."""

    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]


Event = Waiting | Found | Draft | Written | Answer
