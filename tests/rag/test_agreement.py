import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.agreement import (
    dates,
    hedges_agree,
    limits_agree,
    moments_agree,
    names,
    names_agree,
    negations_agree,
    normalized,
    numbers_stay_with_their_words,
    quantities,
    quantities_agree,
    share_in_order,
    subject_stands,
    times,
)


def test_quantities_have_a_value_and_a_unit() -> None:
    text = "Twelve points, 1,200 USD, $5, 10 per cent, 3.0 GB, -4 degrees, 7-day, the 2nd of 1 to 3"
    found = " ".join(f"{one.value}:{one.unit}" for one in quantities(text))
    assert found == "12:point 1200:$ 5:$ 10:% 3:gb -4:degre 7:day 2: 1: 3:"


@pytest.mark.parametrize(
    ("sentence", "source", "agree"),
    [
        ("It costs 5 points.", "5 late points", True),
        ("It costs 5 points.", "Points: 5", True),
        ("It costs 5 points.", "It costs 5 %.", False),
        ("It costs 5 %.", "It costs 5 points.", False),
        ("It costs five points.", "5 points a day", True),
        ("It takes 20 hours.", "It takes 20 minutes.", False),
        ("It costs 5 points.", "It costs 15 points.", False),
        ("It has 1200 pages.", "1,200 pages", True),
        ("Nothing is counted.", "", True),
    ],
)
def test_quantities_agree_in_value_and_unit(sentence: str, source: str, agree: bool) -> None:
    assert quantities_agree(sentence, source) is agree


def test_dates_and_times_in_their_forms() -> None:
    assert dates("March 9, 9th of March, 2026-03-09 and 3/9/26") == {(3, 9)}
    assert dates("may 4 of them come") == {(5, 4)}  # a word that is a month too: it stands in the source in the same form
    assert times("5 pm, 17:00, 5:00 p.m. and 5.00pm") == {300}
    assert times("noon, 10:30–11:50") == {0, 630, 710}
    assert times("a ratio of 3 and page 12") == set()


def test_moments_agree_on_each_date_time_and_weekday() -> None:
    source = "Due on Friday, March 9, at 5 pm."
    assert moments_agree("It is due on 9 March at 17:00.", source)
    assert moments_agree("It is due Fri.", source)
    for wrong in ("It is due on March 19.", "It is due at 6 pm.", "It is due on Thursday.", "It is due on April 9."):
        assert not moments_agree(wrong, source)
    assert not moments_agree("It is due at 5 pm.", "It is due.")


def test_names_but_for_the_first_word() -> None:
    assert names("Office hours are Prof. Lindqvist's on an iPad at MIT.") == {"prof", "lindqvist's", "ipad", "mit"}
    assert names_agree("The TA meets Students.", "each TA meets a student")
    assert not names_agree("Ask Dr. Okafor.", "Ask Dr. Lindqvist.")


@pytest.mark.parametrize(
    ("sentence", "source", "agree"),
    [
        ("Late work is accepted.", "Late work is not accepted.", False),
        ("Late work is not accepted.", "Late work is accepted.", False),
        ("No late work is accepted.", "Late work is never accepted.", True),
        ("You can't use phones.", "You may use phones.", False),
        ("Phones are allowed.", "Laptops are allowed, but phones are not.", False),
        ("Laptops are allowed.", "Laptops are allowed, but phones are not.", True),
        ("Phones are not allowed.", "Laptops are allowed, but phones are not.", False),  # what is left out is not filled in: the safe side
        ("Laptops are welcome.", "Phones are not allowed.", True),
    ],
)
def test_negations_agree_clause_by_clause(sentence: str, source: str, agree: bool) -> None:
    assert negations_agree(sentence, source) is agree


@pytest.mark.parametrize(
    ("sentence", "source", "agree"),
    [
        ("At most two count.", "Up to two count.", True),
        ("At most two count.", "At least two count.", False),
        ("At most two count.", "Two count.", False),
        ("Two count.", "At most two count.", True),
        ("Submit before class.", "Submit after class.", False),
        ("Only two count.", "Two count.", False),
        ("It is required.", "It is optional.", False),
        ("It is faster.", "It is slower.", False),
    ],
)
def test_limits_are_not_added_and_not_turned_round(sentence: str, source: str, agree: bool) -> None:
    assert limits_agree(sentence, source) is agree


def test_a_number_is_said_of_its_own_words() -> None:
    source = "Midterm 30 %, final 40 %"
    assert numbers_stay_with_their_words("The final counts 40 %.", source)
    assert not numbers_stay_with_their_words("The midterm counts 40 %.", source)
    assert numbers_stay_with_their_words("The midterm counts 30 % and the final 40 %.", source)
    assert not numbers_stay_with_their_words("It counts 40 %.", source, "How much is the midterm?")


def test_a_number_keeps_its_hedge() -> None:
    assert not hedges_agree("There are 5 assignments.", "There will be approximately 5 assignments.")
    assert hedges_agree("There are about five assignments.", "There will be approximately 5 assignments.")
    assert hedges_agree("There are 5 assignments.", "About 5 of them. There are 5 assignments.")
    assert not hedges_agree("Two may be used.", "At most two may be used.")


def test_the_subject_is_not_made_up() -> None:
    assert not subject_stands("The class schedule is available online.", "These policies of the class are available online.")
    assert subject_stands("The policies are available online.", "These policies are available online.")


def test_share_of_pairs_in_order_by_hand() -> None:
    # lens-focal (1 apart) and focal-length (1) are near; length-center (5 apart) is not
    assert share_in_order("lens focal length center", "lens focal length one two three four center") == pytest.approx(2 / 3)
    assert share_in_order("lens", "anything") == 1


def test_both_ways_of_writing_are_one() -> None:
    assert normalized("Twenty percent at 5 pm") == normalized("20 % at 17:00")


WORDS = "the late work costs 5 % a day not at most 20 points on March 9 by Prof. Lindqvist and is accepted before 5 pm only".split()
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join)


@given(SENTENCES)
def test_every_text_agrees_with_itself(text: str) -> None:
    assert quantities_agree(text, text)
    assert moments_agree(text, text)
    assert names_agree(text, text)
    assert negations_agree(text, text)
    assert limits_agree(text, text)
    assert hedges_agree(text, text)
    assert subject_stands(text, text)
    assert numbers_stay_with_their_words(text, text)
    assert share_in_order(text, text) == 1
