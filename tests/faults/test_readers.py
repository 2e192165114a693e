"""Sixteen readers search while a writer publishes fifty times: none finds a wrong hit, all end at the newest generation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from faults.audit import faults_against_folder, faults_of_store
from faults.conftest import ChangingCourse, Victims, times
from support import ROOT

PROCESSES, THREADS = 2, 8


def test_sixteen_readers_through_fifty_publishes(victims: Victims, course: ChangingCourse, tmp_path: Path) -> None:
    store = tmp_path / "store"
    victims.ingest(course.folder, store)
    readers = [_start(store) for _ in range(PROCESSES)]
    for _ in range(times(in_ci=50)):
        course.change()
        assert victims.ingest(course.folder, store)["status"] == 0
    for reader in readers:
        said = json.loads(reader.communicate()[0])
        print(said)
        assert said["faults"] == []
        assert said["searches"] > 100
        assert said["generations"] > 10, "they must have seen publishes"
    assert faults_of_store(store) + faults_against_folder(store, course.folder) == []


def _start(store: Path) -> subprocess.Popen[str]:
    reader = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("reader.py")), str(store), str(THREADS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    return reader
