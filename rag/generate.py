"""Generators: a causal LM in this process as a LangChain chat model, or any OpenAI-compatible server.

The in-process model streams from a thread of its own and can be left at any token: closing the stream ends the work. It takes turns with
the embedder on the cores (`COMPUTE_LANE`), as two thread pools on the same cores slow each other by tens of times; it offers its turn at
each token.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr

from rag.config import NONE, Config
from rag.errors import GeneratorUnavailable
from rag.lane import COMPUTE_LANE
from rag.models import ModelFiles, find_generator, load_generator
from rag.types import Decoding

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


def load_chat_model(config: Config) -> BaseChatModel | None:
    """The generator that the config names; None when it names none.

    Raises:
        GeneratorUnavailable: its files are missing or do not load.
    """
    if config.base_url:
        return _remote_model(config)
    if config.generator == NONE:
        return None
    return TransformersChatModel(files=find_generator(config.generator, config.allow_downloads), config=config)


def _remote_model(config: Config) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    return init_chat_model(
        config.generator,
        model_provider="openai",
        base_url=config.base_url,
        api_key=os.environ.get(config.api_key_variable, "none"),
        timeout=config.timeout_s,
        max_retries=1,
        stream_usage=True,
    )


def stream_chat(model: BaseChatModel, messages: list[BaseMessage], stop: list[str], decoding: Decoding) -> Generator[AIMessageChunk]:
    """The answer as it is generated. Closing the stream ends the model's work.

    Raises:
        GeneratorUnavailable: the model failed, or its server cannot be reached or refused.
    """
    # LangChain types the stream as an iterator; it is a generator, and only that can be closed.
    if isinstance(model, TransformersChatModel):
        yield from cast("Generator[AIMessageChunk]", model.stream(messages, stop=stop, decoding=decoding))
        return
    from openai import OpenAIError

    try:
        yield from cast("Generator[AIMessageChunk]", model.stream(messages, stop=stop, **_as_request(decoding)))
    except OpenAIError as e:
        raise GeneratorUnavailable(f"the server of the generator did not answer ({type(e).__name__}): {e}") from e


def _as_request(decoding: Decoding) -> dict[str, Any]:
    """The settings as an OpenAI-compatible server takes them."""
    ours = {name: getattr(decoding, name) for name in ("top_k", "repetition_penalty", "num_beams")}
    defaults = {field.name: field.default for field in dataclasses.fields(Decoding)}
    # Not part of the OpenAI API; vLLM and llama.cpp take some of them. Sent only when they are asked for, as strict servers refuse them.
    extra = {name: value for name, value in ours.items() if value != defaults[name]}
    return {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_new_tokens,
        "seed": decoding.seed,
    } | ({"extra_body": extra} if extra else {})


def prompt_tokens(model: BaseChatModel, messages: Sequence[BaseMessage]) -> int | None:
    """How many tokens a prompt has for a model in this process; None where only a server knows."""
    return model.prompt_tokens(messages) if isinstance(model, TransformersChatModel) else None


def context_length(model: BaseChatModel, config: Config) -> int:
    """Tokens that a generator reads and writes in all."""
    if not isinstance(model, TransformersChatModel):
        return config.server_context_tokens
    return getattr(model.loaded[0].config, "max_position_embeddings", None) or config.server_context_tokens


class TransformersChatModel(BaseChatModel):
    """A causal LM of transformers in this process. The weights load at first use.

    The first chunk's `response_metadata` has `queue_s`, the seconds waited for the cores. `usage_metadata` counts the tokens since the
    chunk before, so that a stream left early has been counted too.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    files: ModelFiles
    config: Config
    _loaded: tuple[Any, Any] | None = PrivateAttr(None)
    _loading: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.files.id, "revision": self.files.revision}

    @property
    def loaded(self) -> tuple[Any, Any]:
        """`(model, tokenizer)`; loaded once, also when several ask first at the same time."""
        with self._loading:
            if self._loaded is None:
                self._loaded = load_generator(self.files, self.config)
            return self._loaded

    def prompt_tokens(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of the messages in the model's chat format."""
        return _tokenized(list(messages), self.loaded[1], self.files.id)["input_ids"].shape[1]

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        from transformers import TextIteratorStreamer

        model, tokenizer = self.loaded
        inputs = _tokenized(messages, tokenizer, self.files.id).to(model.device)
        prompt_tokens = inputs["input_ids"].shape[1]
        decoding: Decoding = kwargs.get("decoding") or self.config.decoding
        self._check_length(prompt_tokens, decoding.max_new_tokens, getattr(model.config, "max_position_embeddings", None))
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        job = _Job(model, dict(inputs), self._generation_settings(decoding, tokenizer), decoding.seed, streamer)
        job.start()
        reported = 0
        try:
            for text in until_stop(streamer, stop or ()):
                metadata = {} if reported else {"queue_s": job.queue_s}
                usage = _usage(0 if reported else prompt_tokens, max(job.new_tokens, 1) - reported)
                reported += usage["output_tokens"]
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=text, response_metadata=metadata, usage_metadata=usage))
                if run_manager:
                    run_manager.on_llm_new_token(text, chunk=chunk)
                yield chunk
        finally:
            job.cancel()
        if job.error is not None:
            raise GeneratorUnavailable(f"the generator failed: {job.error}") from job.error
        last = _usage(0 if reported else prompt_tokens, job.new_tokens - reported)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=last, chunk_position="last"))

    def _check_length(self, prompt_tokens: int, new_tokens: int, longest: int | None) -> None:
        if longest is not None and prompt_tokens + new_tokens > longest:
            raise GeneratorUnavailable(
                f"the prompt has {prompt_tokens} tokens and the answer may have {new_tokens}, "
                f"but {self.files.id} takes {longest} in all; lower context_tokens or max_new_tokens"
            )

    def _generation_settings(self, decoding: Decoding, tokenizer: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {"max_new_tokens": decoding.max_new_tokens, "pad_token_id": tokenizer.eos_token_id}
        if decoding.temperature > 0:
            sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
            settings |= {"do_sample": True, **sampling}
        else:
            settings |= {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if decoding.repetition_penalty != 1.0:
            settings["repetition_penalty"] = decoding.repetition_penalty
        if decoding.num_beams > 1:
            settings["num_beams"] = decoding.num_beams
        elif self.config.prompt_lookup_tokens:
            settings["prompt_lookup_num_tokens"] = self.config.prompt_lookup_tokens
        return settings


def until_stop(texts: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The texts up to the first stop string, which may lie across several of them; empty ones are left out."""
    told = ""
    for text in texts:
        told += text
        ends = [position for position in (told.find(stop) for stop in stops) if position >= 0]
        if ends:
            last = text[: max(0, min(ends) - (len(told) - len(text)))]
            if last:
                yield last
            return
        if text:
            yield text


def _tokenized(messages: list[BaseMessage], tokenizer: Any, name: str) -> Any:
    """The messages in the model's chat format. What stands in them cannot speak as another role: control tokens become plain text."""
    control = re.compile("|".join(map(re.escape, tokenizer.all_special_tokens)) or r"(?!)")
    chat = [{"role": _ROLES[message.type], "content": control.sub(lambda found: f"‹{found[0][1:]}", message.text)} for message in messages]
    try:
        return tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    except ValueError as e:
        raise GeneratorUnavailable(f"{name} has no chat format ({e}); use an instruction-tuned model") from e


def _usage(input_tokens: int, output_tokens: int) -> UsageMetadata:
    return UsageMetadata(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens)


class _Job:
    """One generation in a thread of its own, which ends within a token of `cancel`."""

    def __init__(self, model: Any, inputs: dict[str, Any], settings: dict[str, Any], seed: int, streamer: Any) -> None:
        self._model, self._inputs, self._settings, self._seed, self._streamer = model, inputs, settings, seed, streamer
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self.queue_s = 0.0
        self.new_tokens = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """Ends the work; returns when it has ended."""
        self._cancelled.set()
        self._thread.join()

    def _run(self) -> None:
        import torch

        waiting_since = time.perf_counter()
        try:
            with COMPUTE_LANE, torch.inference_mode():
                self.queue_s = time.perf_counter() - waiting_since
                if not self._cancelled.is_set():
                    torch.manual_seed(self._seed)
                    self._model.generate(**self._inputs, **self._settings, streamer=self._streamer, stopping_criteria=[self._stop])
        except Exception as e:  # noqa: BLE001 (whatever it is, the reader's thread raises it again)
            self.error = e
        finally:
            self._streamer.end()

    def _stop(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        self.new_tokens = input_ids.shape[1] - self._inputs["input_ids"].shape[1]
        if not self._cancelled.is_set():
            COMPUTE_LANE.give_way()
        return torch.full((input_ids.shape[0],), self._cancelled.is_set(), dtype=torch.bool, device=input_ids.device)
