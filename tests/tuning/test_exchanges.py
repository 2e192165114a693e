from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from rag.config import Config
from rag.context import estimate_tokens, fit_prompt
from rag.evidence import Evidence
from rag.ground import ground
from rag.markers import without_markers
from rag.prompts import REFUSAL, Prompt
from rag.types import Chunk, Hit, Location, LocationKind, Passage, Support
from support import HashingEmbedder
from tuning.examples import Example, LabelledPassage
from tuning.exchanges import Exchange, Form, make_exchanges, source_number, with_marker

LATE = "Each late day costs 5 points. No work is accepted after March 9. The midterm counts 30 % of the grade."
LAB = "The lab opens at nine. Late groups wait outside. Points are written on the door."
QUESTION = "How many points does each late day cost?"
ANSWER = "Each late day costs 5 points."


def right(answer: str = "Each late day costs 5 points") -> LabelledPassage:
    start = LATE.index(answer)
    return LabelledPassage("Optics › Late work", LATE, answers=True, relevant=True, spans=((start, start + len(answer)),))


WRONG = LabelledPassage("Optics › Lab", LAB, answers=False, relevant=False)
ANSWERABLE = Example(QUESTION, (right(), WRONG), (ANSWER, "5 points"), "fact", "optics")
UNANSWERABLE = Example("Who opens the lab?", (WRONG, replace(right(), answers=False, relevant=False, spans=())), (), "none", "optics")
PLAIN = Form(refusals=0.0, markers=False)


def exchanges(examples: Sequence[Example], form: Form = PLAIN, seed: int = 0) -> list[Exchange]:
    return make_exchanges(examples, HashingEmbedder(), Config(), form, estimate_tokens, seed)


def statements(messages: Sequence[BaseMessage]) -> list[str]:
    """The text between the fences of each excerpt."""
    return [part.split("\n</excerpt>")[0] for part in messages[-1].text.split('">\n')[1:]]


def test_the_statement_that_answers_stands_among_strong_ones_that_do_not() -> None:
    [made] = exchanges([ANSWERABLE])
    assert made.target == ANSWER
    assert made.answers == (ANSWER, "5 points")
    told = " ".join(statements(made.messages))
    assert ANSWER in told
    assert "Late groups wait outside." in told or "Points are written on the door." in told


@given(st.integers(0, 200))
@settings(deadline=None)
def test_the_messages_are_those_that_the_pipeline_sends(seed: int) -> None:
    """Read back from the messages, the same statements give the same messages through what makes them when a reader asks."""
    [made] = exchanges([ANSWERABLE], seed=seed)
    by_context = {passage.context: passage for passage in (right(), WRONG)}
    found: list[Evidence] = []
    for n, part in enumerate(made.messages[-1].text.split('<excerpt number="')[1:], start=1):
        context = part.split('from="')[1].split('"')[0]
        told = part.split('">\n')[1].split("\n</excerpt>")[0]
        text = by_context[context].text
        hit = Hit(Passage(n, "", context, "", Chunk(text, 0, len(text), Location(LocationKind.LINE, 1), context)), n, 0.0)
        found += [Evidence(hit, at, at + len(one), 0.0, 0.0) for one in split(told) for at in [text.index(one)]]
    assert 2 <= len(found) <= 4
    prompt = Prompt.named(Config().prompt, Config().length, Config().language)
    assert fit_prompt(QUESTION, found, (), prompt, estimate_tokens, 8192, 400).messages == made.messages


def split(told: str) -> list[str]:
    return [f"{part.strip().removesuffix('.')}." for part in told.split(". ")]


def test_a_marker_names_the_source_under_its_number_wherever_that_stands() -> None:
    numbers = set()
    for seed in range(20):
        [made] = exchanges([ANSWERABLE], Form(refusals=0.0), seed)
        told = statements(made.messages)
        number = next(n for n, text in enumerate(told, start=1) if ANSWER in text)
        assert made.target == f"Each late day costs 5 points [{number}]."
        assert without_markers(made.target) == ANSWER
        numbers.add(number)
    assert numbers == {1, 2}


def test_markers_stand_before_the_full_stop() -> None:
    assert with_marker("It is on Friday.", 2) == "It is on Friday [2]."
    assert with_marker("It is on Friday", 1) == "It is on Friday [1]"


def test_sources_are_numbered_by_passage() -> None:
    def one(rank: int) -> Evidence:
        chunk = Chunk("Text.", 0, 5, Location(LocationKind.LINE, 1))
        return Evidence(Hit(Passage(rank, "", "", "", chunk), rank, 0.0), 0, 5, 0.0, 0.0)

    chosen = [one(7), one(3), one(3), one(9)]
    assert [source_number(chosen, each) for each in chosen] == [2, 1, 1, 3]


def test_an_answer_that_the_materials_do_not_hold_gives_way_to_their_words() -> None:
    loose = replace(ANSWERABLE, answers=("You are charged five points for every day of delay.", "5 points"))
    assert [one.target for one in exchanges([loose])] == ["Each late day costs 5 points."]
    assert [one.target for one in exchanges([loose], replace(PLAIN, held=False))] == [loose.answers[0]]


def test_what_only_a_statement_beside_it_says_is_not_learnt() -> None:
    """The passage holds both; the generator is given the second only when that is among the strongest."""
    both = replace(ANSWERABLE, answers=("Each late day costs 5 points, and no work is accepted after March 9.", "5 points"))
    assert [one.target for one in exchanges([both])] == [ANSWER]


def test_a_bare_span_gives_way_to_the_sentence_that_holds_it() -> None:
    bare = replace(ANSWERABLE, passages=(right("March 9"), WRONG), question="Until when is work accepted?", answers=("March 9",))
    for form in (PLAIN, replace(PLAIN, held=False)):
        assert [one.target for one in exchanges([bare], form)] == ["No work is accepted after March 9."]


def test_of_a_long_sentence_the_clause_that_answers_is_said() -> None:
    lead = "the committee of the school, which has met in the old hall of the town every second week since the year of its founding, talks"
    text = f"In spring {lead} of the budget, of the building and of the heating; the exam is held on June 12 in room B2."
    passage = LabelledPassage("Optics", text, answers=True, relevant=True, spans=((text.index("June"), text.index("June") + 7),))
    example = Example("When is the exam held?", (passage,), ("June 12",), "fact", "optics")
    assert [one.target for one in exchanges([example])] == ["the exam is held on June 12 in room B2."]


def test_every_sentence_of_an_answer_is_held_by_itself() -> None:
    both = "Each late day costs 5 points. No work is accepted after March 9."
    listed = replace(
        ANSWERABLE, passages=(right(both), WRONG), answers=(both,), question="What are the rules for late work?", category="list"
    )
    assert [one.target for one in exchanges([listed])] == [both]
    loose = replace(listed, answers=(f"{ANSWER} Extensions are never given by anyone.",))
    assert [one.target for one in exchanges([loose])] == [both]


def test_a_time_is_not_cut_in_two() -> None:
    lead = "the first of the two meetings of the week is meant for those who have missed a lecture and want to hear of what was said in it"
    text = f"In spring {lead}, while on Thursdays there is one from 5:00 to 6:30 for those who work during the day and cannot come before."
    start = text.index("5:00")
    passage = LabelledPassage("Optics", text, answers=True, relevant=True, spans=((start, start + 12),))
    example = Example("When is the Thursday meeting for those who work?", (passage,), ("5:00 to 6:30",), "fact", "optics")
    assert [one.target for one in exchanges([example])] == [
        "while on Thursdays there is one from 5:00 to 6:30 for those who work during the day and cannot come before."
    ]


def test_nothing_is_learnt_where_no_short_words_answer() -> None:
    lead = "the exam is held in the old hall of the town where the committee of the school has met every second week since the"
    text = f"In spring {lead} year of its founding by the guild of the bakers of the eastern quarter on a hill on June 12."
    passage = LabelledPassage("Optics", text, answers=True, relevant=True, spans=((text.index("June"), text.index("June") + 7),))
    example = Example("When is the exam held?", (passage,), ("June 12",), "fact", "optics")
    assert exchanges([example]) == []


def test_a_conclusion_that_is_not_held_is_not_replaced_by_what_it_follows_from() -> None:
    loose = replace(ANSWERABLE, category="yesno", answers=("No, that day is already charged with five points.",))
    assert exchanges([loose]) == []


def test_a_table_row_is_said_without_its_borders() -> None:
    text = "| Week | Day | Topic |\n| 3 | 10 October | lenses and mirrors |\n| 4 | 17 October | waves in water |"
    start = text.index("10 October")
    passage = LabelledPassage("Optics", text, answers=True, relevant=True, spans=((start, start + 10),))
    example = Example("When are lenses and mirrors the topic?", (passage,), ("10 October",), "table", "optics")
    assert [one.target for one in exchanges([example])] == ["3 | 10 October | lenses and mirrors."]


def test_every_target_is_held_by_its_passages() -> None:
    for seed in range(10):
        for one in exchanges([ANSWERABLE], seed=seed):
            assert ground(one.target, one.passages, one.question).support is Support.SUPPORTED


def test_a_question_without_an_answer_is_refused_among_near_misses() -> None:
    made = exchanges([ANSWERABLE, UNANSWERABLE], replace(PLAIN, refusals=0.5))
    assert [one.target for one in made] == [ANSWER, REFUSAL]
    assert made[1].declines
    assert made[1].question == "Who opens the lab?"
    assert any("The lab opens at nine." in told for told in statements(made[1].messages))


def test_the_share_of_refusals_is_made_up_of_questions_whose_answer_is_left_out() -> None:
    examples = [replace(ANSWERABLE, group=str(number)) for number in range(17)]
    made = exchanges(examples, Form(refusals=0.15))
    assert [one.declines for one in made] == [False] * 17 + [True] * 3
    for one in made[17:]:
        assert one.question == QUESTION
        assert ANSWER not in one.messages[-1].text
        assert statements(one.messages)


@pytest.mark.parametrize(("refusals", "expected"), [(0.0, 0), (0.15, 7), (0.5, 40)])
def test_real_refusals_are_taken_first_and_never_more_than_the_share(refusals: float, expected: int) -> None:
    made = exchanges([ANSWERABLE] * 40 + [UNANSWERABLE] * 100, replace(PLAIN, refusals=refusals))
    declined = [one for one in made if one.declines]
    assert len(declined) == expected
    assert {one.question for one in declined} <= {UNANSWERABLE.question}


def test_the_weakest_statements_give_way_and_the_one_that_answers_never() -> None:
    alone = exchanges([replace(ANSWERABLE, passages=(right(),))], replace(PLAIN, longest=10_000), seed=3)
    shortest = min(estimate_tokens(one.messages) for seed in range(20) for one in exchanges([ANSWERABLE], PLAIN, seed))
    assert alone
    for seed in range(20):
        for one in exchanges([ANSWERABLE], replace(PLAIN, longest=shortest), seed):
            assert ANSWER in one.messages[-1].text
            assert estimate_tokens(one.messages) <= shortest
    assert exchanges([ANSWERABLE], replace(PLAIN, longest=20)) == []


def test_a_passage_that_answers_is_given_though_others_ranked_before_it() -> None:
    example = replace(ANSWERABLE, passages=(WRONG, WRONG, WRONG, WRONG, WRONG, right()))
    [made] = exchanges([example])
    assert len(made.passages) == 4
    assert ANSWER in made.messages[-1].text


def test_the_same_seed_makes_the_same_exchanges() -> None:
    examples = [ANSWERABLE] * 10 + [UNANSWERABLE]
    assert exchanges(examples, Form(), seed=5) == exchanges(examples, Form(), seed=5)
    assert exchanges(examples, Form(), seed=5) != exchanges(examples, Form(), seed=6)
