"""The JSON forms that scripts build on: stable; keys may be added, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag.types import Answer, Chunk, Hit, Latency, Location, Mode, Passage, Sentence, Source, Support, Turn


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """A hit in the stable JSON form of `rag search`."""
    chunk = hit.passage.chunk
    return {
        "rank": hit.rank,
        "source": hit.passage.source,
        "title": hit.passage.title,
        "chunk_id": hit.passage.chunk_id,
        "location": chunk.location.to_json(),
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "similarity": hit.similarity,
        "bm25": hit.bm25,
        "score": hit.score,
        "duplicates": [{"source": same.source, "location": same.chunk.location.to_json()} for same in hit.duplicates],
    }


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """An answer in the stable JSON form of `rag ask`."""
    return {
        "question": answer.question,
        "standalone": answer.standalone,
        "answer": answer.text,
        "abstained": answer.abstained,
        "confidence": answer.confidence,
        "mode": answer.mode.value,
        "sentences": [_sentence_to_json(sentence) for sentence in answer.sentences],
        "dropped": [_sentence_to_json(sentence) for sentence in answer.dropped],
        "sources": [_source_to_json(source) for source in answer.sources],
        "latency_ms": answer.latency.to_json(),
        "tokens": {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens, "reused": answer.reused_tokens},
        "notices": list(answer.notices),
        "cached": answer.cached,
        "prompt": [{"role": turn.role, "content": turn.content} for turn in answer.prompt],
        "prompt_parts": answer.prompt_parts,
    }


def answer_from_json(value: Mapping[str, Any]) -> Answer:
    latency = dict(value["latency_ms"])
    total = latency.pop("total")
    return Answer(
        question=value["question"],
        standalone=value["standalone"],
        text=value["answer"],
        abstained=value["abstained"],
        confidence=value["confidence"],
        mode=Mode(value["mode"]),
        sentences=tuple(map(_sentence_from_json, value["sentences"])),
        sources=tuple(_source_from_json(one) for one in value["sources"]),
        latency=Latency(latency, total),
        prompt_tokens=value["tokens"]["prompt"],
        completion_tokens=value["tokens"]["completion"],
        reused_tokens=value["tokens"].get("reused", 0),
        notices=tuple(value["notices"]),
        cached=value.get("cached", False),  # answers kept before these keys lack them
        prompt=tuple(Turn(one["role"], one["content"]) for one in value.get("prompt", ())),
        prompt_parts=value.get("prompt_parts", {}),
        dropped=tuple(map(_sentence_from_json, value.get("dropped", ()))),
    )


def _sentence_to_json(sentence: Sentence) -> dict[str, Any]:
    return {
        "text": sentence.text,
        "support": sentence.support.value,
        "citations": list(sentence.citations),
        "quoted": sentence.quoted,
    }


def _sentence_from_json(value: Mapping[str, Any]) -> Sentence:
    return Sentence(value["text"], Support(value["support"]), tuple(value["citations"]), value.get("quoted", False))


def _source_to_json(source: Source) -> dict[str, Any]:
    passage, chunk = source.passage, source.passage.chunk
    return {
        "n": source.n,
        "course": passage.course,
        "source": passage.source,
        "title": passage.title,
        "material": passage.material,
        "week": passage.week,
        "lecture": passage.lecture,
        "chunk_id": passage.chunk_id,
        "location": chunk.location.to_json(),
        "context": chunk.context,
        "start": chunk.start,
        "end": chunk.end,
        "tokens": chunk.tokens,
        "ordinal": passage.ordinal,
        "quote": source.quote,
        "text": chunk.text,
    }


def _source_from_json(value: Mapping[str, Any]) -> Source:
    location = Location.from_json(value["location"])
    chunk = Chunk(value["text"], value["start"], value["end"], location, value["context"], value.get("tokens", 0))
    facts = (value.get(key) for key in ("material", "week", "lecture"))  # answers kept before these keys lack them
    passage = Passage(value["chunk_id"], value["course"], value["source"], value["title"], chunk, value.get("ordinal", 0), *facts)
    return Source(value["n"], passage, value["quote"])
