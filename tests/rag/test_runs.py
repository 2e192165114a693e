import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.config import ACCESS, OF_THE_PAGE, Config
from rag.engine import Engine
from rag.errors import LecternError
from rag.evaluate import Evaluation, Judged, evaluate
from rag.golden import Golden, QuestionSet
from rag.runs import Run, compare, load_run, make_run, make_setting, named_run_path, paired_difference, run_path, run_paths, save_run
from rag.types import Scope
from support import HashingEmbedder


def run(name: str, figures: dict[str, dict[str, float]], **setting: object) -> Run:
    return make_run(name, Evaluation([Judged(Golden(key, f"{key}?"), one) for key, one in figures.items()]), setting)


def test_a_difference_by_hand() -> None:
    found = paired_difference([0.0, 0.0, 0.0, 0.5], [1.0, 1.0, 1.0, 0.5])
    assert (found.before, found.after, found.mean) == (0.125, 0.875, 0.75)
    assert (found.rose, found.fell, found.same) == (3, 0, 1)
    assert found.p == 0.25  # of the 8 patterns of signs one has so high a sum; twice that
    assert (found.low, found.high) == (0.25, 1.0)


def test_signs_that_cancel_out_are_no_evidence() -> None:
    # of the 8 patterns, 4 have a sum of at least 1
    found = paired_difference([0, 0, 1], [1, 1, 0])
    assert found.mean == pytest.approx(1 / 3)
    assert (found.p, found.rose, found.fell) == (1.0, 2, 1)


def test_equal_runs_have_no_difference() -> None:
    found = paired_difference([0.2, 0.7], [0.2, 0.7])
    assert (found.mean, found.low, found.high, found.p, found.same) == (0, 0, 0, 1, 2)


def test_many_questions_are_drawn_instead_of_counted() -> None:
    # 40 of 40 rose: no drawn pattern reaches that, and the observed one counts as drawn: 2 × 1 / 10,000
    assert paired_difference([0.0] * 40, [1.0] * 40).p == pytest.approx(0.0002)


PAIRS = st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.0, 0.5, 1.0))), min_size=1, max_size=8)


@given(pairs=PAIRS)
def test_the_other_way_round_only_the_signs_change(pairs: list[tuple[float, float]]) -> None:
    before, after = zip(*pairs, strict=True)
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.mean == -back.mean
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (there.p, there.rose, there.fell, there.same) == (back.p, back.fell, back.rose, back.same)
    assert there.low <= there.high
    assert there.rose + there.fell + there.same == len(pairs)


def test_runs_are_compared_over_the_questions_that_both_hold() -> None:
    before = run("a", {"1": {"mrr@10": 0.5, "hit@5": 1.0}, "2": {"mrr@10": 1.0}, "9": {"mrr@10": 0.0}}, course="c", half=None)
    after = run("b", {"1": {"mrr@10": 1.0}, "2": {"mrr@10": 1.0}, "8": {"mrr@10": 1.0}}, course="c", half="odd")
    found = compare(before, after)
    assert (found.questions, found.only_before, found.only_after) == (2, 1, 1)
    assert found.measures.keys() == {"mrr@10"}
    assert (found.measures["mrr@10"].before, found.measures["mrr@10"].after) == (0.75, 1.0)
    assert found.settings == {"half": (None, "odd")}
    assert found.table().splitlines() == [
        "a → b, 2 questions that both hold",
        "  left out: 1 questions of a alone, 1 of b alone",
        "mrr@10                 0.750 → 1.000  +0.250 [+0.000, +0.500] p=1.0000  rose 1, fell 0, same 1",
        "  half: None → 'odd'",
    ]
    assert found.to_json()["settings"] == {"half": (None, "odd")}


def test_the_same_id_with_other_words_is_another_question() -> None:
    other = replace(run("b", {"1": {"mrr@10": 1.0}}), results=[replace(run("b", {"1": {}}).results[0], question="something else?")])
    with pytest.raises(LecternError, match="a and b have no question in common"):
        compare(run("a", {"1": {"mrr@10": 1.0}}), other)


def test_an_id_that_stands_twice_is_an_error() -> None:
    twice = Evaluation([Judged(Golden("7", "x?")), Judged(Golden("7", "y?"))])
    with pytest.raises(LecternError, match="the id '7' stands twice"):
        make_run("a", twice, {})


def test_a_run_is_saved_whole_and_without_the_text_of_the_materials(engine: Engine, tmp_path: Path) -> None:
    golden = Golden("1", "Why is it blurred?", relevant=({"source": "notes/week02-lenses.md", "quote": "marginal rays meet closer"},))
    evaluation = evaluate([golden], lambda one: engine.searcher.search(one.question, Scope("optics")))
    store = engine.searcher.store
    questions = QuestionSet(Path("q.jsonl"), "ab12", [golden])
    setting = make_setting(engine.config, "optics", questions, engine.searcher.embedder.stamp, store.revision(), half=None)
    made = make_run("first", evaluation, setting)
    path = run_path("first", store.directory)
    assert path == store.directory / "runs" / "first.json"
    save_run(made, path)
    assert load_run(path) == made
    assert [file.name for file in path.parent.iterdir()] == ["first.json"]
    (result,) = made.results
    assert result.figures["mrr@10"] == 1.0
    hit = result.hits[0]
    assert (hit["source"], hit["location"]) == ("notes/week02-lenses.md", {"kind": "heading"})
    assert store.document_text("optics", hit["source"])[hit["start"] : hit["end"]].endswith("meet closer to the lens.")
    assert not any(word in path.read_text() for word in ("Aberration", "meet closer", "midterm"))
    assert (setting["config.dense_weight"], setting["config.store"]) == (engine.config.dense_weight, str(store.directory))
    assert (setting["questions_sha256"], setting["embedder"]) == ("ab12", "hashing 1 (256-d)")
    assert setting["revision"] == store.revision()
    assert len(setting["code"]) == 12


def test_a_name_stands_for_one_run(tmp_path: Path) -> None:
    path = run_path("a", tmp_path)
    save_run(run("a", {"1": {"mrr@10": 1.0}}), path)
    with pytest.raises(LecternError, match=r"a\.json already; save under another name"):
        save_run(run("a", {"1": {"mrr@10": 0.0}}), path)
    assert load_run(path).results[0].figures == {"mrr@10": 1.0}
    with pytest.raises(LecternError, match=r"there is no run .*b\.json; those beside it: a;"):
        load_run(run_path("b", tmp_path))


def test_a_run_may_be_a_file_anywhere(tmp_path: Path) -> None:
    assert run_path("a.json", tmp_path) == Path("a.json")
    assert run_path("runs/a", tmp_path) == Path("runs/a")
    for name in ("", "..", "a b", ".a"):
        with pytest.raises(LecternError, match="is no name for a run"):
            run_path(name, tmp_path)


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for content in ("{", "[]", '{"format": 0}', json.dumps({"format": 2})):
        file.write_text(content)
        with pytest.raises(LecternError, match="is no saved run"):
            load_run(file)
    (tmp_path / "folder").write_text("")
    with pytest.raises(LecternError, match="cannot be written to"):
        save_run(run("a", {}), tmp_path / "folder" / "a.json")


def test_every_setting_is_kept() -> None:
    setting = make_setting(Config(), "c", QuestionSet(Path("q"), "", []), HashingEmbedder.stamp, 3)
    assert {f"config.{name}" for name in Config.__dataclass_fields__ if name not in ACCESS + OF_THE_PAGE} <= setting.keys()
    assert not [name for name in ACCESS + OF_THE_PAGE if f"config.{name}" in setting]
    assert json.loads(json.dumps(setting)) == setting


@pytest.mark.parametrize("name", ["", "../outside", "/etc/passwd", "a/b", ".hidden", "a b", "other.json", "a\n", "x" * 81])
def test_a_name_leads_nowhere_but_below_the_store(name: str, tmp_path: Path) -> None:
    with pytest.raises(LecternError, match="is no name for a run"):
        named_run_path(name, tmp_path)


def test_runs_of_a_store_are_listed_newest_first(tmp_path: Path) -> None:
    assert run_paths(tmp_path) == []
    for age, name in enumerate(("base", "v1.2")):
        path = named_run_path(name, tmp_path)
        save_run(run(name, {"a": {"mrr@10": 1.0}}), path)
        os.utime(path, ns=(age, age))
    assert [path.name for path in run_paths(tmp_path)] == ["v1.2.json", "base.json"]
