from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from rag.answer import answer, stream_answer
from rag.engine import Engine
from rag.errors import GeneratorUnavailable, QuestionError
from rag.events import Draft, Found, Written
from rag.prompts import REFUSAL
from rag.types import Answer, Mode, Scope, Support, Turn

OPTICS = Scope("optics")
QUESTION = "How many points does a late day cost?"


def saying(engine: Engine, text: str) -> Engine:
    """The engine with a generator that says this, word by word."""
    return replace(engine, chat_model=GenericFakeChatModel(messages=iter([AIMessage(text)])))


class FailingChatModel(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "failing"

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise GeneratorUnavailable("out of memory")

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        raise GeneratorUnavailable("out of memory")
        yield


def test_without_a_generator_the_materials_are_quoted_and_cited(engine: Engine) -> None:
    answered = answer(QUESTION, OPTICS, engine)
    assert answered.mode is Mode.EXTRACTIVE
    assert "Each late day costs 5 points." in answered.sentences[0].text
    source = answered.sources[answered.sentences[0].citations[0] - 1]
    assert source.passage.source == "syllabus.md"
    assert source.quote in source.passage.chunk.text
    assert all(sentence.support is Support.SUPPORTED for sentence in answered.sentences)


def test_a_verdict_that_nothing_can_hold_is_not_shown_where_sentences_must_be_held(engine: Engine) -> None:
    said, held = "No, each late day costs 5 points.", "Each late day costs 5 points."
    assert answer(QUESTION, OPTICS, saying(engine, said)).sentences[0].text == held
    marking = replace(engine, config=engine.config.replace(unsupported="mark"))
    marked = answer(QUESTION, OPTICS, saying(marking, said)).sentences[0]
    assert (marked.text, marked.support) == (said, Support.WEAK)


def test_what_affirms_the_question_is_shown_without_the_verdict(engine: Engine) -> None:
    answered = answer("Does each late day cost 5 points?", OPTICS, saying(engine, "Yes, each late day costs 5 points."))
    assert answered.mode is Mode.GENERATED
    assert answered.sentences[0].text == "Each late day costs 5 points."


def test_supported_sentences_stay_and_the_others_never_show(engine: Engine) -> None:
    events = list(
        stream_answer(
            QUESTION, OPTICS, saying(engine, "Each late day costs 5 points [7]. Parking is free on Sundays. A late day costs 50 points.")
        )
    )
    answered = events[-1]
    assert isinstance(answered, Answer)
    assert answered.mode is Mode.GENERATED
    assert answered.text == "Each late day costs 5 points."
    assert all("[7]" not in event.text for event in events if isinstance(event, Draft))
    assert all(
        sentence.text == "Each late day costs 5 points." for event in events if isinstance(event, Written) for sentence in event.sentences
    )


def test_the_strongest_evidence_is_never_left_out(engine: Engine) -> None:
    answered = answer(QUESTION, OPTICS, saying(engine, "No work is accepted after March 9."))
    assert [sentence.text for sentence in answered.sentences] == [
        "No work is accepted after March 9.",
        "Each late day costs 5 points.",
    ]
    assert [sentence.citations for sentence in answered.sentences] == [(1,), (2,)]


def test_when_nothing_generated_holds_the_answer_is_extractive(engine: Engine) -> None:
    answered = answer(QUESTION, OPTICS, saying(engine, "Bananas are yellow."))
    assert answered.mode is Mode.EXTRACTIVE
    assert "5 points" in answered.text


def test_a_failing_generator_is_announced_and_the_answer_comes_all_the_same(engine: Engine) -> None:
    answered = answer(QUESTION, OPTICS, replace(engine, chat_model=FailingChatModel()))
    assert answered.mode is Mode.EXTRACTIVE
    assert "5 points" in answered.text
    assert answered.notices == ("the generator could not answer; these are the materials' own words",)


def test_a_generator_that_declines_is_not_shown_and_lowers_the_confidence(engine: Engine) -> None:
    sure = answer(QUESTION, OPTICS, engine).confidence
    lenient = replace(engine, config=engine.config.replace(confidence_floor=0.0))
    events = list(stream_answer(QUESTION, OPTICS, saying(lenient, f"{REFUSAL} Parking is free.")))
    answered = events[-1]
    assert isinstance(answered, Answer)
    assert not answered.abstained
    assert answered.mode is Mode.EXTRACTIVE
    assert "5 points" in answered.text
    assert answered.dropped == ()
    odds = 0.4 * sure / (1 - sure)
    assert answered.confidence == pytest.approx(odds / (1 + odds))
    assert {event.text for event in events if isinstance(event, Draft)} <= {""}, "nothing to see, but a sign of life"


def test_a_generator_that_declines_where_little_speaks_for_an_answer_is_a_refusal(engine: Engine) -> None:
    sure = answer(QUESTION, OPTICS, engine).confidence
    strict = replace(engine, config=engine.config.replace(confidence_floor=sure - 0.01))
    assert not answer(QUESTION, OPTICS, saying(strict, "Each late day costs 5 points.")).abstained
    assert answer(QUESTION, OPTICS, saying(strict, f"No, {REFUSAL[0].lower()}{REFUSAL[1:]}")).abstained
    answered = answer(QUESTION, OPTICS, saying(strict, REFUSAL))
    assert answered.abstained
    assert answered.text.startswith(f"{REFUSAL} Searched 2 documents of optics.")
    assert answered.confidence < sure - 0.01
    assert answered.sentences == ()


def test_a_generator_that_only_begins_like_a_refusal_is_heard_out(engine: Engine) -> None:
    said = f"{REFUSAL.removesuffix('.')} in full. Each late day costs 5 points."
    answered = answer(QUESTION, OPTICS, saying(engine, said))
    assert answered.text == "Each late day costs 5 points."
    assert answered.confidence == answer(QUESTION, OPTICS, engine).confidence


def test_the_phrase_after_an_answer_is_left_out_like_any_other_sentence(engine: Engine) -> None:
    answered = answer(QUESTION, OPTICS, saying(engine, f"Each late day costs 5 points. {REFUSAL}"))
    assert answered.text == "Each late day costs 5 points."
    assert answered.confidence == answer(QUESTION, OPTICS, engine).confidence


def test_weak_evidence_is_a_refusal_with_the_nearest_passages(engine: Engine) -> None:
    strict = replace(engine, config=engine.config.replace(confidence_floor=0.99))
    answered = answer("Where can I park?", OPTICS, strict)
    assert answered.abstained
    assert answered.text.startswith(f"{REFUSAL} Searched 2 documents of optics. The passages below come nearest")
    assert answered.sentences == ()
    assert [source.n for source in answered.sources] == [1, 2, 3]


def test_events_come_in_order_and_the_answer_last(engine: Engine) -> None:
    events = list(stream_answer(QUESTION, OPTICS, saying(engine, "Each late day costs 5 points. No work is accepted after March 9.")))
    assert isinstance(events[0], Found)
    assert isinstance(events[-1], Answer)
    assert sum(isinstance(event, Answer) for event in events) == 1
    drafts = [event.text for event in events if isinstance(event, Draft)]
    assert drafts[:3] == ["Each", "Each", "Each late"]


def test_the_stages_add_up_to_the_total(engine: Engine) -> None:
    latency = answer(QUESTION, OPTICS, saying(engine, "Each late day costs 5 points.")).latency
    assert sum(latency.stages.values()) == pytest.approx(latency.total, rel=1e-6)
    assert {
        "understand",
        "embed",
        "dense",
        "lexical",
        "fuse",
        "evidence",
        "prompt",
        "prefill",
        "decode",
        "ground",
        "other",
    } <= latency.stages.keys()


def test_a_follow_up_searches_with_what_it_refers_to(engine: Engine) -> None:
    history = [Turn("user", "What is spherical aberration?"), Turn("assistant", "A blur.")]
    answered = answer("and why does it happen?", OPTICS, engine, history)
    assert answered.question == "and why does it happen?"
    assert answered.standalone == "What is spherical aberration? and why does it happen?"
    assert answered.sources[0].passage.source == "notes/week02-lenses.md"


def test_closing_the_stream_ends_the_generator(engine: Engine) -> None:
    closed = []

    class Endless(FailingChatModel):
        def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            try:
                while True:
                    yield ChatGenerationChunk(message=AIMessageChunk(content="word "))
            finally:
                closed.append(True)

    events = stream_answer(QUESTION, OPTICS, replace(engine, chat_model=Endless()))
    assert any(isinstance(next(events), Draft) for _ in range(5))
    events.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_an_empty_question_is_refused_before_anything_runs(engine: Engine) -> None:
    with pytest.raises(QuestionError, match="is empty"):
        answer("   ", OPTICS, engine)


def test_sources_of_an_earlier_turn_do_not_leak_into_the_next_answer(engine: Engine) -> None:
    """The second answer cites only what was found for it, and what was said before holds no sentence of it."""
    before = "Spherical aberration blurs the image because marginal rays meet closer to the lens."
    history = [Turn("user", "What is spherical aberration?"), Turn("assistant", before)]
    question = "And how many points does it cost to use a late day then?"
    elsewhere = Scope("optics", path="syllabus.md")
    events = list(stream_answer(question, elsewhere, saying(engine, f"{before} Each late day costs 5 points."), history))
    found, answered = events[0], events[-1]
    assert isinstance(found, Found)
    assert isinstance(answered, Answer)
    assert [turn.content for turn in answered.prompt[1:3]] == [turn.content for turn in history]  # the generator was told, and repeats it
    assert answered.text == "Each late day costs 5 points."
    assert {source.passage.chunk_id for source in answered.sources} <= {hit.passage.chunk_id for hit in found.hits}


def test_an_earlier_message_is_no_evidence(engine: Engine) -> None:
    """What a reader made up in an earlier message holds nothing, whether the generator repeats it or not."""
    history = [Turn("user", "Late days are free on Sundays, right?"), Turn("assistant", "Late days are free on Sundays.")]
    answered = answer("And how many points do they cost?", OPTICS, saying(engine, "Late days are free on Sundays."), history)
    assert answered.prompt[2].content == "Late days are free on Sundays."
    assert "Sundays" not in answered.text
    assert "5 points" in answered.text


def test_a_change_of_topic_leaves_the_old_one_out_of_the_search(engine: Engine) -> None:
    history = [Turn("user", "What is spherical aberration?"), Turn("assistant", "A blur.")]
    answered = answer("different question: how many points does a late day cost?", OPTICS, engine, history)
    assert answered.standalone == "how many points does a late day cost?"
    assert answered.sources[0].passage.source == "syllabus.md"


def test_the_prompt_is_kept_with_the_answer_and_what_did_not_fit_is_told(engine: Engine) -> None:
    history = [Turn("user", "Hello?"), Turn("assistant", "Hi. " * 300), Turn("user", "And?"), Turn("assistant", "Well.")]
    question = "And how many points does it cost?"
    answered = answer(question, OPTICS, saying(engine, "Each late day costs 5 points."), history)
    assert [turn.role for turn in answered.prompt] == ["system", "user", "assistant", "user"]
    assert answered.prompt[1].content == "And?"
    assert answered.prompt[-1].content.endswith(f"Question: {question}")
    assert answered.notices == ("2 earlier messages did not fit into the prompt",)
    assert answered.prompt_parts.keys() == {"system", "history", "sources", "question"}
    assert answer(QUESTION, OPTICS, engine).prompt == ()


def test_a_question_that_leans_on_nothing_is_given_without_the_messages_before(engine: Engine) -> None:
    history = [Turn("user", "What does the first lab cost?"), Turn("assistant", "Nothing.")]
    for asked, given in ((QUESTION, QUESTION), ("no, the second lab", "What does the second lab cost?")):
        prompt = answer(asked, OPTICS, saying(engine, "Each late day costs 5 points."), history).prompt
        assert [turn.role for turn in prompt] == ["system", "user"]
        assert prompt[-1].content.endswith(f"Question: {given}"), asked


def test_a_language_that_the_bundled_generator_does_not_write_is_told_and_the_materials_quoted(engine: Engine) -> None:
    german = replace(engine, config=engine.config.replace(language="de", generator="bundled"))
    answered = answer(QUESTION, OPTICS, saying(german, "Each late day costs 5 points."))
    assert answered.mode is Mode.EXTRACTIVE
    assert answered.notices == ("the bundled generator writes English only, not German; these are the materials' own words",)


def test_an_answer_in_another_language_than_the_materials_cannot_be_checked_and_that_is_told(engine: Engine) -> None:
    german = replace(engine, config=engine.config.replace(language="de", generator="a-large-model"))
    answered = answer(QUESTION, OPTICS, saying(german, "Jeder verspätete Tag kostet fünf Punkte."))
    assert answered.mode is Mode.EXTRACTIVE
    assert answered.prompt[0].content.endswith("Answer in German.")
    assert answered.notices == ("an answer in German could not be checked against the materials; these are their own words",)


HALF_TRUE = "Each late day costs 5 points everywhere today."


def test_what_is_not_supported_is_replaced_by_the_evidence_and_kept_aside(engine: Engine) -> None:
    answered = answer("What about delays?", OPTICS, saying(engine, f"{HALF_TRUE} No work is accepted after March 9."))
    assert [(one.text, one.quoted) for one in answered.sentences] == [
        ("No work is accepted after March 9.", False),
        (ANY, True),
    ]
    assert [(one.text, one.support, one.citations) for one in answered.dropped] == [(HALF_TRUE, Support.WEAK, ())]


def test_a_generator_that_repeats_itself_is_left(engine: Engine) -> None:
    answered = answer(QUESTION, OPTICS, saying(engine, "Bananas are yellow. Bananas are yellow. No work is accepted after March 9. Ever."))
    assert [one.text for one in answered.dropped] == ["Bananas are yellow."]
    assert all(one.quoted for one in answered.sentences)


def test_it_can_be_dropped_alone(engine: Engine) -> None:
    dropping = replace(engine, config=engine.config.replace(unsupported="drop"))
    answered = answer(QUESTION, OPTICS, saying(dropping, f"{HALF_TRUE} No work is accepted after March 9."))
    assert answered.text == "No work is accepted after March 9."
    assert "5 points" in answer(QUESTION, OPTICS, saying(dropping, HALF_TRUE)).text  # else nothing would be left


def test_it_can_be_shown_marked(engine: Engine) -> None:
    marking = replace(engine, config=engine.config.replace(unsupported="mark"))
    answered = answer("What about delays?", OPTICS, saying(marking, f"{HALF_TRUE} Bananas are yellow."))
    assert [(one.text, one.support) for one in answered.sentences if not one.quoted] == [
        (HALF_TRUE, Support.WEAK),
        ("Bananas are yellow.", Support.UNSUPPORTED),
    ]
    assert answered.sentences[1].citations == ()
    assert answered.dropped == ()


def test_a_sentence_cut_off_by_the_limit_is_left_out(engine: Engine) -> None:
    class Counting(FailingChatModel):
        def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            usage = UsageMetadata(input_tokens=9, output_tokens=engine.config.max_new_tokens, total_tokens=9 + engine.config.max_new_tokens)
            yield ChatGenerationChunk(message=AIMessageChunk("No work is accepted after March 9. Each late day", usage_metadata=usage))

    answered = answer("What of late work?", OPTICS, replace(engine, chat_model=Counting()))
    assert answered.sentences[0].text == "No work is accepted after March 9."
    assert not any(one.text == "Each late day" for one in (*answered.sentences, *answered.dropped))


def test_sources_of_a_generator_that_failed_midway_are_forgotten(engine: Engine) -> None:
    class FailingLate(FailingChatModel):
        def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            yield ChatGenerationChunk(message=AIMessageChunk("No work is accepted after March 9. And "))
            raise GeneratorUnavailable("out of memory")

    answered = answer("How many points does a late day cost?", OPTICS, replace(engine, chat_model=FailingLate()))
    assert answered.mode is Mode.EXTRACTIVE
    assert [source.n for source in answered.sources] == [1]
    assert answered.sources[0].quote == "Each late day costs 5 points."
