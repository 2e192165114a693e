"""A generator behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, `transformers serve`) as a LangChain chat model.

What may pass (nobody listens, 429, 502 to 504, a time-out) is tried again with growing pauses, only before the first token: later the
reader has seen something already. A server that fails again and again is left alone for a while (`rag/breaker.py`).

The request runs in an event loop, where it can be ended at any moment, also while nothing comes. While nothing comes the stream yields
empty chunks, so that whoever reads it can leave or look at the clock. The loop begins with the first request and ends with the last one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import queue
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from anyio.from_thread import BlockingPortalProvider
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from rag.breaker import CircuitBreaker, Outcome
from rag.config import Config
from rag.errors import ConfigError, GeneratorUnavailable
from rag.prompts import ROLES
from rag.types import Decoding

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream, OpenAIError
    from openai.types.chat import ChatCompletionChunk

_LOG = logging.getLogger("lectern")

HEARTBEAT_S = 0.5
"""Longest silence of a stream."""
LONGEST_PAUSE_S = 8.0
"""Longest pause before another try; a server that asks for more in Retry-After is not tried again for this question."""
MAY_PASS = {408, 429, 502, 503, 504}
"""HTTP statuses of a server that may answer the same request in a moment."""
TOLD_CHARACTERS = 200
"""Of a server's own words, in an error."""
_PORTAL = BlockingPortalProvider()


class ServerFailed(GeneratorUnavailable):
    """The server did not answer. `may_pass`: the same request may succeed in a moment; `is_failure`: it is the server's fault."""

    def __init__(self, message: str, may_pass: bool, is_failure: bool = True, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.is_failure = is_failure
        self.retry_after_s = retry_after_s


def host_of(url: str) -> str:
    """`host:port` of a URL, without a name and password that may stand before it."""
    return urlsplit(url).netloc.rpartition("@")[2]


class RemoteChatModel(BaseChatModel):
    """A model of an OpenAI-compatible server.

    `usage_metadata` counts the tokens since the chunk before: while the answer comes, each piece of text as one, as the server tells the
    right numbers only at the end.
    """

    config: Config
    _breaker: CircuitBreaker = PrivateAttr()
    _takes_stream_options: bool = PrivateAttr(True)

    def __init__(self, config: Config) -> None:
        if urlsplit(config.base_url).scheme not in ("http", "https") or not host_of(config.base_url):
            raise ConfigError(f"base_url is {config.base_url!r}; expected an address such as http://127.0.0.1:8000/v1")
        super().__init__(config=config)  # type: ignore[call-arg]  # pydantic makes its __init__ from the fields
        self._breaker = CircuitBreaker(config.breaker_failures, config.breaker_open_s)

    @property
    def _llm_type(self) -> str:
        return "openai-compatible"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.config.generator, "server": host_of(self.config.base_url)}

    @property
    def _name(self) -> str:
        return f"the generator's server at {host_of(self.config.base_url)}"

    @property
    def _key(self) -> str:
        return os.environ.get(self.config.api_key_variable, "")

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        """Read once: 50 ms."""
        from httpx2 import create_ssl_context

        return create_ssl_context()

    def _client(self) -> AsyncOpenAI:
        """A client for one request: it must not be shared between event loops, and costs 0.3 ms."""
        from httpx2 import Timeout
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        # What the passages say goes to the server that was named, not to where that sends us.
        http = DefaultAsyncHttpxClient(follow_redirects=False, verify=self._certificates)
        timeout = Timeout(None, connect=self.config.connect_timeout_s)
        return AsyncOpenAI(api_key=self._key or "none", base_url=self.config.base_url, timeout=timeout, max_retries=0, http_client=http)

    def models(self) -> list[str]:
        """The models that the server says it has; none where it does not say.

        Raises:
            ServerFailed: it cannot be reached, or refuses.
        """

        async def ask() -> list[str]:
            from openai import NotFoundError

            limit_s = self.config.timeout_s
            told = self._failures_told(f"did not answer within {limit_s:g} s", may_pass=True)
            async with self._client() as client, told, asyncio.timeout(limit_s):
                try:
                    return [model.id for model in (await client.models.list()).data]
                except NotFoundError:
                    return []

        with _PORTAL as portal:
            return portal.call(ask)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        request = self._as_request(messages, stop, kwargs.get("decoding") or self.config.decoding)
        chunks: queue.SimpleQueue[AIMessageChunk | None] = queue.SimpleQueue()
        with self._breaker.call(self._name) as call, _PORTAL as portal:
            work = portal.start_task_soon(self._fetch, request, chunks)
            work.add_done_callback(lambda _: chunks.put(None))
            try:
                while (chunk := _next(chunks)) is not None:
                    if chunk.text:
                        call.outcome = Outcome.SUCCESS
                    yield ChatGenerationChunk(message=chunk)
                work.result()
            except ServerFailed as e:
                call.outcome = Outcome.FAILURE if e.is_failure else Outcome.UNKNOWN
                raise
            finally:
                work.cancel()

    def _as_request(self, messages: list[BaseMessage], stop: list[str] | None, decoding: Decoding) -> dict[str, Any]:
        """The request as an OpenAI-compatible server takes it. Strict ones refuse what they do not know: nothing is sent without need."""
        defaults = {field.name: field.default for field in dataclasses.fields(Decoding)}
        # Not part of the OpenAI API; vLLM and llama.cpp take some of them.
        ours = {name: getattr(decoding, name) for name in ("top_k", "repetition_penalty", "num_beams")}
        extra = {name: value for name, value in ours.items() if value != defaults[name]}
        request: dict[str, Any] = {
            "model": self.config.generator,
            "messages": [{"role": ROLES[message.type], "content": message.text} for message in messages],
            "stream": True,
            "temperature": decoding.temperature,
            "max_tokens": decoding.max_new_tokens,  # deprecated by OpenAI, and what all of the others know
        }
        if decoding.temperature > 0:
            request |= {"top_p": decoding.top_p, "seed": decoding.seed}
        if stop:
            request["stop"] = stop
        return request | ({"extra_body": extra} if extra else {})

    async def _fetch(self, request: dict[str, Any], chunks: queue.SimpleQueue[AIMessageChunk | None]) -> None:
        async with self._client() as client:
            await self._fetch_with(client, request, chunks)

    async def _fetch_with(self, client: AsyncOpenAI, request: dict[str, Any], chunks: queue.SimpleQueue[AIMessageChunk | None]) -> None:
        """Puts the answer's chunks, as they come."""
        trying = AsyncRetrying(
            stop=stop_after_attempt(self.config.server_retries + 1),
            wait=_pause_s,
            retry=retry_if_exception(_is_worth_another_try),
            reraise=True,
        )
        opened: tuple[AsyncStream[ChatCompletionChunk], ChatCompletionChunk] = await trying(self._open, client, request)
        stream, chunk = opened[0], cast("ChatCompletionChunk | None", opened[1])
        told = 0
        finished = False
        async with stream:
            while chunk is not None:
                if text := _text(chunk):
                    told += 1
                    chunks.put(AIMessageChunk(content=text, usage_metadata=_usage(0, 1)))
                finished = finished or any(choice.finish_reason for choice in chunk.choices or ())
                if chunk.usage is not None:
                    usage = _usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens - told)
                    told = chunk.usage.completion_tokens
                    chunks.put(AIMessageChunk(content="", usage_metadata=usage))
                chunk = await self._next_chunk(stream, finished)
        if not finished:
            raise ServerFailed(f"{self._name} ended in the middle of an answer", may_pass=False)

    async def _open(self, client: AsyncOpenAI, request: dict[str, Any]) -> tuple[AsyncStream[ChatCompletionChunk], ChatCompletionChunk]:
        """The stream of an answer and the chunk with its first token; or its only chunk, of an empty answer."""
        limit_s = self.config.timeout_s
        async with self._failures_told(f"gave no first token within {limit_s:g} s", may_pass=True), asyncio.timeout(limit_s):
            stream = await self._create(client, request)
            try:
                async for chunk in stream:
                    if _text(chunk) or any(choice.finish_reason for choice in chunk.choices or ()):
                        return stream, chunk
            except BaseException:
                await stream.close()
                raise
        raise ServerFailed(f"{self._name} ended before its first token", may_pass=True)

    async def _create(self, client: AsyncOpenAI, request: dict[str, Any]) -> AsyncStream[ChatCompletionChunk]:
        from openai import BadRequestError, UnprocessableEntityError

        if self._takes_stream_options:
            try:
                return await client.chat.completions.create(**request, stream_options={"include_usage": True})
            except (BadRequestError, UnprocessableEntityError) as e:
                if "stream_options" not in str(e):
                    raise
            self._takes_stream_options = False
            _LOG.info("%s takes no stream_options: the tokens of its answers are counted here", self._name)
        return await client.chat.completions.create(**request)

    async def _next_chunk(self, stream: AsyncStream[ChatCompletionChunk], finished: bool) -> ChatCompletionChunk | None:
        """The next chunk; None at the end. An answer that is finished has only its usage still to come, which nobody waits for in vain."""
        limit_s = self.config.token_timeout_s
        with suppress(*((ServerFailed,) if finished else ())):
            async with self._failures_told(f"stopped for {limit_s:g} s in the middle of an answer"), asyncio.timeout(limit_s):
                return await anext(aiter(stream), None)
        return None

    @asynccontextmanager
    async def _failures_told(self, when_late: str, may_pass: bool = False) -> AsyncIterator[None]:
        """Raises ServerFailed for whatever the server does wrong."""
        from openai import OpenAIError

        try:
            yield
        except TimeoutError as e:
            raise ServerFailed(f"{self._name} {when_late}", may_pass) from e
        except json.JSONDecodeError as e:
            raise ServerFailed(f"{self._name} sent what is not JSON; is base_url right?", may_pass=False) from e
        except OpenAIError as e:
            raise self._failure(e, may_pass) from e

    def _failure(self, error: OpenAIError, may_pass: bool) -> ServerFailed:
        from openai import APIConnectionError, APIStatusError

        if isinstance(error, APIStatusError):
            status = error.status_code
            message = f"{self._name} answered {status}: {self._told(error.message)}"
            return ServerFailed(message, status in MAY_PASS, status in MAY_PASS or status >= 500, _retry_after_s(error.response.headers))
        if isinstance(error, APIConnectionError):
            message = "cannot be reached; is it running?" if may_pass else "ended in the middle of an answer"
            return ServerFailed(f"{self._name} {message} ({self._told(str(error.__cause__ or error))})", may_pass)
        return ServerFailed(f"{self._name} failed: {self._told(str(error))}", may_pass=False)

    def _told(self, words: str) -> str:
        """A server's own words, in one line, without the key, which some repeat."""
        line = " ".join(words.split())
        return (line.replace(self._key, "…") if self._key else line)[:TOLD_CHARACTERS]


def _next(chunks: queue.SimpleQueue[AIMessageChunk | None]) -> AIMessageChunk | None:
    """The next chunk, an empty one while nothing comes, None at the end."""
    try:
        return chunks.get(timeout=HEARTBEAT_S)
    except queue.Empty:
        return AIMessageChunk(content="")


def _text(chunk: ChatCompletionChunk) -> str:
    return "".join(choice.delta.content or "" for choice in chunk.choices or () if choice.delta is not None)


def _usage(input_tokens: int, output_tokens: int) -> UsageMetadata:
    return UsageMetadata(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens)


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ServerFailed) and error.may_pass and (error.retry_after_s or 0.0) <= LONGEST_PAUSE_S


_backoff_s = wait_random_exponential(multiplier=0.25, max=LONGEST_PAUSE_S)


def _pause_s(state: RetryCallState) -> float:
    """What the server asks for, else a growing random pause, so that many do not come back together."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, ServerFailed) else None
    return asked if asked is not None else _backoff_s(state)


def _retry_after_s(headers: Any) -> float | None:
    """Seconds of a Retry-After header; its other form, a date, would need both clocks to agree."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
