import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from openai_server import Exchange, Reply, serving

from rag import doctor
from rag.answer import answer
from rag.config import Config
from rag.engine import Engine
from rag.errors import ConfigError, GeneratorUnavailable
from rag.generate import load_chat_model, stream_chat
from rag.remote import RemoteChatModel, ServerFailed, host_of
from rag.types import Decoding, Mode, Scope
from rag.writing import FAILED

MESSAGES = [SystemMessage("Be short."), HumanMessage("Late days?"), AIMessage("Five."), HumanMessage("And what do they cost?")]


def model(url: str, **settings: Any) -> RemoteChatModel:
    defaults = {"timeout_s": 5.0, "token_timeout_s": 5.0, "server_retries": 2, "generator": "small"}
    return RemoteChatModel(Config(base_url=url, **defaults | settings))


def chunks_of(remote: RemoteChatModel, decoding: Decoding | None = None) -> list[AIMessageChunk]:
    return list(stream_chat(remote, MESSAGES, ["\nQuestion:"], decoding or Decoding()))


def text_of(remote: RemoteChatModel) -> str:
    return "".join(chunk.text for chunk in chunks_of(remote))


def says(*words: str) -> Reply:
    def reply(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say(*words)
        exchange.finish()

    return reply


def refuses(status: int, message: str = "no", **headers: str) -> Reply:
    return lambda exchange: exchange.refuse(status, message, {name.replace("_", "-"): value for name, value in headers.items()})


def usage_of(chunks: list[AIMessageChunk]) -> tuple[int, int]:
    told = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    return sum(usage["input_tokens"] for usage in told), sum(usage["output_tokens"] for usage in told)


def test_the_answer_streams_and_only_what_every_server_knows_is_sent() -> None:
    def reply(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say("Five", " points", " each.")
        exchange.finish(prompt_tokens=31, completion_tokens=4)

    with serving(reply) as server:
        chunks = chunks_of(model(server.url))
    assert [chunk.text for chunk in chunks if chunk.text] == ["Five", " points", " each."]
    assert usage_of(chunks) == (31, 4)
    assert server.requests == [
        {
            "model": "small",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": "Late days?"},
                {"role": "assistant", "content": "Five."},
                {"role": "user", "content": "And what do they cost?"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0,
            "max_tokens": 160,
            "stop": ["\nQuestion:"],
        }
    ]


def test_settings_that_are_asked_for_are_sent_by_the_fields_names() -> None:
    with serving(says("x")) as server:
        chunks_of(model(server.url), Decoding(temperature=0.7, top_p=0.9, top_k=40, repetition_penalty=1.1, max_new_tokens=9, seed=3))
    sent = server.requests[0]
    wanted = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "max_tokens": 9, "seed": 3}
    assert {name: sent[name] for name in wanted} == wanted
    assert "num_beams" not in sent


def test_a_strict_server_that_refuses_stream_options_is_asked_without_them() -> None:
    with serving(refuses(422, "Extra inputs are not permitted: stream_options"), says("Five", " points")) as server:
        remote = model(server.url)
        chunks = chunks_of(remote)
        assert "".join(chunk.text for chunk in chunks) == "Five points"
        assert usage_of(chunks) == (0, 2)  # a piece of text is counted as a token, as nobody tells better
        text_of(remote)
    assert ["stream_options" in request for request in server.requests] == [True, False, False]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with serving(refuses(status, Retry_After="0"), refuses(status, Retry_After="0"), says("at last")) as server:
        assert text_of(model(server.url)) == "at last"
    assert len(server.requests) == 3


def test_the_tries_end() -> None:
    with serving(refuses(429, "slow down", Retry_After="0")) as server, pytest.raises(ServerFailed, match="answered 429: .*slow down"):
        text_of(model(server.url))
    assert len(server.requests) == 3


def test_a_server_that_asks_for_a_long_pause_is_not_waited_for() -> None:
    with serving(refuses(503, "restarting", Retry_After="120")) as server, pytest.raises(ServerFailed, match="restarting"):
        text_of(model(server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    with serving(refuses(status, "the context is too long")) as server, pytest.raises(ServerFailed, match=f"answered {status}"):
        text_of(model(server.url))
    assert len(server.requests) == 1


def test_a_stall_before_the_first_token_is_tried_again() -> None:
    def silent(exchange: Exchange) -> None:
        exchange.begin()
        exchange.stall()

    with serving(silent, says("awake")) as server:
        assert text_of(model(server.url, timeout_s=0.3)) == "awake"
        assert server.left.is_set()


def test_a_stall_between_tokens_ends_the_answer_and_is_not_tried_again() -> None:
    def stops(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say("Five")
        exchange.stall()

    with serving(stops) as server, pytest.raises(ServerFailed, match=r"stopped for 0\.3 s in the middle of an answer"):
        text_of(model(server.url, token_timeout_s=0.3))
    assert len(server.requests) == 1


def half(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say("Five", " poi")


def says_error(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say("Five")
    exchange.send('data: {"error": {"message": "CUDA out of memory"}}\n\n')


def says_garbage(exchange: Exchange) -> None:
    exchange.begin()
    exchange.send("data: <html>\n\n")


def says_page(exchange: Exchange) -> None:
    exchange.begin("text/html")
    exchange.send("<html>Welcome</html>")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (half, "ended in the middle of an answer"),
        (says_error, "failed: CUDA out of memory"),
        (says_garbage, "is not JSON; is base_url right"),
        (says_page, "ended before its first token"),
    ],
)
def test_a_broken_stream_is_an_error(reply: Reply, said: str) -> None:
    with serving(reply) as server, pytest.raises(ServerFailed, match=said):
        text_of(model(server.url, server_retries=0))


def test_half_a_stream_leaves_the_reader_with_the_materials_words(engine: Engine) -> None:
    with serving(half) as server:
        remote = Engine(engine.searcher, model(server.url), engine.config)
        answered = answer("How many points does a late day cost?", Scope("optics"), remote)
    assert (answered.mode, answered.notices) == (Mode.EXTRACTIVE, (FAILED,))
    assert "5 points" in answered.text


def test_leaving_ends_the_request_while_nothing_comes_and_leaves_no_thread() -> None:
    def silent(exchange: Exchange) -> None:
        exchange.begin()
        exchange.stall()

    with serving(silent) as server:
        before = threading.active_count()
        stream = stream_chat(model(server.url, timeout_s=600.0), MESSAGES, [], Decoding())
        assert next(stream).text == ""  # a sign of life, so that the reader can leave
        stream.close()
        assert server.left.wait(60)
        assert not [thread for thread in threading.enumerate() if "portal" in thread.name.lower() or "asyncio" in thread.name.lower()]
        assert threading.active_count() <= before + 1  # the server's own thread may still be ending


def test_a_failing_server_is_left_alone_and_then_tried_once() -> None:
    clock = [0.0]
    with serving(*[refuses(500, "broken")] * 3, says("well again")) as server:
        remote = model(server.url, breaker_failures=3, breaker_open_s=30.0)
        remote._breaker._clock = lambda: clock[0]
        for _ in range(3):
            with pytest.raises(ServerFailed, match="answered 500"):
                text_of(remote)
        with pytest.raises(GeneratorUnavailable, match="has failed 3 times in a row; it is tried again in 30 s"):
            text_of(remote)
        assert len(server.requests) == 3
        clock[0] = 30.0
        assert text_of(remote) == "well again"
        assert text_of(remote) == "well again"
    assert len(server.requests) == 5


def test_a_request_that_is_refused_for_its_own_sake_does_not_count_against_the_server() -> None:
    with serving(refuses(400, "too long")) as server:
        remote = model(server.url, breaker_failures=1)
        for _ in range(3):
            with pytest.raises(ServerFailed, match="answered 400"):
                text_of(remote)


def test_errors_name_the_host_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTERN_API_KEY", "sk-secret")
    with serving(refuses(401, "the key sk-secret is unknown")) as server:
        with pytest.raises(ServerFailed) as raised:
            text_of(model(server.url))
        with pytest.raises(ServerFailed) as raised_with_password:
            text_of(model(server.url.replace("//", "//user:password@")))
    assert server.keys[0] == "Bearer sk-secret"
    assert f"the generator's server at {host_of(server.url)} answered 401: " in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "password" not in str(raised_with_password.value)


def test_passages_are_not_sent_on_to_where_a_server_points() -> None:
    with serving(says("stolen")) as other, serving(refuses(307, "moved", Location=other.url + "/chat/completions")) as server:
        with pytest.raises(ServerFailed, match="answered 307"):
            text_of(model(server.url))
        assert other.requests == []


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://127.0.0.1", "http://"])
def test_an_address_that_is_none_says_what_is_expected(url: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as http://127.0.0.1:8000/v1"):
        load_chat_model(Config(base_url=url))


def test_many_ask_one_server_at_once() -> None:
    with serving(says("Five", " points")) as server:
        remote = model(server.url)
        told: list[str] = []
        threads = [threading.Thread(target=lambda: told.append(text_of(remote))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told == ["Five points"] * 12


@pytest.mark.parametrize(
    ("models", "found"),
    [
        (["small", "large"], "small at HOST: questions"),
        (["large", "other"], "small at HOST, which does not list it but large, other: questions"),
        (None, "small at HOST: questions"),
    ],
    ids=["listed", "not listed", "no list"],
)
def test_doctor_asks_the_server_what_it_has(models: list[str] | None, found: str) -> None:
    with serving(says("x")) as server:
        server.models = models
        checked = doctor._generator(Config(base_url=server.url, generator="small"))
    assert checked == (None, found.replace("HOST", host_of(server.url)) + " and passages are sent there")


def test_doctor_says_that_a_server_is_not_there() -> None:
    with pytest.raises(ServerFailed, match="127.0.0.1:9 cannot be reached; is it running"):
        doctor._generator(Config(base_url="http://127.0.0.1:9/v1"))
