from dataclasses import replace

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from rag.answer import answer
from rag.config import Config
from rag.engine import Engine
from rag.errors import ConfigError
from rag.golden import Golden
from rag.llm_judge import Verdict, judge_messages, judge_with_model, load_judge, read_verdict
from rag.types import Answer, Scope

ASKED = Golden("1", "How many points does a late day cost?", answers=("5 points",))


@pytest.fixture
def answered(engine: Engine) -> Answer:
    return answer(ASKED.question, Scope("optics"), engine)


def replying(text: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(text)]))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"correct": true, "supported": false}', Verdict(True, False)),
        (' {"supported": true, "correct": true}\n', Verdict(True, True)),
        ('Sure! {"correct": true, "supported": true}', None),
        ('{"correct": "true", "supported": true}', None),
        ('{"correct": 1, "supported": true}', None),
        ('{"correct": true}', None),
        ('{"correct": true, "supported": true, "why": "x"}', None),
        ("[true, true]", None),
        ("", None),
    ],
)
def test_only_what_was_asked_for_is_a_verdict(reply: str, verdict: Verdict | None) -> None:
    assert read_verdict(reply) == verdict


def test_a_reply_becomes_figures(answered: Answer) -> None:
    figures = judge_with_model(replying('{"correct": true, "supported": false}'), ASKED, answered)
    assert figures == {"judged_correct": 1.0, "judged_supported": 0.0, "judge_unreadable": 0.0}
    assert judge_with_model(replying("It is correct."), ASKED, answered) == {"judge_unreadable": 1.0}


def test_refusals_and_questions_without_gold_answers_are_not_judged(answered: Answer) -> None:
    assert judge_with_model(replying("{}"), ASKED, replace(answered, abstained=True)) == {}
    assert judge_with_model(replying("{}"), Golden("2", "?"), answered) == {}


def test_the_judge_sees_question_references_answer_and_quotes(answered: Answer) -> None:
    shown = judge_messages(ASKED, answered)[1].text
    assert f"Question: {ASKED.question}" in shown
    assert "- 5 points" in shown
    assert f"Answer: {answered.text}" in shown
    assert f"- {answered.sources[0].quote}" in shown


def test_a_judge_is_off_by_default_and_needs_both_settings() -> None:
    assert load_judge(Config()) is None
    with pytest.raises(ConfigError, match="both judge_base_url and judge_model"):
        load_judge(Config(judge_model="big"))
    judge = load_judge(Config(judge_base_url="http://127.0.0.1:1/v1", judge_model="big"))
    assert judge is not None
    assert judge._identifying_params["model"] == "big"
