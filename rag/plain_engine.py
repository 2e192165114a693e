"""Generation by transformers' own `generate()`: any causal LM, any device, beams too; one answer at a time, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from rag.errors import GeneratorUnavailable
from rag.generation import Generation, require_room
from rag.lane import COMPUTE_LANE
from rag.types import Decoding


class PlainEngine:
    """Answers wait for the compute lane, and offer it at each token.

    Args:
        guess_tokens: longest guess of prompt lookup; 0 turns it off.
    """

    def __init__(self, model: Any, tokenizer: Any, guess_tokens: int) -> None:
        self._model, self._tokenizer, self._guess_tokens = model, tokenizer, guess_tokens
        self._threads: list[threading.Thread] = []

    def generate(self, prompt: Sequence[int], decoding: Decoding) -> Generation:
        longest = getattr(self._model.config, "max_position_embeddings", None)
        require_room(len(prompt), decoding, longest, type(self._model).__name__)
        generation = Generation()
        thread = threading.Thread(target=self._run, args=(list(prompt), decoding, generation), name="generate", daemon=True)
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]
        thread.start()
        return generation

    def close(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, prompt: list[int], decoding: Decoding, generation: Generation) -> None:
        import torch

        waiting_since = time.perf_counter()
        try:
            with COMPUTE_LANE, torch.inference_mode():
                generation.queue_s = time.perf_counter() - waiting_since
                if not generation.is_closed:
                    torch.manual_seed(decoding.seed)
                    ids = torch.tensor([prompt], device=self._model.device)
                    found = self._model.generate(
                        ids, attention_mask=torch.ones_like(ids), stopping_criteria=[_stop_when_closed(generation)],
                        **self._settings(decoding, generation),
                    )  # fmt: skip
                    if decoding.num_beams > 1:
                        generation.tell(found[0, len(prompt) :].tolist())
            generation.tell(None)
        except Exception as e:  # noqa: BLE001 (whatever it is, the reader's thread raises it again)
            failure = GeneratorUnavailable(f"the generator failed: {e}")
            failure.__cause__ = e
            generation.tell(failure)

    def _settings(self, decoding: Decoding, generation: Generation) -> dict[str, Any]:
        settings: dict[str, Any] = {"max_new_tokens": decoding.max_new_tokens, "pad_token_id": self._tokenizer.eos_token_id}
        if decoding.temperature > 0:
            settings |= {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
        else:
            settings |= {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if decoding.repetition_penalty != 1.0:
            settings["repetition_penalty"] = decoding.repetition_penalty
        if decoding.num_beams > 1:
            return settings | {"num_beams": decoding.num_beams}
        if self._guess_tokens:
            settings["prompt_lookup_num_tokens"] = self._guess_tokens
        return settings | {"streamer": _Streamer(generation)}


class _Streamer:
    """Passes new tokens on; the first that `generate` puts is the prompt."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._has_prompt = False

    def put(self, tokens: Any) -> None:
        if self._has_prompt:
            self._generation.tell(tokens.reshape(-1).tolist())
        self._has_prompt = True

    def end(self) -> None:
        """The thread tells the end itself, also after an error."""


def _stop_when_closed(generation: Generation) -> Any:
    import torch

    def stop(input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        if not generation.is_closed:
            COMPUTE_LANE.give_way()
        return torch.full((input_ids.shape[0],), generation.is_closed, dtype=torch.bool, device=input_ids.device)

    return stop
