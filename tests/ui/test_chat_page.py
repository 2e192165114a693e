"""The chat page as a visitor meets it, without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from rag import conversations
from rag.admission import Admission
from rag.conversations import Feedback
from rag.errors import StoreBusy
from rag.store import Store
from rag.types import Answer, Latency, Mode, Scope
from ui import chat, render, state

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


def unfold(page: AppTest, key: str) -> AppTest:
    page.session_state[key] = True
    return page.run()


def feet(page: AppTest) -> list[dict]:
    """What the feet of the answers are told."""
    return [data for data in component_data(page) if "stages" in data]


def component_data(page: AppTest) -> list[dict]:
    return [json.loads(element.proto.json) for element in page.get("bidi_component")]


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
    conversation = parameter(page, "conversation")
    (chunk,) = store.db.execute("SELECT id FROM chunks WHERE text LIKE '%five late days%'").fetchone()
    address = f"?course=demo&conversation={conversation}&source={chunk}.1"
    assert answer.markdown[0].value.startswith(rf"Each student has five late days for the whole term\. [\[1\]]({address})")
    assert "sold" not in words(page)
    assert "sold" in unfold(page, "dropped-2").chat_message[1].expander[0].markdown[0].value
    assert page.button(key="source-2-1").label == r":primary[\[1\] rules\.md · Rules › Late days]"
    (foot,) = feet(page)
    assert re.fullmatch(r"Answered in [\d.]+ m?s · first word after [\d.]+ m?s", foot["summary"])
    assert [stage["name"] for stage in foot["stages"]][-3:] == ["Write the answer", "Check the answer", "Other"]
    assert foot["link"] == f"?course=demo&conversation={conversation}&answer=2"
    assert foot["copy"].startswith("Each student has five late days for the whole term. [1]")
    cited = next(data for data in component_data(page) if "sources" in data)["sources"]
    quote = "“Each student has five late days for the whole term.”"
    assert cited[address] == {"number": "1", "place": "rules.md · Rules › Late days", "quote": quote, "opens": f"{chunk}.1"}


def test_a_reload_shows_the_same_conversation(store, use_chat_model):
    use_chat_model("Each student has five late days.")
    first = ask(visit())
    conversation = parameter(first, "conversation")
    again = visit(course="demo", conversation=conversation)
    assert_calm(again)
    assert [message.markdown[0].value for message in again.chat_message] == [message.markdown[0].value for message in first.chat_message]
    assert again.button(key="source-2-1")


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
    assert page.button(key="source-2-1")


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
    page = press(ask(visit()) if question == QUESTION else ask(visit(), question), "source-2-1")
    assert_calm(page)
    assert page.query_params["source"]
    assert ":yellow-background[" in words(page)
    assert place in page.button(key="source-2-1").label


def test_a_page_of_a_pdf_opens_as_a_picture_and_can_be_turned(store, use_chat_model):
    use_chat_model("The KV cache stores one key vector and one value vector for every KV head.")
    page = ask(visit(), "What does the KV cache store for each layer and each token?")
    assert "cache\\.pdf · page 2" in page.button(key="source-2-1").label
    page = press(page, "source-2-1")
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
    page = press(ask(visit(), "What does the KV cache store for each layer and each token?"), "source-2-1")
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
    assert r"[\[1\]](?course=" in page.chat_message[1].markdown[0].value


def test_a_repeated_question_says_that_its_answer_comes_from_the_cache(store, use_chat_model):
    use_chat_model(cached_answers=10)
    assert "from the cache" not in feet(ask(visit()))[0]["summary"]
    page = ask(visit())
    assert_calm(page)
    assert "from the cache" in feet(page)[0]["summary"]


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
    assert not page.get("code")  # nothing is drawn before somebody wants to see it
    told = [code.value for code in unfold(page, "prompt-2").get("code")]
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
    assert "a paragraph of up to eight plain sentences" in unfold(page, "prompt-2").get("code")[0].value


def test_the_quick_preset_quotes(store, use_chat_model):
    use_chat_model("Each student has five late days for the whole term.")
    page = visit()
    page.selectbox(key="set-preset").set_value("quick")
    page = page.button[[button.label for button in page.button].index("Use these")].click().run()
    page = ask(page)
    assert_calm(page)
    assert "Quoted from the materials" in words(page)


def last_conversation(store: Store) -> conversations.Conversation:
    return conversations.list_conversations(store, "demo")[0]


def said(store: Store) -> list[str]:
    return [message.content for message in conversations.messages(store, last_conversation(store))]


LATE, MIDTERM = "Each student has five late days for the whole term.", "The midterm exam takes 80 minutes."


def test_thumbs_and_a_note_are_kept_changed_and_taken_back(store, use_chat_model):
    use_chat_model(LATE)
    page = ask(visit())
    assert "note-2" not in [one.key for one in page.text_input]
    page = page.feedback[0].set_value(0).run()
    assert_calm(page)
    page = page.text_input(key="note-2").set_value("Which term?").run()
    assert conversations.messages(store, last_conversation(store))[1].feedback == Feedback(-1, "Which term?")
    again = visit(course="demo", conversation=last_conversation(store).id)
    assert again.feedback[0].value == 0
    assert again.text_input(key="note-2").value == "Which term?"
    page = again.feedback[0].set_value(None).run()
    assert_calm(page)
    assert conversations.messages(store, last_conversation(store))[1].feedback is None


def test_a_changed_question_takes_the_place_of_what_came_after_it(store, use_chat_model):
    use_chat_model(LATE, MIDTERM, MIDTERM)
    page = ask(ask(visit()), "How long does the midterm exam take?")
    page = press(page, "edit-question-2")
    assert page.text_area(key="edited-1").value == QUESTION
    page.text_area(key="edited-1").set_value("How many minutes does the midterm take?")
    page = page.button[[button.label for button in page.button].index("Ask this instead")].click().run()
    assert_calm(page)
    assert said(store)[0] == "How many minutes does the midterm take?"
    assert len(said(store)) == 2
    assert len(page.chat_message) == 2


def test_an_edit_can_be_cancelled(store, use_chat_model):
    use_chat_model(LATE)
    page = press(ask(visit()), "edit-question-2")
    page = page.button[[button.label for button in page.button].index("Cancel")].click().run()
    assert_calm(page)
    assert not page.text_area
    assert said(store)[0] == QUESTION


def test_asking_again_replaces_the_answer_and_passes_by_the_cache(store, use_chat_model):
    use_chat_model(LATE, "A student has five late days for the term.", cached_answers=10)
    page = press(ask(visit()), "again-2")
    assert_calm(page)
    assert said(store) == [QUESTION, "A student has five late days for the term."]
    assert "from the cache" not in feet(page)[0]["summary"]


def test_a_failed_answer_leaves_the_earlier_one_in_place(store, use_chat_model, monkeypatch):
    use_chat_model(LATE)
    page = press(ask(visit()), "edit-question-2")

    def fail(*_: object) -> None:
        raise StoreBusy("somebody writes to /srv/secret")

    monkeypatch.setattr(chat, "stream_answer", fail)
    page.text_area(key="edited-1").set_value("Something else?")
    page = page.button[[button.label for button in page.button].index("Ask this instead")].click().run()
    assert page.error[0].value.startswith("The course is being updated just now")
    assert said(store) == [QUESTION, LATE]


def test_a_conversation_is_renamed_and_found_again(store, use_chat_model):
    use_chat_model(LATE)
    page = ask(visit())
    first = last_conversation(store)
    page = page.text_input(key=f"title-{first.id}").set_value("About *rules*").run()
    assert_calm(page)
    assert page.button(key=f"conversation-{first.id}").label == r"About \*rules\*"
    for number in range(4):
        conversations.start(store, "demo", f"Other {number}")
    page = visit(course="demo")
    page = page.text_input(key="conversation_words").set_value("late days").run()
    assert [button.key for button in page.button if button.key.startswith("conversation-")] == [f"conversation-{first.id}"]
    page = page.text_input(key="conversation_words").set_value("nosuchword").run()
    assert "None of your conversations" in words(page)


def test_a_conversation_is_another_readers_or_another_courses_and_not_shown(store, use_chat_model):
    use_chat_model()
    foreign = conversations.start(store, "demo", "Secret?", owner="somebody")
    elsewhere = conversations.start(store, "other", "Elsewhere?")
    for one in (foreign, elsewhere):
        page = visit(course="demo", conversation=one.id)
        assert_calm(page)
        assert "is not here" in page.warning[0].value
        assert "Secret" not in words(page) + "".join(button.label for button in page.button)


def test_the_chat_is_narrowed_by_the_address_and_by_the_choices(store, use_chat_model):
    use_chat_model()
    page = visit(course="demo", path="lab.ipynb")
    assert "Searching only in: lab\\.ipynb" in words(page)
    page = ask(page, QUESTION)
    assert_calm(page)
    reply = conversations.messages(store, last_conversation(store))[1].answer
    assert {source.passage.source for source in reply.sources} <= {"lab.ipynb"}
    assert parameter(page, "path") == "lab.ipynb"  # it stays for the next question
    page = press(page, "widen")
    assert "path" not in page.query_params
    page = page.selectbox(key="filter-path").set_value("rules.md").run()
    assert parameter(page, "path") == "rules.md"
    assert "Searching only in: rules\\.md" in words(page)


@pytest.mark.parametrize("week", ["１", "-1", "9" * 30, "9" * 5000, ";"])
def test_a_week_that_is_none_narrows_nothing(store, use_chat_model, week):
    use_chat_model()
    page = visit(course="demo", week=week)
    assert_calm(page)
    assert "Searching only in" not in words(page)


def test_a_follow_up_is_asked_by_its_button(store, use_chat_model):
    use_chat_model("The KV cache stores one key vector and one value vector for every KV head.", "x")
    page = ask(visit(), "What does the KV cache store for each layer and each token?")
    label = page.button(key="followup-0").label
    page = press(page, "followup-0")
    assert_calm(page)
    assert len(said(store)) == 4
    assert render.label(said(store)[2]) == label
    assert label not in [button.label for button in page.button if button.key.startswith("followup-")]  # they follow the newest answer


def test_only_the_last_exchanges_of_a_long_conversation_are_drawn_at_first(store, use_chat_model):
    use_chat_model()
    conversation = conversations.start(store, "demo", "Long")
    for number in range(15):
        told = Answer(f"Q{number}", f"Q{number}", f"A{number}", False, 1.0, Mode.EXTRACTIVE, (), (), Latency({}, 1.0))
        conversations.add_exchange(store, conversation.id, told)
    page = visit(course="demo", conversation=conversation.id)
    assert_calm(page)
    assert len(page.chat_message) == 20
    assert page.button(key="earlier").label == "Show 5 earlier questions"
    assert len(press(page, "earlier").chat_message) == 30


def test_the_course_stays_when_the_navigation_forgets_it(store, use_chat_model, course_folder):
    use_chat_model()
    store.save_course("aaa", "First by name", course_folder)
    page = visit(course="demo")
    del page.query_params["course"]
    page = page.run()
    assert page.header[0].value == r"A Course\: of \*Demos\*"


def test_a_link_to_an_early_answer_draws_the_conversation_from_there_on(store, use_chat_model):
    use_chat_model()
    conversation = conversations.start(store, "demo", "Long")
    for number in range(15):
        told = Answer(f"Q{number}", f"Q{number}", f"A{number}", False, 1.0, Mode.EXTRACTIVE, (), (), Latency({}, 1.0))
        conversations.add_exchange(store, conversation.id, told)
    second = conversations.messages(store, conversation)[3]
    page = visit(course="demo", conversation=conversation.id, answer=str(second.id))
    assert_calm(page)
    assert len(page.chat_message) == 28
    assert page.button(key="earlier").label == "Show 1 earlier questions"


def test_a_waiting_question_of_another_conversation_is_dropped(store, use_chat_model):
    use_chat_model("x", "y")
    page = ask(visit())
    other = conversations.start(store, "demo", "Another")
    page.session_state["waiting_question"] = state.Request("Again?", 1, True, last_conversation(store).id + "x")
    page.query_params["conversation"] = other.id
    page = page.run()
    assert_calm(page)
    assert conversations.messages(store, other) == []


def test_a_stopped_question_is_told_once_and_can_be_asked_again(store, use_chat_model):
    use_chat_model(LATE)
    page = visit(course="demo")
    page.session_state["answered_question"] = state.Request(QUESTION)
    page = page.run()
    assert r"nothing of it was kept: How many late days" in words(page)
    assert "nothing of it was kept" not in words(visit(course="demo"))
    page = press(page, "ask-stopped")
    assert_calm(page)
    assert said(store)[0] == QUESTION
    assert "nothing of it was kept" not in words(page)


def test_first_questions_of_one_store_are_not_shown_for_another(store, use_chat_model):
    chat._first_questions.clear()
    mine = chat._first_questions(store, "a", 1, Scope("demo"))
    assert mine
    assert chat._first_questions(None, "a", 1, Scope("demo")) == mine  # kept
    with pytest.raises(AttributeError):
        chat._first_questions(None, "b", 1, Scope("demo"))
