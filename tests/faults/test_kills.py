"""SIGKILL during an ingest, at random moments and before every single write, then what a reader and the next run find."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path
from statistics import median

from faults.audit import faults_against_folder, faults_of_store
from faults.conftest import ChangingCourse, Victims, times

KILLED = -signal.SIGKILL


def test_killed_at_random_moments(victims: Victims, course: ChangingCourse, tmp_path: Path) -> None:
    store = tmp_path / "store"
    usual = []
    for _ in range(3):
        usual.append(victims.ingest(course.folder, store)["seconds"])
        course.change()
    chance, killed, attempts = random.Random(4), 0, 0
    while killed < times(in_ci=60):
        attempts += 1
        course.change()
        killed += victims.ingest(course.folder, store, after_s=chance.uniform(0, median(usual)))["status"] == KILLED
        assert faults_of_store(store) == [], attempts
        assert victims.ingest(course.folder, store)["status"] == 0, attempts
        assert faults_of_store(store) + faults_against_folder(store, course.folder) == [], attempts
        assert attempts < 10 * times(in_ci=60), "the victims end before they can be killed"
    print(f"{killed} ingests killed in {attempts} attempts, each followed by a whole one")


def test_killed_before_every_write(victims: Victims, course: ChangingCourse, tmp_path: Path) -> None:
    before = tmp_path / "before"
    victims.ingest(course.folder, before)
    _change_in_every_way(course.folder)
    time.sleep(2.1)  # so that the files have fingerprints, which are written too
    counted = tmp_path / "counted"
    shutil.copytree(before, counted)
    points = victims.ingest(course.folder, counted, count=True)["points"]
    assert points > 40
    for point in range(1, points + 1):
        store = tmp_path / "store"
        shutil.copytree(before, store)
        assert victims.ingest(course.folder, store, at_point=point)["status"] == KILLED, point
        assert faults_of_store(store) == [], point
        assert victims.ingest(course.folder, store)["status"] == 0, point
        assert faults_of_store(store) + faults_against_folder(store, course.folder) == [], point
        shutil.rmtree(store)
    shutil.copytree(before, store)
    assert victims.ingest(course.folder, store, at_point=points + 1)["status"] == 0, "there is no write after the last one"
    print(f"killed before each of {points} writes")


def _change_in_every_way(folder: Path) -> None:
    first, second, third, fourth, *_ = sorted(folder.glob("*.md"))
    first.write_text("# Edited\n\nTopic3 bends light no more.\n")
    second.unlink()
    third.rename(folder / "renamed.md")
    (folder / "copy.md").write_bytes(fourth.read_bytes())
    (folder / "broken.ipynb").write_text("{ no notebook")
