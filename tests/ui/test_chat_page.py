"""The chat page as a visitor meets it, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from rag import conversations
from rag.admission import Admission
from rag.store import Store
from rag.types import Mode
from ui import state

SCRIPT = Path(__file__).parents[2] / "ui/main.py"
QUESTION = "How many late days does each student have?"


def visit(**parameters: str) -> AppTest:
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def ask(page: AppTest, question: str = QUESTION) -> AppTest:
    return page.chat_input[0].set_value(question).run()


def parameter(page: AppTest, name: str) -> str:
    value = page.query_params[name]
    return value if isinstance(value, str) else value[-1]


def words(page: AppTest) -> str:
    """Everything written on the page, as Markdown."""
    return "\n".join(
        str(element.value) for kind in ("header", "markdown", "caption", "info", "warning", "error") for element in page.get(kind)
    )


def press(page: AppTest, key: str) -> AppTest:
    return page.button(key=key).click().run()


def assert_calm(page: AppTest) -> None:
    assert not page.exception
    assert not page.error


def test_an_empty_page_says_what_it_is_and_offers_questions(store, use_chat_model):
    use_chat_model()
    page = visit()
    assert_calm(page)
    assert page.header[0].value == r"A Course\: of \*Demos\*"
    assert "Ask about the lectures" in words(page)
    assert sum(button.key.startswith("example-") for button in page.button) == 3
    assert "documents · " in page.sidebar.caption[0].value
    assert "No generator is loaded" in words(page)


def test_a_generated_answer_has_numbers_sources_and_its_latency(store, use_chat_model):
    use_chat_model("Each student has five late days for the whole term. Late days can be sold to friends abroad.")
    page = ask(visit())
    assert_calm(page)
    answer = page.chat_message[1]
    assert answer.markdown[0].value.startswith(r"Each student has five late days for the whole term\. :primary[\[1\]]")
    assert "sold" not in answer.markdown[0].value
    assert "sold" in next(one for one in answer.expander if one.label == "Left out: the materials do not hold this").markdown[0].value
    assert page.button(key="source-1-1").label == r":primary[\[1\] rules\.md · Rules › Late days]"
    assert "Answered in" in words(page)
    assert "first word after" in words(page)
    assert len(page.get("vega_lite_chart")) == 1


def test_a_reload_shows_the_same_conversation(store, use_chat_model):
    use_chat_model("Each student has five late days.")
    first = ask(visit())
    conversation = parameter(first, "conversation")
    again = visit(course="demo", conversation=conversation)
    assert_calm(again)
    assert [message.markdown[0].value for message in again.chat_message] == [message.markdown[0].value for message in first.chat_message]
    assert again.button(key="source-1-1")


def test_a_second_question_joins_the_conversation_with_its_history(store, use_chat_model):
    use_chat_model("Each student has five late days.", "The midterm exam takes 80 minutes.")
    page = ask(ask(visit()), "How long does the midterm exam take?")
    assert_calm(page)
    kept = conversations.list_conversations(store, "demo")
    assert len(kept) == 1
    assert [message.content for message in conversations.messages(store, kept[0])][0::2] == [
        QUESTION,
        "How long does the midterm exam take?",
    ]


def test_without_a_generator_the_answer_is_quoted(store, use_chat_model):
    use_chat_model()
    page = ask(visit())
    assert_calm(page)
    assert "Quoted from the materials" in words(page)
    assert page.chat_message[1].markdown[0].value.startswith("> ")
    assert conversations.messages(store, conversations.find(store, parameter(page, "conversation")))[1].answer.mode is Mode.EXTRACTIVE


def test_what_the_materials_do_not_hold_is_refused_with_the_nearest_passages(store, use_chat_model):
    use_chat_model(confidence_floor=1.0)
    page = ask(visit(), "Who won the football championship?")
    assert_calm(page)
    assert page.info
    assert "Nearest passages" in words(page)
    assert page.button(key="source-1-1")


def test_an_example_is_a_question(store, use_chat_model):
    use_chat_model()
    page = press(visit(), "example-0")
    assert_calm(page)
    assert len(page.chat_message) == 2


def test_nothing_of_a_document_or_question_is_alive_on_the_page(store, use_chat_model):
    use_chat_model("The midterm exam takes 80 minutes. ![x](https://evil.example/y.png)")
    page = ask(visit(), "How long is the midterm exam? <b> ![q](https://evil.example/q.png) costs $5 and $10")
    assert_calm(page)
    everything = words(page) + "\n".join(button.label for button in page.button)
    assert not re.search(r"(?<!\\)(?:!\[|<|\$)|https?://", everything)


@pytest.mark.parametrize(
    ("question", "chat", "place"),
    [
        (QUESTION, "Each student has five late days for the whole term.", "Rules › Late days"),
        ("What does the tempered softmax of a striped zebra sum to?", "The tempered softmax of a striped zebra sums to one.", r"cell 1"),
    ],
    ids=["section", "notebook cell"],
)
def test_a_source_opens_as_text_with_the_quote_marked(store, use_chat_model, question, chat, place):
    use_chat_model(chat)
    page = press(ask(visit()) if question == QUESTION else ask(visit(), question), "source-1-1")
    assert_calm(page)
    assert page.query_params["source"]
    assert ":yellow-background[" in words(page)
    assert place in page.button(key="source-1-1").label


def test_a_page_of_a_pdf_opens_as_a_picture_and_can_be_turned(store, use_chat_model):
    use_chat_model("The KV cache stores one key vector and one value vector for every KV head.")
    page = ask(visit(), "What does the KV cache store for each layer and each token?")
    assert "cache\\.pdf · page 2" in page.button(key="source-1-1").label
    page = press(page, "source-1-1")
    assert_calm(page)
    assert len(page.get("image")) == 1
    assert "Page 2 of 7" in words(page)
    chunk_id = parameter(page, "source").partition(".")[0]
    page = press(page, f"page-{chunk_id}-forth")
    assert "Page 3 of 7" in words(page)


def test_a_missing_original_is_said_and_the_stored_text_shown(store, use_chat_model):
    with store.transaction() as db:
        db.execute("UPDATE courses SET folder = '/nowhere'")
    use_chat_model("The KV cache stores one key vector and one value vector for every KV head.")
    page = press(ask(visit(), "What does the KV cache store for each layer and each token?"), "source-1-1")
    assert_calm(page)
    assert "original file is not available" in page.warning[0].value
    assert "KV cache" in page.markdown[-1].value
    assert "nowhere" not in words(page)


@pytest.mark.parametrize("chunk_id", ["999999", "../../etc/passwd", "-1", "１", "9" * 40])
def test_a_source_that_is_not_in_the_course_is_not_opened(store, use_chat_model, chunk_id):
    use_chat_model()
    page = visit(source=chunk_id)
    assert_calm(page)
    assert "no longer part of the course" in page.warning[0].value


def test_a_source_of_another_course_is_not_opened(store, use_chat_model, course_folder):
    use_chat_model()
    store.save_course("other", "Other", course_folder)
    with store.transaction() as db:
        db.execute("UPDATE documents SET course_id = (SELECT id FROM courses WHERE name = 'other') WHERE source = 'rules.md'")
        chunk_id = db.execute("SELECT c.id FROM chunks c JOIN documents d ON d.id = document_id WHERE source = 'rules.md'").fetchone()[0]
    assert "no longer part of the course" in visit(course="demo", source=str(chunk_id)).warning[0].value
    assert not visit(course="other", source=str(chunk_id)).warning


def test_a_conversation_can_be_opened_left_and_deleted(store, use_chat_model):
    use_chat_model("Each student has five late days.")
    page = ask(visit())
    conversation = parameter(page, "conversation")
    page = press(page, "new")
    assert "conversation" not in page.query_params
    assert not page.chat_message
    page = press(page, f"conversation-{conversation}")
    assert len(page.chat_message) == 2
    page = press(page, "delete")
    assert_calm(page)
    assert conversations.find(store, conversation) is None
    assert not page.chat_message


def test_an_unknown_course_is_said_in_words(store, use_chat_model):
    use_chat_model()
    page = visit(course="nosuch")
    assert not page.exception
    assert page.error[0].value.startswith("This link leads to a course that is not here, or to files of a session that is over.")
    assert page.selectbox[0].options == ["A Course: of *Demos*"]


def test_no_store_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_STORE", str(tmp_path / "none"))
    state.open_store.clear()
    page = visit()
    assert not page.exception
    assert "python -m ingest" in page.error[0].value
    assert str(tmp_path) not in words(page)


def test_an_empty_question_and_a_deleted_conversation_are_said_in_words(store, use_chat_model):
    use_chat_model()
    page = ask(visit(conversation="nosuch"), "   ")
    assert not page.exception
    assert page.error[0].value == r"The question is empty\; ask something\."
    assert "has been deleted" in visit(conversation="nosuch").warning[0].value


@pytest.mark.models
def test_the_bundled_models_answer_on_the_page(tmp_path, monkeypatch, course_folder):
    from ingest.pipeline import ingest_course
    from rag.config import Config
    from rag.embed import SentenceTransformerEmbedder

    store = Store.create(tmp_path / "store")
    ingest_course(course_folder, store, SentenceTransformerEmbedder.from_config(Config()), Config())
    store.close()
    monkeypatch.setenv("LECTERN_STORE", str(tmp_path / "store"))
    state.open_store.clear()
    state.load_engine.clear()
    page = ask(visit())
    assert_calm(page)
    assert "five" in page.chat_message[1].markdown[0].value
    assert r":primary[\[1\]]" in page.chat_message[1].markdown[0].value


def test_a_repeated_question_says_that_its_answer_comes_from_the_cache(store, use_chat_model):
    use_chat_model(cached_answers=10)
    assert "From the cache" not in words(ask(visit()))
    page = ask(visit())
    assert_calm(page)
    assert words(page).count("From the cache") == 1


def test_when_many_ask_the_page_says_so_and_quotes_the_materials(store, use_chat_model):
    engine = use_chat_model("never said", admission=Admission(slots=1, waiting=0))
    with engine.admission.ticket("another"):
        page = ask(visit())
    assert_calm(page)
    assert "many are asking now" in words(page)
    assert "Quoted from the materials" in words(page)


def test_the_prompt_lies_under_an_answer_as_inert_text(store, use_chat_model):
    use_chat_model("The midterm exam takes 80 minutes.")
    page = ask(visit(), "How long is the midterm exam?")
    assert_calm(page)
    assert page.expander[-1].label == "Prompt"
    told = [code.value for code in page.expander[-1].get("code")]
    assert told[0].startswith("You answer questions about a course")
    assert told[-1].endswith("Question: How long is the midterm exam?")
    assert "https://evil" in "".join(told) or "midterm" in told[-1]  # what documents hold stands there as characters
    assert not re.search(r"https?://", words(page))


def test_settings_hold_for_the_next_answers_of_this_session(store, use_chat_model):
    use_chat_model("Each student has five late days for the whole term.")
    page = visit()
    page.selectbox(key="set-length").set_value("long")
    page.number_input(key="set-top_k").set_value(7)
    page = page.button[[button.label for button in page.button].index("Use these")].click().run()
    assert_calm(page)
    assert page.session_state["chosen_settings"] == {"length": "long", "top_k": 7}
    page = ask(page)
    assert_calm(page)
    assert "a paragraph of up to eight plain sentences" in page.expander[-1].get("code")[0].value


def test_the_quick_preset_quotes(store, use_chat_model):
    use_chat_model("Each student has five late days for the whole term.")
    page = visit()
    page.selectbox(key="set-preset").set_value("quick")
    page = page.button[[button.label for button in page.button].index("Use these")].click().run()
    page = ask(page)
    assert_calm(page)
    assert "Quoted from the materials" in words(page)
