"""Two ingests of one store at once: one works, the other one stops and names it, or follows it; never both at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.audit import faults_against_folder, faults_of_store
from faults.conftest import ChangingCourse, Victims, times


@pytest.fixture
def others() -> Iterator[Victims]:
    server = Victims()
    yield server
    server.close()


def test_pairs_of_writers(victims: Victims, others: Victims, course: ChangingCourse, tmp_path: Path) -> None:
    store, refused = tmp_path / "store", 0
    for attempt in range(times(in_ci=50)):
        course.change()
        pause_s = 0.5 if attempt % 5 == 0 else 0.0  # longer than the second one waits
        victims.begin(course.folder, store, pause_s=pause_s)
        others.begin(course.folder, store, pause_s=pause_s)
        ends = [victims.end(), others.end()]
        assert 0 in [end["status"] for end in ends], (attempt, ends)
        for end in ends:
            if end["status"] != 0:
                refused += 1
                assert "another ingest is writing" in end["said"], attempt
                assert "process " in end["said"], attempt
        assert faults_of_store(store) + faults_against_folder(store, course.folder) == [], attempt
    assert refused > times(in_ci=50) // 10
    print(f"{refused} of {times(in_ci=50)} second writers were refused, the others came after the first")
