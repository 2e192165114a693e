"""`benchmarks/answers.py` on a course of two documents: its rows, and that the parts it turns off are on again afterwards."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from rag import composition
from rag import prepared as flow
from rag.engine import Engine
from rag.golden import Golden, Half
from support import load_script

LATE = Golden(
    "1",
    "How many points does a late day cost?",
    answers=("5 points",),
    relevant=({"source": "syllabus.md", "quote": "Each late day costs 5 points."},),
)
PARKING = Golden("2", "Where can I park my bicycle?", answerable=False)


@pytest.fixture
def answers() -> ModuleType:
    return load_script("benchmarks/answers.py")


def test_each_measure_has_a_row(answers: ModuleType, engine: Engine) -> None:
    asked = answers.Asked("optics", {Half.EVEN: [LATE, PARKING], Half.ODD: [LATE, PARKING]})
    rows = list(answers.answer_rows(asked, {half: answers.ask(engine, "optics", questions) for half, questions in asked.halves.items()}))
    assert "| optics (2 + 2) | answer_contains_gold |  | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] |  |" in rows
    assert "| optics (2 + 2) | refused_unanswerable |  | .000 [.000, .000] | .000 [.000, .000] |  |" in rows
    assert any("| citation_recall |  | 1.000" in row for row in rows)
    assert any("| answerable_auroc |  | 1.000" in row for row in rows)


def test_a_part_is_off_for_its_variant_alone(answers: ModuleType, engine: Engine) -> None:
    def saying(text: str) -> Engine:
        return replace(engine, chat_model=GenericFakeChatModel(messages=iter([AIMessage(text)])))

    kept = composition.ground, flow.select_evidence, composition.quoted_statements
    trusting = answers.ask(saying("Bananas are yellow."), "optics", [LATE], answers.VARIANTS[answers.ALWAYS_SUPPORTED])
    assert trusting.judged[0].answer.text.startswith("Bananas are yellow.")
    assert answers._unsupported_share(trusting) == 0.5  # the strongest statement stands beside it
    assert (composition.ground, flow.select_evidence, composition.quoted_statements) == kept
    refusing = answers.ask(engine, "optics", [PARKING], answers.Variant({"confidence_floor": 1.0}, {}))
    assert refusing.judged[0].answer.abstained
    assert engine.config.confidence_floor == 0.0


def test_two_evaluations_are_compared_question_by_question(answers: ModuleType, engine: Engine) -> None:
    given = answers.ask(engine, "optics", [LATE, PARKING])
    refused = answers.ask(engine, "optics", [LATE, PARKING], answers.Variant({"confidence_floor": 1.0}, {}))
    rows = {measure: cells for measure, *cells in answers._differences("squad2", refused, given)}
    assert rows["answer_contains_gold"] == [".000 → 1.000", "+1.000 [+1.000, +1.000]", "1.0000", ".650"]
    assert rows["refused_unanswerable"] == ["1.000 → .000", "-1.000 [-1.000, -1.000]", "1.0000", ".700"]
    assert rows["answerable_auroc"][1] == "+0.000"
    assert "cited_right" not in rows, "where one of the two has refused there is no pair"
