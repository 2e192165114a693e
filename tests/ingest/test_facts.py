from pathlib import Path

import pytest

from ingest.facts import CourseFacts, facts_of_file, read_course_facts
from ingest.readers.code import SOURCE_SUFFIXES
from rag.errors import CorpusError, UnreadableDocument

BY_NAME = {
    "lectures/03-transformer.pdf": {"material": "lecture notes", "week": "3"},
    "slides/Week_07_Serving.pptx": {"material": "slides", "week": "7"},
    "Syllabus 2026.docx": {"material": "syllabus"},
    "assignments/hw2_solutions.pdf": {"material": "solution"},
    "homework/hw2.pdf": {"material": "assignment"},
    "labs/lab1-attention.ipynb": {"material": "lab", "week": "1"},
    "transcripts/10-rag.vtt": {"material": "transcript", "week": "10"},
    "notes.txt": {"material": "lecture notes"},
    "data.csv": {"material": "data"},
    "week3/lecture-05.pdf": {"material": "lecture notes", "week": "3", "lecture": "5"},
    "lecture05/wk_3.pdf": {"material": "lecture notes", "week": "3", "lecture": "5"},
    "Lec 12 Trees.pdf": {"material": "lecture notes", "week": "12", "lecture": "12"},
    "class-2.pdf": {"week": "2", "lecture": "2"},
    "IntroSession3.pdf": {"week": "3", "lecture": "3"},
    "elec12.pdf": {},
    "research-3.pdf": {},
    "unit4/chapter_11.pdf": {"material": "lecture notes", "week": "4"},
    "2024-09-03-intro.pdf": {"date": "2024-09-03"},
    "lecture_20240903.pdf": {"material": "lecture notes", "date": "2024-09-03"},
    "2023-01-01/notes 2024_09_03.md": {"material": "lecture notes", "date": "2024-09-03"},
    "20241399.pdf": {},
    "03-09-2024.pdf": {},
    "lectures/05-sort.py": {"material": "code", "week": "5"},
    "labs/lab2/sort.py": {"material": "lab", "week": "2"},
    "homework/hw1/data.json": {"material": "assignment"},
    "slides/config.yaml": {"material": "slides"},
    "deck.odp": {"material": "slides"},
}


@pytest.mark.parametrize(("source", "facts"), BY_NAME.items(), ids=BY_NAME.keys())
def test_facts_from_names(source: str, facts: dict[str, str]) -> None:
    assert facts_of_file(source, CourseFacts("c", "C"), {}) == facts


def test_the_more_deliberate_word_wins() -> None:
    course = CourseFacts("c", "C", (("lectures/*", {"material": "slides"}),))
    stated = {"week": "9", "material": "Notes", "title": "Attention", "author": "x"}
    assert facts_of_file("lectures/03-x.pdf", course, stated) == {"material": "slides", "week": "9", "title": "Attention"}


@pytest.mark.parametrize("suffix", SOURCE_SUFFIXES)
def test_source_code_is_code(suffix: str) -> None:
    assert facts_of_file(f"x/a{suffix.upper()}", CourseFacts("c", "C"), {}) == {"material": "code"}


@pytest.mark.parametrize(
    ("source", "stated", "numbers"),
    [
        ("week3.md", {"lecture": "7"}, {"week": "3", "lecture": "7"}),
        ("03-x.md", {"lecture": "7"}, {"week": "7", "lecture": "7"}),
        ("lecture2.md", {"week": "05"}, {"week": "5", "lecture": "2"}),
        ("03-x.md", {"week": "five", "lecture": "-"}, {"week": "3"}),
    ],
    ids=["week of the name", "lecture before a mere number", "week of the text", "no numbers"],
)
def test_week_and_lecture(source: str, stated: dict[str, str], numbers: dict[str, str]) -> None:
    facts = facts_of_file(source, CourseFacts("c", "C"), stated)
    assert {key: facts[key] for key in ("week", "lecture") if key in facts} == numbers


DATES = {
    "2024-09-03": "2024-09-03",
    "2024-09-03T10:00:00+02:00": "2024-09-03",
    "20240903": "2024-09-03",
    "2024/09/03": "2024-09-03",
    "Sept 3, 2024": "2024-09-03",
    "September 3rd 2024": "2024-09-03",
    "Tuesday, September 3, 2024": "2024-09-03",
    "3 September  2024": "2024-09-03",
    "3. May 2024": "2024-05-03",
    "Tue 3-Sep-2024": "2024-09-03",
    "3rd of Sept., 2024": "2024-09-03",
    "03.09.2024": "2024-09-03",
    "3. 9. 2024": "2024-09-03",
    "25/04/2024": "2024-04-25",
    "04/25/2024": "2024-04-25",
    "04/04/2024": "2024-04-04",
    "03/04/2024": "03/04/2024",
    "29 February 2023": None,
    "31.02.2024": None,
    "25/25/2024": None,
    "Sepia 3, 2024": None,
    "Fall 2024": None,
    "3 September": None,
    "week 3": None,
    "": None,
}


@pytest.mark.parametrize(("text", "normal"), DATES.items(), ids=DATES)
def test_dates_are_normalised_or_left_out(text: str, normal: str | None) -> None:
    facts = facts_of_file("a.md", CourseFacts("c", "C"), {"date": text, "due": text})
    assert facts == ({"date": normal, "due": normal} if normal else {})


def test_course_toml(tmp_path: Path) -> None:
    (tmp_path / "course.toml").write_text(
        '[course]\nname = "optics"\ntitle = "Optics 101"\n'
        '[[material]]\npath = "l/*"\ntype = "Slides"\nlecture = 4\n'
        '[[material]]\npath = "x.md"\ntitle = "X"\ndate = 2026-09-03\ndue = 2026-09-20T23:59:00\n'
    )
    assert read_course_facts(tmp_path) == CourseFacts(
        "optics",
        "Optics 101",
        (
            ("l/*", {"material": "slides", "lecture": "4"}),
            ("x.md", {"title": "X", "date": "2026-09-03", "due": "2026-09-20"}),
        ),
    )
    assert facts_of_file("l/a.pdf", read_course_facts(tmp_path), {}) == {"material": "slides", "week": "4", "lecture": "4"}
    assert read_course_facts(tmp_path, "other").name == "other"


def test_without_course_toml_the_folder_names_the_course(tmp_path: Path) -> None:
    assert read_course_facts(tmp_path / "waves") == CourseFacts("waves", "waves")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[course", "not valid TOML"),
        ('[[material]]\npath = "x"\nweek = "two"', "the entry for x has week 'two'; expected a number"),
        ('[[material]]\npath = "x"\nlecture = 1.5', "the entry for x has lecture '1.5'; expected a number"),
        ('[[material]]\npath = "x"\ndate = "Fall"', r"course\.toml: the entry for x has date 'Fall'; expected a date such as 2024-09-03"),
        ('[[material]]\npath = "x"\ndue = 23:59:00', "has due '23:59:00'; expected a date"),
    ],
)
def test_a_wrong_course_toml_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "course.toml").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_course_facts(tmp_path)


def test_moments_and_languages_are_brought_into_one_form(tmp_path: Path) -> None:
    (tmp_path / "course.toml").write_text(
        '[course]\nlanguage = "en-US"\n[[material]]\npath = "a.md"\nvisible = 2024-10-01T09:00:00-04:00\nlanguage = "DE"\n'
    )
    course = read_course_facts(tmp_path)
    assert facts_of_file("a.md", course, {"visible": "soon"}) == {"visible": "2024-10-01T13:00:00+00:00", "language": "de"}
    assert facts_of_file("b.md", course, {"language": "Klingon"}) == {"language": "en"}
    assert facts_of_file("b.md", course, {"language": "es"}) == {"language": "es"}


def test_a_file_that_says_in_unclear_words_when_it_may_be_seen_is_not_taken() -> None:
    with pytest.raises(UnreadableDocument, match=r"visible 'soon' in its front matter; expected a date or time such as 2024-10-01"):
        facts_of_file("a.md", CourseFacts("c", "C"), {"visible": "soon"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[material]]\npath = "a.md"\nvisible = "soon"\n',
            "the entry for a.md has visible 'soon'; expected a date or time such as 2024-10-01",
        ),
        ('[course]\nlanguage = "German"\n', r"\[course\] has language 'German'; expected a two-letter code"),
    ],
)
def test_a_moment_or_language_that_is_none_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "course.toml").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_course_facts(tmp_path)
