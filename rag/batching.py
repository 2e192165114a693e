"""One engine for all who ask: each pass reads one piece of every sequence in work (continuous batching, Orca, OSDI 2022).

A sequence is copied from the longest beginning it shares with one that was read before (the prefix cache), and guesses its next tokens
from what it has read, which copying from sources makes right often (prompt lookup): guesses are checked in the same pass, so the tokens
are those that would come one by one. One thread computes; it takes the compute lane pass by pass, so that a search waits for one pass and
not for a whole answer.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.decoder import KeyValues, LlamaDecoder, Reading
from rag.errors import GeneratorUnavailable, ModelError
from rag.generation import Generation, require_room
from rag.lane import COMPUTE_LANE
from rag.types import Decoding

if TYPE_CHECKING:
    import torch

PASS_TOKENS = 256
"""Prompt tokens read in a pass: some 0.2 s, for which a cancel, a search and the others' next tokens wait."""
CHEAP_ROWS = 16
"""Rows that cost hardly more than one, as the weights must be fetched anyway: what guesses may fill."""
LONGEST_MATCH = 3
"""Tokens that must have stood in the text before for what followed them to be guessed again; then two, then one."""
TRIALS = 5

_LOG = logging.getLogger("lectern")


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine has to do, and the tokens it has generated since its start."""

    active: int
    waiting: int
    tokens: int


class PromptLookup:
    """Guesses the tokens that follow from what followed the same few tokens before (prompt lookup decoding, Saxena 2023)."""

    def __init__(self, tokens: Iterable[int] = ()) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        end = len(self._tokens)
        for length in range(1, min(LONGEST_MATCH, end) + 1):
            self._after[tuple(self._tokens[end - length :])] = end
        self._tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """At most so many tokens; none when the last token has not stood there before."""
        for length in range(min(LONGEST_MATCH, len(self._tokens)), 0, -1):
            start = self._after.get(tuple(self._tokens[-length:]))
            if start is not None:
                return self._tokens[start : start + most]
        return []


class PrefixCache:
    """Sequences that were read, by their tokens; the least recently used go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(past.bytes for past in tuple(self._kept.values()))  # of a copy: also asked by other threads

    def longest(self, tokens: Sequence[int]) -> tuple[KeyValues | None, int]:
        """The kept sequence that shares the longest beginning with `tokens`, and that beginning's length."""
        best: tuple[int, ...] | None = None
        length = 0
        for kept in self._kept:
            if (shared := shared_length(kept, tokens)) > length:
                best, length = kept, shared
        if best is None:
            return None, 0
        self._kept.move_to_end(best)
        return self._kept[best], length

    def keep(self, tokens: Sequence[int], past: KeyValues) -> None:
        """Keeps a sequence; it must not be written to afterwards. Those that are its beginnings are no longer needed."""
        key = tuple(tokens[: past.length])
        for kept in [kept for kept in self._kept if kept == key[: len(kept)]]:
            del self._kept[kept]
        self._kept[key] = past
        self.shrink(self._most_bytes)

    def shrink(self, most_bytes: int) -> None:
        while self._kept and self.bytes > most_bytes:
            self._kept.popitem(last=False)


def shared_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@dataclass(slots=True, eq=False)
class _Request:
    """A sequence in work. Only the engine's thread touches it."""

    tokens: list[int]
    prompt_tokens: int
    decoding: Decoding
    choose: Callable[[torch.Tensor, Sequence[int]], int] | None
    """None: the likeliest token."""
    generation: Generation
    past: KeyValues | None = None
    lookup: PromptLookup | None = None
    guesses: list[int] = field(default_factory=list)
    submitted: float = field(default_factory=time.perf_counter)

    @property
    def most_tokens(self) -> int:
        return self.prompt_tokens + self.decoding.max_new_tokens

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def unread(self) -> int:
        assert self.past is not None
        return len(self.tokens) - self.past.length


class BatchingEngine:
    """Generates for many at once over one decoder, in a thread of its own that sleeps when nothing is asked.

    Args:
        ends: tokens that end an answer.
        slots: sequences in a pass; further ones wait in order.
        guess_tokens: longest guess of prompt lookup; 0 turns it off.
        cache_mb: memory for keys and values, of those in work and of the prefix cache together.
    """

    def __init__(
        self, decoder: LlamaDecoder, ends: frozenset[int], slots: int, guess_tokens: int, cache_mb: int, reuse_prefixes: bool = True
    ) -> None:
        self._decoder, self._ends, self._slots, self._guess_tokens = decoder, ends, slots, guess_tokens
        self._most_bytes = cache_mb << 20
        self._reuse_prefixes = reuse_prefixes
        self._prefixes = PrefixCache(self._most_bytes)
        self._condition = threading.Condition()
        self._waiting: list[_Request] = []
        self._active: list[_Request] = []
        self._closing = False
        self._tokens = 0
        self._forgets = False
        self._thread: threading.Thread | None = None

    @property
    def load(self) -> Load:
        with self._condition:
            return Load(len(self._active), len(self._waiting), self._tokens)

    @property
    def prefix_bytes(self) -> int:
        """Memory that the prefix cache takes now."""
        return self._prefixes.bytes

    def start(self) -> None:
        """Starts the thread, which first finds out how many cores to use; otherwise the first question waits for that."""
        with self._condition:
            self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
            self._thread.start()

    def generate(self, prompt: Sequence[int], decoding: Decoding) -> Generation:
        """
        Raises:
            GeneratorUnavailable: prompt and answer together are longer than the model or the memory for them.
        """
        require_room(len(prompt), decoding, self._decoder.recipe.max_tokens, self._decoder.recipe.folder.name)
        needed = (len(prompt) + decoding.max_new_tokens) * self._decoder.bytes_per_token
        if needed > self._most_bytes:
            raise GeneratorUnavailable(
                f"prompt and answer may need {needed >> 20} MB of memory, more than generator_cache_mb = {self._most_bytes >> 20}; "
                "raise it, or lower context_tokens"
            )
        generation = Generation(self._wake)
        request = _Request(list(prompt), len(prompt), decoding, _chooser(decoding), generation)
        with self._condition:
            if self._closing:
                raise GeneratorUnavailable("the generator is being shut down")
            self._start()
            self._waiting.append(request)
            self._condition.notify_all()
        return generation

    def forget(self) -> None:
        """Empties the prefix cache, which holds texts of prompts, before anything else is read."""
        with self._condition:
            self._forgets = True
            self._condition.notify_all()

    def close(self) -> None:
        """Ends all work and the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    # --- the engine's thread

    def _run(self) -> None:
        try:
            if self._decoder.is_on_cpu:
                use_best_threads(self._decoder)
            while self._is_to_go_on():
                if self._active:
                    with COMPUTE_LANE:
                        self._advance()
        finally:
            # Also after a fault of ours: nobody must wait for a thread that is gone, and the next question starts another.
            with self._condition:
                self._thread = None
                self._end_all()

    def _is_to_go_on(self) -> bool:
        """Waits for something to do, and takes in and lets go whom it is to; False when the engine is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closing or self._forgets or self._waiting or self._active)
            self._drop_cancelled()
            if self._forgets:
                self._prefixes.shrink(0)
                self._forgets = False
            if not self._closing:
                self._admit()
            return not self._closing

    def _drop_cancelled(self) -> None:
        self._waiting = [one for one in self._waiting if not one.generation.is_closed]
        for one in [one for one in self._active if one.generation.is_closed]:
            self._finish(one)

    def _end_all(self) -> None:
        for one in (*self._active, *self._waiting):
            one.generation.tell(GeneratorUnavailable("the generator has stopped"))
        self._active, self._waiting = [], []

    def _admit(self) -> None:
        """Takes in the next in line while there is a slot and memory; what others were read for is copied, not read again."""
        while self._waiting and len(self._active) < self._slots and self._reserve(self._waiting[0]):
            request = self._waiting.pop(0)
            request.generation.queue_s = time.perf_counter() - request.submitted
            request.past, request.generation.reused_tokens = self._beginning(request)
            request.lookup = PromptLookup(request.tokens) if self._guess_tokens else None
            self._active.append(request)

    def _reserve(self, request: _Request) -> bool:
        """Whether keys and values of one more fit; the prefix cache gives way."""
        needed = sum(one.most_tokens for one in (*self._active, request)) * self._decoder.bytes_per_token
        if needed > self._most_bytes:
            return False
        self._prefixes.shrink(self._most_bytes - needed)
        return True

    def _beginning(self, request: _Request) -> tuple[KeyValues, int]:
        """The sequence with whatever of its prompt was read before, by another in work or an earlier one; at least one token is left."""
        past, length = self._prefixes.longest(request.tokens) if self._reuse_prefixes else (None, 0)
        for other in self._active if self._reuse_prefixes else ():
            if other.past and (shared := shared_length(other.tokens[: other.past.length], request.tokens)) > length:
                past, length = other.past, shared
        length = min(length, request.prompt_tokens - 1)
        if past is None or length <= 0:
            return self._decoder.start(request.most_tokens), 0
        return past.copy(length, request.most_tokens), length

    def _advance(self) -> None:
        """One pass over all sequences in work."""
        parts = self._parts()
        try:
            logits = self._decoder.read([reading for _, reading in parts])
        except (RuntimeError, MemoryError, ModelError) as e:
            _LOG.warning("a pass over %d sequences failed, each is tried by itself: %s", len(parts), e)
            self._prefixes.shrink(0)
            for part in parts:
                self._advance_alone(part)
        else:
            self._take(parts, logits)

    def _advance_alone(self, part: tuple[_Request, Reading]) -> None:
        request, reading = part
        try:
            logits = self._decoder.read([reading])
        except (RuntimeError, MemoryError, ModelError) as e:
            self._fail(request, e)
        else:
            self._take([part], logits)

    def _fail(self, request: _Request, error: Exception) -> None:
        request.generation.tell(GeneratorUnavailable(f"the generator failed for this answer: {error}"))
        self._active.remove(request)

    def _parts(self) -> list[tuple[_Request, Reading]]:
        """What each sequence reads in this pass: a piece of its prompt, or its last token and guesses of what follows."""
        parts = []
        budget = PASS_TOKENS
        guesses = min(self._guess_tokens, CHEAP_ROWS // len(self._active) - 1)
        for one in self._active:
            assert one.past is not None
            if one.generated == 0:
                piece = one.tokens[one.past.length : one.past.length + budget]
                if not piece:
                    continue
                budget -= len(piece)
                parts.append((one, Reading(piece, one.past, int(len(piece) == one.unread))))
            else:
                one.guesses = self._guess(one, guesses)
                parts.append((one, Reading([one.tokens[-1], *one.guesses], one.past, 1 + len(one.guesses))))
        return parts

    def _guess(self, one: _Request, most: int) -> list[int]:
        most = min(most, one.decoding.max_new_tokens - one.generated - 1)
        guesses = one.lookup.guess(most) if one.lookup and most > 0 else []
        return list(itertools.takewhile(lambda token: token not in self._ends, guesses))

    def _take(self, parts: Sequence[tuple[_Request, Reading]], logits: torch.Tensor) -> None:
        likeliest = logits.argmax(-1).tolist()
        row = 0
        for request, reading in parts:
            if reading.wanted:
                rows = slice(row, row + reading.wanted)
                try:
                    self._continue(request, reading, logits[rows], likeliest[rows])
                except RuntimeError as e:  # no token can be drawn, as at a temperature at which scores overflow
                    self._fail(request, e)
            row += reading.wanted

    def _continue(self, request: _Request, reading: Reading, logits: torch.Tensor, likeliest: Sequence[int]) -> None:
        """The tokens that follow: the first, and as many more as were guessed right. What was read beyond them is forgotten."""
        new: list[int] = []
        for row, guessed in enumerate([*request.guesses, None]):
            token = likeliest[row] if request.choose is None else request.choose(logits[row], request.tokens)
            new.append(token)
            request.tokens.append(token)
            if request.lookup:
                request.lookup.add(token)
            if token != guessed or token in self._ends:
                break
        reading.past.length -= len(request.guesses) + 1 - len(new)
        request.guesses = []
        self._tokens += len(new)
        ended = new[-1] in self._ends or request.generated >= request.decoding.max_new_tokens
        request.generation.tell(new)
        if ended:
            self._finish(request)

    def _finish(self, request: _Request) -> None:
        self._active.remove(request)
        if self._reuse_prefixes and request.past and request.past.length:
            self._prefixes.keep(request.tokens, request.past)
        request.generation.tell(None)


def _chooser(decoding: Decoding) -> Callable[[torch.Tensor, Sequence[int]], int] | None:
    """Chooses a token from its logits `(vocabulary,)` and the tokens before; None for the likeliest. Its own seed makes an answer
    repeatable whoever else asks."""
    if decoding.temperature == 0 and decoding.repetition_penalty == 1.0:
        return None
    import torch
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    process = LogitsProcessorList()
    if decoding.repetition_penalty != 1.0:
        process.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
    if decoding.temperature > 0:
        process.append(TemperatureLogitsWarper(decoding.temperature))
        if decoding.top_k:
            process.append(TopKLogitsWarper(decoding.top_k))
        if decoding.top_p < 1:
            process.append(TopPLogitsWarper(decoding.top_p))
    dice = torch.Generator().manual_seed(decoding.seed)

    def choose(logits: torch.Tensor, tokens: Sequence[int]) -> int:
        scores = process(torch.tensor([tokens]), logits[None].float())[0]
        if decoding.temperature == 0:
            return int(scores.argmax())
        return int(torch.multinomial(torch.softmax(scores, -1), 1, generator=dice))

    return choose


def use_best_threads(decoder: LlamaDecoder) -> int:
    """Makes the calling thread compute with as many cores as read fastest here, by trial: more are not always faster."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    most = torch.get_num_threads()
    seconds: dict[int, float] = {}
    counts = sorted({1, *(1 << power for power in range(most.bit_length()) if 1 << power <= most), most})
    past = decoder.start()
    with COMPUTE_LANE:
        for count in counts if len(counts) > 1 else ():
            threadpool_limits(count, user_api="openmp")
            seconds[count] = min(_trial_s(decoder, past) for _ in range(TRIALS))  # the least: a busy machine must not decide
    best = min(seconds, key=lambda count: seconds[count], default=most)
    threadpool_limits(best, user_api="openmp")
    return best


def _trial_s(decoder: LlamaDecoder, past: KeyValues) -> float:
    started = time.perf_counter()
    decoder.read([Reading([0] * CHEAP_ROWS, past)])
    past.length = 0
    return time.perf_counter() - started


def end_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the folder's generation settings and the tokenizer."""
    from transformers import GenerationConfig

    try:
        named = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:
        named = None
    ends = named if isinstance(named, list) else [named]
    return frozenset(end for end in (*ends, tokenizer.eos_token_id) if end is not None)
