from dataclasses import replace
from pathlib import Path

import pytest

from ingest.pipeline import ingest_course
from rag import conversations
from rag.answer import answer
from rag.conversations import Conversation, Feedback
from rag.engine import Engine
from rag.store import Store
from rag.types import Answer, Latency, Mode, Scope, Sentence, Support, Turn
from rag.wire import answer_from_json, answer_to_json


def test_an_exchange_comes_back_whole(engine: Engine) -> None:
    store = engine.searcher.store
    answered = answer("How many points does a late day cost?", Scope("optics"), engine)
    conversation = conversations.start(store, "optics", answered.question)
    conversations.add_exchange(store, conversation.id, answered)
    question, reply = conversations.messages(store, conversation)
    assert (question.role, question.content, question.answer) == ("user", answered.question, None)
    assert reply.answer is not None
    assert reply.answer.sources == answered.sources
    assert reply.answer.sentences == answered.sentences
    assert reply.answer.latency.total == round(answered.latency.total, 3)
    assert conversations.turns([question, reply]) == [Turn("user", answered.question), Turn("assistant", answered.text)]


def with_prompt(answered: Answer) -> Answer:
    """The answer as a generator's, whose prompt held more than it cites."""
    return replace(answered, prompt=(Turn("system", "Be short."), Turn("user", "Excerpts: Zanzibar. Late days?")))


def test_a_prompt_is_there_until_the_materials_change(engine: Engine, course_folder: Path) -> None:
    searcher, store = engine.searcher, engine.searcher.store
    answered = with_prompt(answer("How much does the midterm count?", Scope("optics"), engine))
    conversation = conversations.start(store, "optics", "One?")
    conversations.add_exchange(store, conversation.id, answered, store.revision())
    reply = conversations.messages(store, conversation)[1].answer
    assert reply is not None
    assert reply.prompt == answered.prompt
    (course_folder / "more.md").write_text("# More\n\nSomething else.\n")
    ingest_course(course_folder, store, searcher.embedder, engine.config)
    reply = conversations.messages(store, conversation)[1].answer
    assert reply == replace(answered, prompt=(), latency=reply.latency if reply else answered.latency)


def test_a_prompt_of_a_removed_document_leaves_the_store(engine: Engine, course_folder: Path) -> None:
    searcher, store = engine.searcher, engine.searcher.store
    answered = with_prompt(answer("How much does the midterm count?", Scope("optics"), engine))
    conversation = conversations.start(store, "optics", "One?")
    conversations.add_exchange(store, conversation.id, answered, store.revision())
    (course_folder / "notes" / "week02-lenses.md").unlink()  # not cited, and perhaps in the prompt
    ingest_course(course_folder, store, searcher.embedder, engine.config)
    assert b"Zanzibar" not in b"".join(path.read_bytes() for path in store.directory.iterdir())
    assert conversations.messages(store, conversation)[1].content == answered.text


def test_a_prompt_made_before_a_change_is_not_kept_after_it(engine: Engine) -> None:
    store = engine.searcher.store
    answered = with_prompt(answer("How much does the midterm count?", Scope("optics"), engine))
    conversation = conversations.start(store, "optics", "One?")
    for revision in (store.revision() - 1, None):
        conversations.add_exchange(store, conversation.id, answered, revision)
    conversations.keep_exchange(store, conversation, answered, store.revision() - 1)
    assert [message.answer.prompt for message in conversations.messages(store, conversation) if message.answer] == [(), (), ()]


def test_conversations_are_listed_newest_first_found_and_deleted(engine: Engine) -> None:
    store = engine.searcher.store
    first = conversations.start(store, "optics", "One?")
    second = conversations.start(store, "optics", "Two? " + "x" * 100)
    conversations.start(store, "other", "Three?")
    assert [one.id for one in conversations.list_conversations(store, "optics")] == [second.id, first.id]
    assert len(second.title) == 60
    conversations.delete(store, first.id)
    assert conversations.find(store, first.id) is None
    assert conversations.find(store, second.id) == second


def exchange(store: Store, conversation: Conversation, question: str, text: str) -> None:
    said = Answer(question, question, text, False, 1.0, Mode.EXTRACTIVE, (), (), Latency({}, 1.0))
    conversations.add_exchange(store, conversation.id, said)


def test_a_conversation_is_its_owners_alone(engine: Engine) -> None:
    store = engine.searcher.store
    one, other = (conversations.start(store, "optics", "One?", owner) for owner in ("ada", "bob"))
    assert conversations.list_conversations(store, "optics", "ada") == [one]
    assert conversations.find(store, other.id, "bob") == other
    assert conversations.find(store, other.id, "ada") is None
    assert conversations.find(store, other.id) is None


def test_conversations_are_found_by_words_of_title_and_messages(engine: Engine) -> None:
    store = engine.searcher.store
    lenses, rules = (conversations.start(store, "optics", title) for title in ("Thin lenses", "Rules"))
    exchange(store, rules, "What counts?", "The midterm counts 30% of the grade_total.")
    exchange(store, lenses, "What bends?", "Light bends.")

    def found(words: str) -> list[str]:
        return [one.title for one in conversations.list_conversations(store, "optics", words=words)]

    assert found("midterm") == ["Rules"]
    assert found(" LENSES ") == ["Thin lenses"]
    assert found("") == ["Rules", "Thin lenses"]
    assert found("30% of") == found("e_t") == ["Rules"]
    assert found("%") == ["Rules"]  # the character, not any text
    assert found("e_g") == []
    conversations.rename(store, lenses.id, "  Glass \n things ")
    conversations.rename(store, lenses.id, "  ")
    assert found("glass") == ["Glass things"]


def made(question: str, text: str) -> Answer:
    return Answer(question, question, text, False, 1.0, Mode.EXTRACTIVE, (), (), Latency({}, 1.0))


def contents(store: Store, conversation: Conversation) -> list[str]:
    return [message.content for message in conversations.messages(store, conversation)]


def test_a_question_asked_again_takes_the_place_of_what_came_after_it(engine: Engine) -> None:
    store = engine.searcher.store
    conversation = conversations.start(store, "optics", "One?")
    other = conversations.start(store, "optics", "Other?")
    for number in ("one", "two", "three"):
        exchange(store, conversation, f"{number}?", number)
        exchange(store, other, f"{number}?", number)
    shown = [message.id for message in conversations.messages(store, conversation)]
    exchange(store, conversation, "another tab's?", "kept")
    conversations.keep_exchange(store, conversation, made("2?", "new"), store.revision(), (shown[2], shown[-1]))
    assert contents(store, conversation) == ["one?", "one", "another tab's?", "kept", "2?", "new"]
    assert len(contents(store, other)) == 6
    assert conversations.list_conversations(store, "optics", words="three") == [other]


def test_what_was_replaced_keeps_its_feedback_until_the_conversation_goes(engine: Engine) -> None:
    store = engine.searcher.store
    conversation = conversations.keep_exchange(store, ("optics", "ada"), made("One?", "one"), store.revision())
    assert (conversation.title, conversation.owner) == ("One?", "ada")
    question, said = conversations.messages(store, conversation)
    conversations.give_feedback(store, conversation, said.id, Feedback(-1, "Wrong."))
    conversations.keep_exchange(store, conversation, made("One?", "two"), store.revision(), (question.id, said.id))
    (_, again) = conversations.messages(store, conversation)
    assert (again.content, again.feedback) == ("two", None)
    assert again.id > said.id
    assert store.db.execute("SELECT note FROM feedback").fetchall() == [("Wrong.",)]
    conversations.delete(store, conversation.id)
    assert store.db.execute("SELECT count(*) FROM feedback").fetchone()[0] == 0
    anew = conversations.keep_exchange(store, conversation, made("Three?", "three"), store.revision(), (question.id, again.id))
    assert (anew.id != conversation.id, anew.owner, anew.title) == (True, "ada", "Three?")
    assert conversations.messages(store, anew)[0].id > again.id  # ids are never used again: an open page may name them


def test_a_conversation_is_begun_with_its_first_exchange_or_not_at_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    store = engine.searcher.store

    def fail(*_: object) -> None:
        raise ValueError("no JSON")

    monkeypatch.setattr(conversations, "answer_to_json", fail)
    with pytest.raises(ValueError, match="no JSON"):
        conversations.keep_exchange(store, ("optics", ""), made("One?", "one"), store.revision())
    assert conversations.list_conversations(store, "optics") == []


def test_only_messages_of_the_conversation_are_judged(engine: Engine) -> None:
    store = engine.searcher.store
    mine, other = (conversations.keep_exchange(store, ("optics", owner), made("?", "!"), store.revision()) for owner in ("ada", "bob"))
    conversations.give_feedback(store, mine, conversations.messages(store, other)[1].id, Feedback(-1))
    assert conversations.messages(store, other)[1].feedback is None


def test_very_long_words_are_searched_for_by_their_beginning(engine: Engine) -> None:
    assert conversations.list_conversations(engine.searcher.store, "optics", words="x" * 60_000) == []


def test_feedback_is_kept_changed_and_taken_back(engine: Engine) -> None:
    store = engine.searcher.store
    conversation = conversations.start(store, "optics", "One?")
    exchange(store, conversation, "one?", "one")
    said = conversations.messages(store, conversation)[1].id
    for feedback in (Feedback(-1, "Wrong page."), Feedback(1), None):
        conversations.give_feedback(store, conversation, said, feedback)
        assert conversations.messages(store, conversation)[1].feedback == feedback
    conversations.give_feedback(store, conversation, said, Feedback(-1))
    conversations.delete(store, conversation.id)
    assert store.db.execute("SELECT count(*) FROM feedback").fetchone()[0] == 0


def test_the_json_form_of_an_answer_is_stable(engine: Engine) -> None:
    value = answer_to_json(answer("How many points does a late day cost?", Scope("optics"), engine))
    assert {
        "question",
        "standalone",
        "answer",
        "abstained",
        "confidence",
        "mode",
        "sentences",
        "sources",
        "latency_ms",
        "tokens",
    } <= value.keys()
    assert {"n", "source", "location", "quote", "text"} <= value["sources"][0].keys()
    assert value["mode"] == "extractive"
    assert value["sentences"][0]["support"] == "supported"
    assert answer_to_json(answer_from_json(value)) == value
    assert (value["cached"], value["prompt"]) == (False, [])


def test_the_json_form_keeps_prompt_and_cached_and_answers_from_before_them_are_read(engine: Engine) -> None:
    answered = replace(with_prompt(answer("How much does the midterm count?", Scope("optics"), engine)), cached=True)
    value = answer_to_json(answered)
    assert value["prompt"][0] == {"role": "system", "content": "Be short."}
    assert answer_to_json(answer_from_json(value)) == value
    old = {key: kept for key, kept in value.items() if key not in ("cached", "prompt")}
    read = answer_from_json(old)
    assert (read.cached, read.prompt) == (False, ())


def test_what_was_left_out_is_kept_with_the_answer(engine: Engine) -> None:
    answered = answer("How many points does a late day cost?", Scope("optics"), engine)
    assert [sentence.quoted for sentence in answered.sentences] == [True] * len(answered.sentences)
    value = answer_to_json(replace(answered, dropped=(Sentence("Bananas are yellow.", Support.UNSUPPORTED),)))
    assert value["dropped"] == [{"text": "Bananas are yellow.", "support": "unsupported", "citations": [], "quoted": False}]
    assert answer_from_json(value).dropped[0].text == "Bananas are yellow."
    earlier = {key: kept for key, kept in value.items() if key != "dropped"}  # an answer kept before there was such a thing
    assert answer_from_json(earlier).dropped == ()
