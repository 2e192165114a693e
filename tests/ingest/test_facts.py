from pathlib import Path

import pytest

from ingest.facts import CourseFacts, facts_of_file, read_course_facts
from rag.errors import CorpusError

BY_NAME = {
    "lectures/03-transformer.pdf": {"material": "lecture notes", "week": "3"},
    "slides/Week_07_Serving.pptx": {"material": "slides", "week": "7"},
    "Syllabus 2026.docx": {"material": "syllabus"},
    "assignments/hw2_solutions.pdf": {"material": "solution"},
    "homework/hw2.pdf": {"material": "assignment"},
    "labs/lab1-attention.ipynb": {"material": "lab", "week": "1"},
    "transcripts/10-rag.vtt": {"material": "transcript", "week": "10"},
    "notes.txt": {"material": "lecture notes"},
    "data.csv": {},
}


@pytest.mark.parametrize(("source", "facts"), BY_NAME.items(), ids=BY_NAME.keys())
def test_facts_from_names(source: str, facts: dict[str, str]) -> None:
    assert facts_of_file(source, CourseFacts("c", "C"), {}) == facts


def test_the_more_deliberate_word_wins() -> None:
    course = CourseFacts("c", "C", (("lectures/*", {"material": "slides"}),))
    stated = {"week": "9", "material": "Notes", "title": "Attention", "author": "x"}
    assert facts_of_file("lectures/03-x.pdf", course, stated) == {"material": "slides", "week": "9", "title": "Attention"}


def test_course_toml(tmp_path: Path) -> None:
    (tmp_path / "course.toml").write_text(
        '[course]\nname = "optics"\ntitle = "Optics 101"\n'
        '[[material]]\npath = "l/*"\ntype = "Slides"\nlecture = 4\n'
        '[[material]]\npath = "x.md"\ntitle = "X"\n'
    )
    assert read_course_facts(tmp_path) == CourseFacts(
        "optics", "Optics 101", (("l/*", {"material": "slides", "week": "4"}), ("x.md", {"title": "X"}))
    )
    assert read_course_facts(tmp_path, "other").name == "other"


def test_without_course_toml_the_folder_names_the_course(tmp_path: Path) -> None:
    assert read_course_facts(tmp_path / "waves") == CourseFacts("waves", "waves")


@pytest.mark.parametrize(
    ("text", "message"), [("[course", "not valid TOML"), ('[[material]]\npath = "x"\nweek = "two"', "has week 'two'; expected a number")]
)
def test_a_wrong_course_toml_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "course.toml").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_course_facts(tmp_path)
