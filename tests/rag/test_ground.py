import pytest

from rag.ground import adds_nothing, ground, says_something, without_lead_in, without_verdict
from rag.types import Chunk, Location, LocationKind, Passage, Support


def passage(text: str, number: int = 1) -> Passage:
    return Passage(number, "c", "a.pdf", "Syllabus", Chunk(text, 0, len(text), Location(LocationKind.PAGE, 1), "Syllabus › Late work"))


LATE = passage(
    "Students have five late days for the term. At most two may be used on one assignment. "
    "Prof. Lindqvist decides about exceptions by March 9."
)

CASES = {
    "the passage's own words": ("At most two may be used on one assignment.", Support.SUPPORTED),
    "reworded with the same words": ("On one assignment, at most two late days may be used.", Support.SUPPORTED),
    "two neighbouring sentences": ("Students have five late days and at most two on one assignment.", Support.SUPPORTED),
    "a wrong number": ("At most 3 may be used on one assignment.", Support.UNSUPPORTED),
    "a wrong name": ("Exceptions are decided by Prof. Okafor.", Support.UNSUPPORTED),
    "a wrong date": ("Exceptions are decided by March 19.", Support.UNSUPPORTED),
    "turned into its opposite": ("At most two may not be used on one assignment.", Support.WEAK),
    "about half of it": ("Late days on one assignment are popular everywhere.", Support.WEAK),
    "something else": ("The library closes early on weekends.", Support.UNSUPPORTED),
}


GRADES = passage("The midterm counts 30 % of the grade. The final counts 40 % of it. The arrays are in room 12.")


@pytest.mark.parametrize("sentence", ["The midterm counts 40 % of the grade.", "Office hours are held by Ray in room 12."])
def test_words_of_different_statements_do_not_support_together(sentence: str) -> None:
    assert ground(sentence, [GRADES], "How much of the grade does the midterm count?").support is not Support.SUPPORTED


@pytest.mark.parametrize(("sentence", "support"), CASES.values(), ids=CASES.keys())
def test_support(sentence: str, support: Support) -> None:
    assert ground(sentence, [LATE]).support is support


def test_the_best_passage_and_its_words_are_cited() -> None:
    other = passage("Assignment 1 is about tokenizers.", 2)
    grounding = ground("Students have five late days for the term.", [other, LATE])
    assert grounding.passage is LATE
    assert grounding.quote == "Students have five late days for the term."


def test_nothing_supports_without_passages() -> None:
    assert ground("Anything.", []).passage is None


def test_what_only_the_reader_said_is_supported_in_part() -> None:
    sentence = "For Anna there are five late days in the term."
    assert ground(sentence, [LATE]).support is Support.UNSUPPORTED
    assert ground(sentence, [LATE], "how many late days has Anna").support is Support.WEAK
    assert ground("There are 6 late days for the term.", [LATE], "Are there 6 late days?").support is Support.WEAK


CACHE = passage(
    "The KV cache stores the keys and values of earlier tokens. A large language model reads it at every step. "
    "Laptops are allowed in labs, but phones are not allowed. "
    "Homework 1 is due on March 9 at 5 pm and homework 2 is due on April 6 at noon. "
    "Late work costs 10 % a day, at most 30 %. Quizzes count 15 % and the final counts 40 %. A quiz takes 20 minutes. "
    "Submit the report before the lab starts."
)
REFUTED = {
    "a number of another unit": "A quiz takes 20 hours.",
    "percent made points": "Late work costs 10 points a day.",
    "another thing's number": "Quizzes count 40 %.",
    "another thing's date": "Homework 1 is due on April 6.",
    "another day": "Homework 1 is due on March 19.",
    "another time": "Homework 1 is due at 6 pm.",
    "the denied thing affirmed": "Phones are allowed in labs.",
    "the affirmed thing denied": "Laptops are not allowed in labs.",
    "another limit": "Late work costs at least 30 %.",
    "another order": "Submit the report after the lab starts.",
    "a limit made up": "Only laptops are allowed in labs.",
    "words of two statements put together": "The KV cache is a large language model that stores tokens at every step.",
}
HELD = {
    "as it stands": "A quiz takes 20 minutes.",
    "the unit written otherwise": "Late work costs 10 percent a day.",
    "the date written otherwise": "Homework 1 is due on 9 March at 17:00.",
    "one of two": "Quizzes count 15 %.",
    "the denied thing denied": "Phones are not allowed in labs.",
    "the affirmed thing affirmed": "Laptops are allowed in labs.",
    "in another order": "The keys and values of earlier tokens are stored in the KV cache.",
}


@pytest.mark.parametrize("sentence", REFUTED.values(), ids=REFUTED.keys())
def test_what_the_passage_does_not_say_is_not_supported(sentence: str) -> None:
    assert ground(sentence, [CACHE]).support is not Support.SUPPORTED


@pytest.mark.parametrize("sentence", HELD.values(), ids=HELD.keys())
def test_what_it_says_in_other_words_is_supported(sentence: str) -> None:
    assert ground(sentence, [CACHE]).support is Support.SUPPORTED


def test_a_short_answer_needs_the_question_beside_it() -> None:
    assert ground("On March 9 at 5 pm.", [CACHE], "Where did the astronauts land?").support is not Support.SUPPORTED
    assert ground("Quizzes count 15 %.", [CACHE], "How much do quizzes count?").support is Support.SUPPORTED
    assert ground("It counts 40 %.", [CACHE], "How much do quizzes count?").support is not Support.SUPPORTED
    assert ground("The KV cache.", [CACHE], "What stores the keys and values?").support is Support.SUPPORTED


def test_a_bare_number_does_not_say_what_it_is_of() -> None:
    assert ground("15 %.", [CACHE], "How much do quizzes count?").support is Support.WEAK


def test_sentences_that_say_nothing() -> None:
    assert [text for text in ("It is:", "Is it?", "1.", "(a)", "It is.", "Friday.") if says_something(text)] == ["Friday."]
    assert not says_something("The files are a zip file, a text file, and a zip file.")


def test_a_bare_yes_is_held_by_nothing() -> None:
    passages = [passage("It reads them and says: yes, yes and yes again. Laptops are allowed.")]
    assert ground("Yes.", passages, "Is eight better?").support is Support.UNSUPPORTED
    assert ground("Yes, laptops are allowed.", passages, "Are laptops allowed?").support is Support.WEAK
    assert ground("Laptops are allowed.", passages, "Are laptops allowed?").support is Support.SUPPORTED


def test_sentences_that_add_nothing() -> None:
    question = "What water runs out of the sea?"
    assert adds_nothing("The water runs out of the sea.", [], question)
    assert not adds_nothing("The Rhine runs out of the sea.", [], question)
    assert adds_nothing("It costs 5 points.", ["A late day costs 5 points."])
    assert not adds_nothing("Yes.", [], question)
    assert adds_nothing("352.", [], "How many of the 352 votes are needed?")


def test_a_lead_in_goes() -> None:
    assert without_lead_in("The answer to this question is: the KV cache grows.") == "The KV cache grows."
    assert without_lead_in("The answer is 4.") == "4."
    assert without_lead_in("The answering machine is old.") == "The answering machine is old."


def test_a_verdict_goes_before_the_sentence_that_is_checked() -> None:
    assert without_verdict("No, you have 14 days to request a regrade.") == "You have 14 days to request a regrade."
    assert without_verdict("Yes: because values are not rotated.") == "Values are not rotated."
    assert without_verdict("No exams are held on March 9.") == "No exams are held on March 9."
    assert without_verdict("Yes.") == "Yes."
