from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.pipeline import ingest_course
from rag.answer import answer
from rag.config import Config
from rag.engine import Engine
from rag.interpret import Interpreter
from rag.moments import ANY
from rag.retrieve import Searcher
from rag.store import Store
from rag.text import words
from rag.types import Scope
from support import HashingEmbedder

ENGLISH = frozenset("bright center light bend grade image".split())
OPTICS = Scope("optics")


@pytest.fixture
def interpreter(engine: Engine) -> Interpreter:
    return Interpreter(engine.searcher.store, ENGLISH.__contains__)


CORRECTED = {
    "How much does the mitderm count?": "How much does the midterm count?",
    "Midtrm weight": "Midterm weight",
    "what is sperical aberation": "what is spherical aberration",  # one edit, and two in a long word
    "why are the rasy not bent": "why are the rays not bent",
}


@pytest.mark.parametrize("question", CORRECTED)
def test_spelling_is_corrected_to_words_of_the_course(interpreter: Interpreter, question: str) -> None:
    assert interpreter.interpret(question, OPTICS).text == CORRECTED[question]


LEFT_ALONE = {
    "a word of the course": "How much does the midterm count?",
    "another form of one": "Which blurring is accepted?",
    "an agent where there is the deed": "Who is the accepter of late work?",
    "a word of the language": "Is a bright image graded? How do grades bend?",
    "a code": "What is MIDTRM or midtrm2?",
    "in code": "What does optics.midtrm or `midtrm` or midtrm() return?",
    "a contraction": "dont wont cant",
    "a short word": "What is a ryas or lns?".replace("ryas", "ray"),
    "two edits in a short word": "What is foucsd?",
    "another script": "期中考试 μέσο",
    "nothing": "???",
}


@pytest.mark.parametrize("question", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_what_is_no_error_is_left_alone(interpreter: Interpreter, question: str) -> None:
    found = interpreter.interpret(question, OPTICS)
    assert (found.text, found.corrections, found.notices) == (question, (), ())


def test_a_correction_is_told_and_the_word_as_written_is_searched_too(interpreter: Interpreter) -> None:
    found = interpreter.interpret("Midtrm or deadlin?", OPTICS)
    assert found.notices == ("searched for “Midterm” (you wrote “Midtrm”)",)
    assert words(found.lexical) == ["midterm", "or", "deadlin", "midtrm"]
    assert found.dense == "Midterm or deadlin?"


def test_the_commoner_of_equally_near_words_is_taken_and_swapped_letters_come_first(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "a.md").write_text("Grape, grade, grade and percent. Prevent, prevent, prevent.")
    ingest_course(folder, store, HashingEmbedder(), Config())
    interpreter = Interpreter(store, lambda _: False)
    assert interpreter.interpret("graqe precent", Scope("course")).text == "grade percent"


def test_a_word_that_the_scope_does_not_see_is_not_told(interpreter: Interpreter) -> None:
    assert interpreter.interpret("mitderm", Scope("optics", path="notes")).text == "mitderm"
    assert interpreter.interpret("mitderm", Scope("optics", path="syllabus.md")).text == "midterm"


def test_a_word_of_hidden_material_is_not_told(
    engine: Engine, course_folder: Path, store: Store, embedder: HashingEmbedder, interpreter: Interpreter
) -> None:
    (course_folder / "exam.md").write_text("---\nvisible: 2100-01-01\n---\n\nThe zanzibar question.\n")
    ingest_course(course_folder, store, embedder, engine.config)
    assert interpreter.interpret("zanzibra", OPTICS).text == "zanzibra"
    assert interpreter.interpret("zanzibra", Scope("optics", at=ANY)).text == "zanzibar"


def test_words_ingested_since_are_known(
    engine: Engine, course_folder: Path, store: Store, embedder: HashingEmbedder, interpreter: Interpreter
) -> None:
    assert interpreter.interpret("mikroscope", OPTICS).text == "mikroscope"
    (course_folder / "tools.md").write_text("The microscope has two lenses.\n")
    ingest_course(course_folder, store, embedder, engine.config)
    assert interpreter.interpret("mikroscope", OPTICS).text == "microscope"


def test_short_forms_of_students_are_searched_in_full(interpreter: Interpreter) -> None:
    found = interpreter.interpret("When are the TAs' OH?", OPTICS)
    assert found.expansions == ("teaching assistants", "office hours")
    assert found.text == "When are the TAs' OH?"


def test_the_language_of_a_question_is_one_of_its_scope(
    engine: Engine, course_folder: Path, store: Store, embedder: HashingEmbedder, interpreter: Interpreter
) -> None:
    assert interpreter.interpret("Wann ist die Prüfung?", OPTICS).language is None
    (course_folder / "de").mkdir()
    (course_folder / "de" / "a.md").write_text("---\nlanguage: de\n---\n\nDie Prüfung ist im März.\n")
    (course_folder / "en.md").write_text("---\nlanguage: en\n---\n\nThe exam is in March.\n")
    ingest_course(course_folder, store, embedder, engine.config)
    asked = ("Wann ist die Prüfung im Sommer?", "When is the exam in summer?")
    assert [interpreter.interpret(question, OPTICS).language for question in asked] == ["de", "en"]
    assert [interpreter.interpret(question, Scope("optics", path="de")).language for question in asked] == ["de", "de"]


KNOWN = "midterm counts grade late work points lens focal length light rays image".split()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.sampled_from(KNOWN), min_size=1))
def test_a_question_of_known_words_stays_as_it_is(interpreter: Interpreter, chosen: list[str]) -> None:
    question = " ".join(chosen)
    assert interpreter.interpret(question, OPTICS).text == question


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    question=st.text(alphabet="adeilmnrst AM'’.-3(", max_size=40)
    | st.lists(st.sampled_from([*KNOWN, "mitderm", "lenz", "Ryas"])).map(" ".join)
)
def test_no_word_of_a_question_is_lost(interpreter: Interpreter, question: str) -> None:
    assert set(words(question)) <= set(words(interpreter.interpret(question, OPTICS).lexical))


class Splitting(HashingEmbedder):
    """Knows no word: each is two pieces to it."""

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [2 * len(text.split()) for text in texts]


@pytest.fixture
def splitting(store: Store, course_folder: Path) -> Engine:
    embedder, config = Splitting(), Config(store=store.directory, confidence_floor=0.0)
    ingest_course(course_folder, store, embedder, config)
    return Engine(Searcher(store, embedder, config), None, config)


def test_an_answer_tells_what_was_searched_for(splitting: Engine) -> None:
    answered = answer("How much does the mitderm count?", OPTICS, splitting)
    assert answered.sources[0].passage.source == "syllabus.md"
    assert "searched for “midterm” (you wrote “mitderm”)" in answered.notices
    assert (answered.question, answered.standalone) == ("How much does the mitderm count?", "How much does the midterm count?")


def test_a_search_by_both_legs_gets_over_an_error(splitting: Engine) -> None:
    first = splitting.searcher.search("aberation", OPTICS)[0]
    assert first.passage.chunk.location.heading == ("Lenses", "Aberration")
    assert first.bm25 is not None
    assert first.similarity > 0.2  # without the correction no word is shared, and it is 0.00
