"""What every generator in this process offers: token ids in, new token ids out as they come, and an end at any moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from rag.errors import GeneratorUnavailable
from rag.types import Decoding


class Generation:
    """One answer in the making. Iterate over it for its new tokens, some at a time; `close` ends the work.

    An engine tells it what it has: lists of tokens, then None, or an error that ends it.
    """

    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        self._told: queue.SimpleQueue[list[int] | GeneratorUnavailable | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._on_close = on_close
        self.queue_s = 0.0
        """Seconds from the asking to the first computing."""
        self.reused_tokens = 0
        """Tokens of the prompt that had been read before."""

    def tell(self, what: list[int] | GeneratorUnavailable | None) -> None:
        self._told.put(what)

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def __iter__(self) -> Generator[list[int]]:
        """
        Raises:
            GeneratorUnavailable: it cannot go on.
        """
        try:
            while (told := self._told.get()) is not None:
                if isinstance(told, GeneratorUnavailable):
                    raise told
                yield told
        finally:
            self.close()

    def close(self) -> None:
        """Ends the work, which lasts one more token or pass at most. It does no harm when it has ended."""
        if not self._closed.is_set():
            self._closed.set()
            self._on_close()


class TokenEngine(Protocol):
    """A loaded causal LM."""

    def generate(self, prompt: Sequence[int], decoding: Decoding) -> Generation:
        """
        Raises:
            GeneratorUnavailable: the prompt does not fit.
        """
        ...

    def close(self) -> None:
        """Ends all work and the threads."""
        ...


def require_room(prompt_tokens: int, decoding: Decoding, longest: int | None, name: str) -> None:
    """
    Raises:
        GeneratorUnavailable: prompt and answer together are longer than the model reads.
    """
    if longest is not None and prompt_tokens + decoding.max_new_tokens > longest:
        raise GeneratorUnavailable(
            f"the prompt has {prompt_tokens} tokens and the answer may have {decoding.max_new_tokens}, "
            f"but {name} takes {longest} in all; lower context_tokens or max_new_tokens"
        )
