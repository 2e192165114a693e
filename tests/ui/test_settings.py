"""What a visitor may set for the answers of his session."""

from __future__ import annotations

import pytest
from langchain_core.language_models import GenericFakeChatModel
from openai_server import Exchange, serving
from streamlit.testing.v1 import AppTest
from test_chat_page import ask, assert_calm, visit, words

from rag.config import Config
from ui import access, settings, state
from ui.access import Visitor


def use_these(page: AppTest) -> AppTest:
    return page.button[[button.label for button in page.button].index("Use these")].click().run()


def choose(page: AppTest, writer: str) -> AppTest:
    page.selectbox(key="set-writer").set_value(writer)
    return page


def test_answers_can_be_quotes_and_written_again(store, use_chat_model):
    use_chat_model("Each student has five late days for the whole term.", "Each student has five late days.")
    page = ask(use_these(choose(visit(), settings.QUOTES)))
    assert_calm(page)
    assert "Quoted from the materials" in words(page)
    assert "No generator is loaded" in words(page)
    page = ask(use_these(choose(page, settings.SERVED)), "How many late days are there for the whole term?")
    assert_calm(page)
    assert words(page).count("Quoted from the materials") == 1


def test_staff_choose_a_server_for_their_session_and_it_is_not_sent_the_key_of_another(store, use_chat_model, monkeypatch):
    use_chat_model("never said")
    monkeypatch.setenv("LECTERN_API_KEY", "secret")

    def reply(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say("Each student has five ", "late days for the whole term.")
        exchange.finish()

    with serving(reply) as server:
        page = choose(visit(), settings.SERVER)
        page.text_input(key="set-base_url").set_value(server.url)
        page.text_input(key="set-generator").set_value("some-model")
        page = ask(use_these(page))
        assert_calm(page)
        assert server.requests[0]["model"] == "some-model"
        assert "secret" not in str(server.keys)
        assert "some\\-model at 127\\.0\\.0\\.1" in words(page)
        assert "never said" not in words(page)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/v1", "nowhere", "file:///etc/passwd"])
def test_an_address_that_is_none_is_told_and_not_taken(store, use_chat_model, address):
    use_chat_model("Each student has five late days.")
    page = use_these(choose_server(visit(), address))
    assert not page.exception
    assert page.error[0].value.startswith("base\\_url is")
    assert "chosen_settings" not in page.session_state


def test_students_choose_no_server(store, use_chat_model, monkeypatch):
    monkeypatch.setattr(access, "admit", lambda config: Visitor("Ada", "ada", staff=False))
    use_chat_model("x")
    page = visit()
    assert page.selectbox(key="set-writer").options == [settings.SERVED, settings.QUOTES]
    assert not any(one.key == "set-base_url" for one in page.text_input)


def choose_server(page: AppTest, address: str, model: str = "some-model") -> AppTest:
    choose(page, settings.SERVER)
    page.text_input(key="set-base_url").set_value(address)
    page.text_input(key="set-generator").set_value(model)
    return page


@pytest.fixture
def connected(monkeypatch) -> list[Config]:
    """What clients of servers were made for, instead of clients."""
    made: list[Config] = []

    def connect(config: Config) -> GenericFakeChatModel:
        made.append(config)
        return GenericFakeChatModel(messages=iter([]))

    monkeypatch.setattr(state, "load_chat_model", connect)
    state._connect.clear()
    return made


@pytest.fixture
def with_key(store, monkeypatch) -> None:
    """The operator's own server, which gets a key."""
    monkeypatch.setenv("LECTERN_CONFIG", str(store.directory / "served.toml"))
    served = 'base_url = "http://ada:secret@served.example/v1"\ngenerator = "large"\napi_key_variable = "SERVED_KEY"\n'
    (store.directory / "served.toml").write_text(served)


def test_the_key_of_the_served_server_goes_to_no_other_whatever_was_chosen_before(store, with_key, use_chat_model, connected):
    use_chat_model("x")
    page = use_these(choose_server(visit(), "http://a.example/v1"))
    page = choose_server(page, "http://b.example/v1")
    page.selectbox(key="set-preset").set_value("exact")
    page = use_these(page)
    assert_calm(page)
    assert [(one.base_url, one.generator, one.api_key_variable) for one in connected] == [
        ("http://a.example/v1", "some-model", ""),
        ("http://b.example/v1", "some-model", ""),
    ]
    assert page.session_state["chosen_settings"] == {
        "preset": "exact",
        "base_url": "http://b.example/v1",
        "generator": "some-model",
        "api_key_variable": "",
    }


def test_a_preset_keeps_the_chosen_server_and_can_be_left(store, use_chat_model, connected):
    use_chat_model("x")
    page = use_these(choose_server(visit(), "http://a.example/v1"))
    page.selectbox(key="set-preset").set_value("explain")
    page = use_these(page)
    assert "some\\-model at a\\.example" in words(page)
    assert page.selectbox(key="set-length").value == "long"  # the form shows what the preset brought
    assert page.number_input(key="set-repetition_penalty").value == 1.1
    page = use_these(page)
    assert page.session_state["chosen_settings"]["preset"] == "explain"
    assert "length" not in page.session_state["chosen_settings"]
    page.selectbox(key="set-preset").set_value(settings.AS_SERVED)
    page = use_these(choose(page, settings.SERVED))
    assert_calm(page)
    assert page.selectbox(key="set-length").value == Config().length
    assert page.session_state["chosen_settings"] == {"generator": "bundled"}


def test_a_preset_is_not_undone_when_the_settings_are_taken_again(store, use_chat_model):
    use_chat_model("x")
    page = visit()
    page.number_input(key="set-top_k").set_value(7)
    page = use_these(page)
    page.selectbox(key="set-preset").set_value("explain")
    page = use_these(page)
    page.number_input(key="set-seed").set_value(3)
    page = use_these(page)
    assert page.session_state["chosen_settings"] == {"preset": "explain", "seed": 3}


@pytest.mark.parametrize(("address", "model"), [("", "some-model"), ("  ", "some-model"), ("http://a.example/v1", "")])
def test_a_server_needs_an_address_and_a_model(store, use_chat_model, connected, address, model):
    use_chat_model("x")
    page = use_these(choose_server(visit(), address, model))
    assert page.error[0].value.startswith("Name the server's address and the model there")
    assert "chosen_settings" not in page.session_state
    assert connected == []


def test_another_model_of_the_served_server_is_asked_and_another_temperature_makes_no_new_client(
    store, with_key, use_chat_model, connected
):
    engine = use_chat_model("x")
    page = use_these(choose_server(visit(), "http://ada:secret@served.example/v1", "small"))
    page.number_input(key="set-temperature").set_value(0.5)
    page = use_these(page)
    assert_calm(page)
    assert [(one.generator, one.api_key_variable) for one in connected] == [("small", "SERVED_KEY")]
    changed = page.session_state["chosen_settings"] | {"generator": "small", "temperature": 0.9}
    one, other = (state.connect(engine.config.adjusted(**changed)) for _ in range(2))
    assert one is other
    assert len(connected) == 1
    assert "small at served\\.example" in words(page)
    assert "secret" not in words(page)


def test_whoever_is_no_longer_of_the_staff_uses_no_server_of_his(store, use_chat_model, connected, monkeypatch):
    use_chat_model("Each student has five late days.")
    page = choose_server(visit(), "http://a.example/v1")
    page.number_input(key="set-top_k").set_value(7)
    page = use_these(page)
    assert "a\\.example" in words(page)
    monkeypatch.setattr(access, "admit", lambda config: Visitor("Ada", "ada", staff=False))
    page = ask(page)
    assert_calm(page)
    assert "a\\.example" not in words(page)
    assert "five late days" in words(page)
    assert page.number_input(key="set-top_k").value == 7
