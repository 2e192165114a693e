"""What a passage says to a golden question, worked out by hand; and examples of a real small course."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tuning.examples
from rag.config import Config
from rag.errors import LecternError
from rag.golden import Golden
from rag.records import EmbedderStamp
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Chunk, Location, LocationKind, Passage
from support import HashingEmbedder
from tuning.examples import Example, LabelledPassage, course_name, label, locate, read_examples, split, store_name

TEXT = "Late work costs 5 points a day. After March 9 nothing is accepted.\n\n| Exam | Date |\n| --- | --- |\n| Midterm | **May 3** |"


def passage(text: str = TEXT, source: str = "syllabus.md") -> Passage:
    return Passage(1, "optics", source, "Syllabus", Chunk(text, 0, len(text), Location(LocationKind.LINE, 1), "Optics › Rules"))


def golden(quote: str, *answers: str, source: str = "syllabus.md", category: str = "fact") -> Golden:
    return Golden("1", "?", True, answers, ({"source": source, "quote": quote},), None, category)


def told(labelled: LabelledPassage | None) -> list[str]:
    assert labelled is not None
    return [labelled.text[start:end] for start, end in labelled.spans]


def test_a_quote_is_found_across_markup_lines_and_cells() -> None:
    assert [TEXT[start:end] for start, end in locate(TEXT, "midterm: May 3")] == ["Midterm | **May 3"]
    assert [TEXT[start:end] for start, end in locate(TEXT, "nothing is   accepted. Exam")] == ["nothing is accepted.\n\n| Exam"]
    assert locate("a b a b a b", "a b") == [(0, 3), (4, 7), (8, 11)]
    assert locate(TEXT, "mid term") == locate(TEXT, "…") == []


def test_the_short_answer_within_the_quote_is_the_span_else_the_quote() -> None:
    quote = "Late work costs 5 points a day."
    assert told(label(passage(), golden(quote, "It costs 5 points.", "5 points"))) == ["5 points"]
    assert told(label(passage(), golden(quote, "A little."))) == ["Late work costs 5 points a day"]
    assert told(label(passage(), golden(quote, "Yes, it costs 5 points a day.", "points", category="yesno"))) == [
        "Late work costs 5 points a day"
    ]


def test_what_must_go_is_the_statement_with_the_answer() -> None:
    labelled = label(passage(), golden("After March 9 nothing is accepted.", "No", "March 9"))
    assert labelled is not None
    assert labelled.hole is not None
    start, end = labelled.hole
    assert TEXT[start:end] == "After March 9 nothing is accepted."
    whole = label(passage("Late work costs 5 points."), golden("Late work costs 5 points", "5 points"))
    assert whole is not None
    assert whole.hole is None


def test_a_passage_that_may_answer_in_part_or_elsewhere_is_no_example_of_one_that_does_not() -> None:
    other = "The labs open at nine and nobody is let in after ten past."
    wanted = golden("Late work costs 5 points a day", "5 points")
    wrong = label(passage(other), wanted)
    assert wrong is not None
    assert (wrong.answers, wrong.relevant, wrong.spans) == (False, False, ())
    assert label(passage(other + " It costs 5 points."), wanted) is None
    assert label(passage("costs 5 points a day, as the rules say"), golden("Late work costs 5 points a day", "little")) is None
    assert label(passage(TEXT, "faq.md"), wanted) is None  # the same words in another document


def test_no_passage_answers_a_question_without_an_answer() -> None:
    labelled = label(passage(), Golden("1", "Who teaches?", False))
    assert labelled == LabelledPassage("Optics › Rules", TEXT, answers=False, relevant=False)


def example(group: str, question: str = "?", answerable: bool = True, by_rule: bool = False) -> Example:
    passage = LabelledPassage("", "", answers=answerable, relevant=answerable)
    return Example(question, (passage,), (), "", group, by_rule)


def sized(**sizes: int) -> list[Example]:
    """So many examples of each group."""
    return [example(group, f"{group}{number}") for group, size in sizes.items() for number in range(size)]


def groups(examples: Sequence[Example]) -> Counter[str]:
    return Counter(one.group for one in examples)


def test_of_five_groups_or_more_whole_ones_are_held_out() -> None:
    examples = sized(a=4, b=4, c=4, d=4, e=4, f=4)
    fit, held, how = split(examples, 1 / 3, seed=1)
    assert (len(fit), len(held), how) == (16, 8, "whole courses held out: 2 of 6")
    assert sorted(groups(held).values()) == [4, 4]
    assert not groups(fit).keys() & groups(held).keys()
    assert split(examples, 1 / 3, seed=1) == (fit, held, how)
    assert len({tuple(groups(split(examples, 1 / 3, seed).validate)) for seed in range(20)}) > 1
    documents = [example(f"optics/{one.group}.md", one.question) for one in examples]
    assert split(documents, 1 / 3, seed=1).how == "whole documents held out: 2 of 6"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("sizes", "share", "held"),
    [
        pytest.param((100, 3, 3, 3, 3), 0.15, {3: 4}, id="12 are nearer to 16.8 than all that holds the large one"),
        pytest.param((1, 1, 1, 1, 1), 0.9, {1: 4}, id="five are no nearer to 4.5"),
        pytest.param((10, 10, 10, 10, 2), 0.01, {2: 1}, id="at least one: the smallest"),
    ],
)
def test_the_share_is_of_the_examples(sizes: tuple[int, ...], share: float, held: dict[int, int], seed: int) -> None:
    examples = sized(**dict(zip("abcde", sizes, strict=True)))
    assert Counter(groups(split(examples, share, seed).validate).values()) == held


def test_never_are_all_groups_held_out() -> None:
    """The large one is drawn last with some of the seeds, and would bring the five others nearer to 94.5."""
    fits = [split(sized(a=100, b=1, c=1, d=1, e=1, f=1), 0.9, seed).fit for seed in range(40)]
    assert {len(groups(fit)) for fit in fits} == {1, 2, 3, 4, 5}
    assert any(groups(fit).keys() == {"a"} for fit in fits), "drawn last, and left"


def test_of_fewer_groups_questions_of_each_kind_are_held_out() -> None:
    kinds = [("a", True)] * 10 + [("a", False)] * 4 + [("b", True)] * 2 + [("b", False)]
    examples = [example(group, str(number), answerable) for number, (group, answerable) in enumerate(kinds)]
    fit, held, how = split(examples, 0.2, seed=0)
    assert Counter((one.group, one.passages[0].answers) for one in held) == {("a", True): 2, ("a", False): 1, ("b", True): 1}
    assert how == "questions held out from each of 2 courses"
    assert sorted(int(one.question) for one in [*fit, *held]) == list(range(17))
    assert split(examples[:14], 0.2, seed=0).how == "questions held out from the only course"
    assert len(split(sized(a=2), 0.9, seed=0).fit) == 1, "never all of a kind"
    with pytest.raises(LecternError, match="1 questions that are not by rule are too few to hold some out"):
        split(examples[-1:], 0.2, seed=0)


def test_examples_by_rule_never_validate_nor_tell_of_documents_that_are_held_out() -> None:
    by_rule = [example(group, f"{group} by rule {number}", by_rule=True) for group in "abcde" for number in range(3)]
    fit, held, how = split([*sized(a=2, b=2, c=2, d=2, e=2), *by_rule], 0.2, seed=0)
    assert (len(held), len(fit), how) == (2, 4 * 2 + 4 * 3, "whole courses held out: 1 of 5; 3 questions by rule on them are left out")
    assert not any(one.by_rule for one in held)
    assert not groups(fit).keys() & groups(held).keys()
    fit, held, _ = split([*sized(a=10), *by_rule], 0.2, seed=0)
    assert (len(held), len(fit)) == (2, 8 + 15), "courses by rule are no groups to hold out"
    with pytest.raises(LecternError, match="0 questions that are not by rule are too few to hold some out"):
        split(by_rule, 0.2, seed=0)


RULES = "# Rules\n\nLate work costs 5 points a day.\n\n# Rooms\n\nThe lab is in room 12.\n"
LATE = {
    "id": "1",
    "question": "What does late work cost?",
    "answers": ["5 points"],
    "relevant": [{"source": "rules.md", "quote": "costs 5 points a day"}],
}


def write_course(folder: Path, *questions: Mapping[str, Any], rules: str = RULES) -> Path:
    folder.mkdir(parents=True)
    (folder / "rules.md").write_text(rules)
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return folder


def read(folders: Sequence[Path], store: Path, embedder: HashingEmbedder | None = None, **others: Any) -> list[Example]:
    return read_examples(folders, store, embedder or HashingEmbedder(), Config(store=store.parent / "unused", reader="none"), **others)


def told_spans(one: Example) -> list[str]:
    return [passage.text[start:end] for passage in one.passages for start, end in passage.spans]


def test_examples_are_what_the_search_finds_in_a_course_and_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    lost = {"id": "3", "question": "Where is the lab?", "answers": ["room 13"], "relevant": [{"source": "rules.md", "quote": "room 13"}]}
    course = write_course(
        tmp_path / "optics",
        LATE,
        {"id": "2", "question": "Who teaches the lab?", "answerable": False},
        lost,
        {"id": "4", "question": "Is there a lab?", "answers": ["yes"]},
        LATE | {"id": "5", "scope": "other.md"},
        LATE | {"id": "6", "question": "How much is late work?", "scope": "other.md"},
    )
    (course / "other.md").write_text("# Other\n\nNothing of importance is told here.\n")
    lines: list[str] = []
    first, second = read([course], tmp_path / "store", notify=lines.append)
    assert first.question == "What does late work cost?"
    assert told_spans(first) == ["5 points"]
    assert second.passages
    assert not any(one.answers for one in second.passages)
    assert first.group == second.group == course_name(course), "some questions are about the whole course"
    assert lines == [
        "4 of 6 questions cannot be learnt from: 1 without a quote, 1 whose quote stands in no passage of its document, "
        "2 whose passage is not among the first 20 found"
    ]
    (course / "questions.jsonl").write_text(json.dumps(lost))
    with pytest.raises(LecternError, match="no question of .* can be used"):
        read([course], tmp_path / "store")


def test_a_question_that_finds_nothing_is_no_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = write_course(tmp_path / "optics", LATE, {"id": "2", "question": "Who teaches the lab?", "answerable": False})
    found = Searcher.search
    monkeypatch.setattr(Searcher, "search", lambda self, asked, scope: [] if "Who" in asked.text else found(self, asked, scope))
    lines: list[str] = []
    (only,) = read([course], tmp_path / "store", notify=lines.append)
    assert only.question == "What does late work cost?"
    assert lines == ["1 of 2 questions cannot be learnt from: 1 for which no passage was found that certainly does not answer"]


def test_where_every_question_is_about_a_document_each_is_a_group(tmp_path: Path) -> None:
    course = write_course(tmp_path / "optics", LATE | {"scope": "rules.md"})
    assert [one.group for one in read([course], tmp_path / "store")] == [f"{course_name(course)}/rules.md"]


def test_a_store_takes_other_folders_other_orders_and_equal_names(tmp_path: Path) -> None:
    five = write_course(tmp_path / "a" / "optics", LATE)
    nine = write_course(
        tmp_path / "b" / "optics",
        LATE | {"answers": ["9 points"], "relevant": [{"source": "rules.md", "quote": "costs 9 points a day"}]},
        rules=RULES.replace("5", "9"),
    )
    link = tmp_path / "link"
    link.symlink_to(nine)
    store = tmp_path / "store"
    assert [told_spans(one) for one in read([five, nine], store)] == [["5 points"], ["9 points"]]
    assert [told_spans(one) for one in read([nine, five], store)] == [["9 points"], ["5 points"]]
    assert [told_spans(one) for one in read([link, nine], store)] == [["9 points"]], "one folder, named twice"
    assert course_name(link) == course_name(nine) != course_name(five)
    (kept,) = store.iterdir()
    assert [course.name for course in Store(kept).courses()] == sorted([course_name(five), course_name(nine)])


class OtherRevision(HashingEmbedder):
    identity = ("hashing", "2")
    stamp = EmbedderStamp("hashing", "2", 256)


def test_each_revision_of_an_embedder_has_a_store_of_its_own(tmp_path: Path) -> None:
    course = write_course(tmp_path / "optics", LATE)
    for embedder in (HashingEmbedder(), OtherRevision(), HashingEmbedder()):
        assert len(read([course], tmp_path / "store", embedder)) == 1
    names = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert names == sorted([store_name(HashingEmbedder()), store_name(OtherRevision())])
    assert all(name.startswith("hashing-") for name in names)


def test_a_folder_may_be_learnt_from_both_by_its_questions_and_by_rule(tmp_path: Path) -> None:
    table = "\n# Sizes\n\n| System | Page size |\n| --- | --- |\n| Small board | 4 KiB |\n| Server | 64 KiB |\n"
    course = write_course(tmp_path / "optics", LATE, rules=RULES + table)
    examples = read([course], tmp_path / "store", by_rule=[course])
    made = {one.question: one.by_rule for one in examples}
    assert made["What does late work cost?"] is False
    assert made["What is the page size of Server?"] is True
    assert sum(not by_rule for by_rule in made.values()) == 1
    assert {one.group for one in examples} == {course_name(course)}


def test_lines_are_told_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(tuning.examples, "time", SimpleNamespace(monotonic=lambda: now))
    lines: list[str] = []
    tell = tuning.examples._at_intervals(lines.append)
    for now in (101.0, 114.9, 115.0, 116.0, 129.9, 131.0):
        tell(f"{now}")
    assert lines == ["115.0", "131.0"]


def test_progress_is_told_of_documents_and_of_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.examples, "LINE_EVERY_S", 0.0)
    lines: list[str] = []
    read([write_course(tmp_path / "optics", LATE)], tmp_path / "store", notify=lines.append)
    assert lines == ["course 1 of 1: 1 of 1 documents read and indexed", "course 1 of 1: indexed", "1 of 1 questions searched for"]
