"""`benchmarks/course_data.py`: which courses are taken, and its rows. Its fits take minutes each; docs/fitted.md has what they gave."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from support import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("benchmarks/course_data.py")


def test_fewer_courses_are_some_of_more(script: ModuleType) -> None:
    courses = [Path(str(number)) for number in range(84)]
    assert script.some_of(courses, 0) == []
    assert script.some_of(courses, 84) == courses
    assert script.some_of(courses, 21) == courses[::4]
    assert script.some_of(courses, 42) == courses[::2]
    with pytest.raises(SystemExit, match=r"85 courses are wanted of 84; name fewer in --courses"):
        script.some_of(courses, 85)


def test_a_fit_that_has_ended_is_told_of_and_not_made_again(script: ModuleType, tmp_path: Path) -> None:
    before, after = {"auroc": 0.5, "mrr": 0.25, "found": 0.0}, {"auroc": 1.0, "mrr": 0.625, "found": 0.375}
    (tmp_path / script.ENDED).write_text(json.dumps({"before": before, "after": after, "task": "reader"}), "utf-8")
    measures = script.fit([], tmp_path / "none", 240, tmp_path / "none", tmp_path)
    assert measures == {"before": before, "after": after}
    assert script.row("the articles and 21 courses", "240", after) == "| the articles and 21 courses | 240 | 1.000 | .625 | .375 |"
