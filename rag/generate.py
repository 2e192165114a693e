"""Generators: a causal LM in this process as a LangChain chat model, or any OpenAI-compatible server.

The in-process model streams from a thread of its own and can be left at any token: closing the stream ends the work. It takes turns with
the embedder on the cores (`COMPUTE_LANE`), as two thread pools on the same cores slow each other by tens of times; it offers its turn at
each token.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr

from rag.adapter import LoraAdapter
from rag.batching import BatchingEngine, end_tokens
from rag.config import NONE, Config
from rag.decoder import LlamaDecoder, read_decoder_recipe, weight_names
from rag.errors import ConfigError, GeneratorUnavailable, ModelError
from rag.generation import Generation, TokenEngine
from rag.lane import in_own_thread
from rag.models import (
    ModelFiles,
    choose_device,
    choose_dtype,
    find_adapted_generator,
    is_plain_adapter,
    load_generator,
    load_tokenizer,
)
from rag.plain_engine import PlainEngine
from rag.prompts import ROLES
from rag.remote import RemoteChatModel
from rag.types import Decoding

_LOG = logging.getLogger("lectern")


def load_chat_model(config: Config) -> BaseChatModel | None:
    """The generator that the config names; None when it names none.

    Raises:
        GeneratorUnavailable: its files are missing or do not load.
        ConfigError: it cannot be had as the config says.
    """
    if config.base_url:
        if config.names_adapter or config.quantize != NONE:
            raise ConfigError("adapter and quantize are for a generator in this process, but base_url names a server; set them there")
        return RemoteChatModel(config)
    if config.generator == NONE:
        return None
    return TransformersChatModel(files=find_adapted_generator(config), config=config)


def stream_chat(model: BaseChatModel, messages: list[BaseMessage], stop: list[str], decoding: Decoding) -> Generator[AIMessageChunk]:
    """The answer as it is generated. Closing the stream ends the model's work.

    Raises:
        GeneratorUnavailable: the model failed, or its server cannot be reached or refused.
    """
    # LangChain types the stream as an iterator; it is a generator, and only that can be closed.
    yield from cast("Generator[AIMessageChunk]", model.stream(messages, stop=stop, decoding=decoding))


def is_loaded(model: BaseChatModel) -> bool:
    """Whether the generator can begin at once; a server always can."""
    return not isinstance(model, TransformersChatModel) or model.is_loaded


def load(model: BaseChatModel) -> None:
    """Loads the weights of a generator in this process, unless that is done.

    Raises:
        GeneratorUnavailable: they do not load.
    """
    if isinstance(model, TransformersChatModel):
        _ = model.loaded


def forget_prompts(model: BaseChatModel) -> None:
    """Lets a generator in this process forget the prompts it has read."""
    if isinstance(model, TransformersChatModel):
        model.forget_prompts()


def batching_engine(model: BaseChatModel) -> BatchingEngine | None:
    """What computes a generator in this process for many at once; None for any other, and before it is loaded."""
    if not isinstance(model, TransformersChatModel) or model._loaded is None:
        return None
    engine = model._loaded[0]
    return engine if isinstance(engine, BatchingEngine) else None


def prompt_tokens(model: BaseChatModel, messages: Sequence[BaseMessage]) -> int | None:
    """How many tokens a prompt has for a model in this process; None where only a server knows."""
    return model.prompt_tokens(messages) if isinstance(model, TransformersChatModel) else None


def context_length(model: BaseChatModel, config: Config) -> int:
    """Tokens that a generator reads and writes in all."""
    if not isinstance(model, TransformersChatModel):
        return config.server_context_tokens
    return model.context_tokens or config.server_context_tokens


class TransformersChatModel(BaseChatModel):
    """A causal LM in this process. The weights load at first use.

    Models of the Llama kind are computed by `rag.decoder`, many answers at once; any other model, and beam search, by transformers. The
    first chunk's `response_metadata` has `queue_s`, the seconds waited for a turn, and `reused_tokens`, how much of the prompt had been
    read before. `usage_metadata` counts the tokens since the chunk before, so that a stream left early has been counted too.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    files: ModelFiles
    config: Config
    _loaded: tuple[TokenEngine, Any] | None = PrivateAttr(None)
    _plain: PlainEngine | None = PrivateAttr(None)
    _loading: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.files.id, "revision": self.files.revision}

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    @property
    def loaded(self) -> tuple[TokenEngine, Any]:
        """`(engine, tokenizer)`; loaded once, also when several ask first at the same time."""
        with self._loading:
            if self._loaded is None:
                self._loaded = in_own_thread(lambda: open_engine(self.files, self.config))
            return self._loaded

    @property
    def context_tokens(self) -> int | None:
        """Tokens that the model reads and writes in all, as its files say; None where they do not."""
        file = self.files.path / "config.json"
        return json.loads(file.read_text("utf-8")).get("max_position_embeddings") if file.is_file() else None

    def prompt_tokens(self, messages: Sequence[BaseMessage]) -> int:
        """How long the messages are in this model's chat format, in tokens."""
        return len(tokenize(messages, self.loaded[1], self.files.id))

    def forget_prompts(self) -> None:
        """Empties the prefix cache, if there is one."""
        if self._loaded is not None and isinstance(self._loaded[0], BatchingEngine):
            self._loaded[0].forget()

    def close(self) -> None:
        """Ends all work and the threads; the next question starts them again."""
        with self._loading:
            for engine in (self._loaded and self._loaded[0], self._plain):
                if engine:
                    engine.close()
            self._loaded = self._plain = None

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        engine, tokenizer = self.loaded
        decoding: Decoding = kwargs.get("decoding") or self.config.decoding
        prompt = tokenize(messages, tokenizer, self.files.id)
        if decoding.num_beams > 1:
            engine = self._plain_engine()
        generation = engine.generate(prompt, decoding)
        count = _Count(len(prompt), generation)
        try:
            for text in until_stop(_decoded(count.counted(), tokenizer), stop or ()):
                chunk = ChatGenerationChunk(message=count.chunk(text))
                if run_manager and text:
                    run_manager.on_llm_new_token(text, chunk=chunk)
                yield chunk
        finally:
            generation.close()
        yield ChatGenerationChunk(message=count.chunk("", chunk_position="last"))

    def _plain_engine(self) -> PlainEngine:
        """For beams, which the engine of many answers does not know."""
        with self._loading:
            if self._plain is None:
                self._plain = PlainEngine(*load_generator(self.files, self.config), guess_tokens=0)
            return self._plain


def open_engine(files: ModelFiles, config: Config) -> tuple[TokenEngine, Any]:
    """What computes the model on the wanted device, and the tokenizer. A model that the fast decoder is not for gets transformers, and the
    log says why.

    Raises:
        GeneratorUnavailable: the files do not load.
    """
    if config.own_decoder and config.quantize == NONE:
        try:
            decoder = _load_decoder(files, config)
        except ModelError as e:
            _LOG.warning("the generator runs through transformers, which is slower and serves one at a time: %s", e)
        else:
            tokenizer = load_tokenizer(files)
            ends = end_tokens(files.path, tokenizer)
            slots, guesses, memory_mb = config.generation_slots, config.prompt_lookup_tokens, config.generator_cache_mb
            engine = BatchingEngine(decoder, ends, slots, guesses, memory_mb, config.prefix_cache)
            engine.start()
            return engine, tokenizer
    model, tokenizer = load_generator(files, config)
    return PlainEngine(model, tokenizer, config.prompt_lookup_tokens), tokenizer


def _load_decoder(files: ModelFiles, config: Config) -> LlamaDecoder:
    """
    Raises:
        ModelError: our decoder does not compute this model, or its files do not load.
    """
    device = choose_device(config.device)
    recipe, dtype = read_decoder_recipe(files.path), choose_dtype(config.dtype, device)
    if files.adapter is None:
        return LlamaDecoder(recipe, dtype, device)
    if is_plain_adapter(files.adapter):
        adapter = LoraAdapter.load(files.adapter, weight_names(files.path))
        return LlamaDecoder(recipe, dtype, device, adapt=adapter.merged)
    return LlamaDecoder(recipe, dtype, device, load_generator(files, config)[0].state_dict())  # merged by peft


class _Count:
    """Counts tokens on their way, and tells each of them once, with the next chunk."""

    def __init__(self, prompt_tokens: int, generation: Generation) -> None:
        self._input, self._output = prompt_tokens, 0
        self._generation = generation
        self._is_first = True

    def counted(self) -> Iterator[list[int]]:
        for tokens in self._generation:
            self._output += len(tokens)
            yield tokens

    def chunk(self, text: str, **more: Any) -> AIMessageChunk:
        usage = UsageMetadata(input_tokens=self._input, output_tokens=self._output, total_tokens=self._input + self._output)
        metadata = {"queue_s": self._generation.queue_s, "reused_tokens": self._generation.reused_tokens} if self._is_first and text else {}
        self._input, self._output, self._is_first = 0, 0, self._is_first and not text
        return AIMessageChunk(content=text, usage_metadata=usage, response_metadata=metadata, **more)


def _decoded(told: Iterable[Sequence[int]], tokenizer: Any) -> Iterator[str]:
    """The text of tokens as they come, never half a character; empty where there is none yet."""
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=True)
    for tokens in told:
        yield "".join(stream.step(tokenizer.backend_tokenizer, token) or "" for token in tokens)


def until_stop(texts: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The texts up to the first stop string, which may lie across several of them; empty ones pass, as they show that work goes on."""
    told = ""
    for text in texts:
        told += text
        ends = [position for position in (told.find(stop) for stop in stops) if position >= 0]
        if ends:
            yield text[: max(0, min(ends) - (len(told) - len(text)))]
            return
        yield text


def tokenize(messages: Sequence[BaseMessage], tokenizer: Any, name: str) -> list[int]:
    """The messages in the model's chat format. What stands in them cannot speak as another role: control tokens become plain text."""
    control = re.compile("|".join(map(re.escape, tokenizer.all_special_tokens)) or r"(?!)")
    chat = [{"role": ROLES[message.type], "content": control.sub(lambda found: f"‹{found[0][1:]}", message.text)} for message in messages]
    try:
        return tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    except ValueError as e:
        raise GeneratorUnavailable(f"{name} has no chat format ({e}); use an instruction-tuned model") from e
