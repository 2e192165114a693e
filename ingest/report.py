"""What a run did to one course, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class IngestReport:
    """What a run did to one course.

    `seconds` are those of the run itself by stage, which add up to `total`; `read` and `save` in it are what it waited for. `beside` are
    the seconds of work that went on at the same time: in the readers' processes, in cutting, in the catalogue. Memory is in bytes.
    `ceiling_tokens_s` is the embedder's speed if nothing but its matrix products took time; 0 where that is not known.
    """

    course: str
    files: dict[str, int]
    set_aside: list[dict[str, str]] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)
    pages: int = 0
    chunks: int = 0
    tokens: int = 0
    embedded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    beside: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "chunk", "save"), 0.0))
    peak_memory: dict[str, int] = field(default_factory=lambda: {"ingest": 0, "reader": 0})
    device: str = ""
    batch_tokens: int = 0
    ceiling_tokens_s: float = 0.0
    generation: int = 0

    def to_json(self) -> dict[str, Any]:
        rounded = {name: {key: round(value, 4) for key, value in getattr(self, name).items()} for name in ("seconds", "beside")}
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | rounded

    def summary(self) -> str:
        """The report as lines for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        counted = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in self.files.items() if count)
        yield f"{self.course}: {counted or 'nothing to do'}"
        yield f"  {self.pages:,} pages, {self.chunks:,} chunks; embedded {self.embedded:,} chunks, {self.tokens:,} tokens"
        if self.tokens:
            speed = self.tokens / self.seconds["embed"]
            share = f", {speed / self.ceiling_tokens_s:.0%} of what its matrix products would allow" if self.ceiling_tokens_s else ""
            yield f"  {speed:,.0f} tokens/s on {self.device}, batches of {self.batch_tokens:,} tokens{share}"
        yield f"  {self.seconds['total']:.2f} s: {_stages(self.seconds)}; generation {self.generation}"
        if beside := _stages(self.beside):
            peaks = ", ".join(f"{part} {peak >> 20:,} MiB" for part, peak in self.peak_memory.items())
            yield f"  meanwhile: {beside}; peak memory: {peaks}"
        yield from (f"  note: {notice['source']}: {notice['notice']}" for notice in self.notices)
        yield from (f"  set aside: {file['source']} {file['reason'].removeprefix(file['source']).lstrip()}" for file in self.set_aside)


def _stages(seconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {value:.2f} s" for stage, value in seconds.items() if stage != "total" and value >= 0.005)
