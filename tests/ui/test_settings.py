"""What a visitor may set for the answers of his session."""

from __future__ import annotations

import pytest
from openai_server import Exchange, serving
from streamlit.testing.v1 import AppTest
from test_chat_page import ask, assert_calm, visit, words

from ui import access, settings
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
    page = choose(visit(), settings.SERVER)
    page.text_input(key="set-base_url").set_value(address)
    page = use_these(page)
    assert not page.exception
    assert page.error[0].value.startswith("base\\_url is")
    assert "chosen_settings" not in page.session_state


def test_students_choose_no_server(store, use_chat_model, monkeypatch):
    monkeypatch.setattr(access, "admit", lambda config: Visitor("Ada", "ada", staff=False))
    use_chat_model("x")
    page = visit()
    assert page.selectbox(key="set-writer").options == [settings.SERVED, settings.QUOTES]
    assert not any(one.key == "set-base_url" for one in page.text_input)
