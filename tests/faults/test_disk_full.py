"""A full disk stops writing early and never stops reading. On a small file system of its own, in a mount namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT


def _namespace() -> list[str] | None:
    """The command under which a process may mount a file system that only it sees; None where that is not allowed."""
    for command in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        mounting = [*command, "mount", "-t", "tmpfs", "none", "/mnt"]
        if shutil.which("unshare") and subprocess.run(mounting, capture_output=True).returncode == 0:
            return command
    return None


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    command = _namespace()
    if command is None:
        pytest.skip("mounting a small file system is not allowed here (unshare --mount)")
    disk = tmp_path_factory.mktemp("disk")
    done = subprocess.run(
        [*command, "sh", "-c", 'mount -t tmpfs -o size=48m none "$2" && exec "$0" "$1" "$2"',
         sys.executable, str(Path(__file__).with_name("small_disk.py")), str(disk)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_writing_stops_before_the_disk_is_full(found: dict) -> None:
    assert "MiB left, and writing needs" in found["early"]["error"]
    assert found["early"]["free_mib"] > 20
    assert found["early"]["documents"] > 3
    assert found["early"]["faults"] == []


def test_a_disk_that_fills_meanwhile_leaves_what_was_saved(found: dict) -> None:
    assert "is full" in found["full"]["error"] or "cannot be written" in found["full"]["error"]
    assert found["full"]["faults"] == []
    assert found["full"]["documents"] >= found["early"]["documents"]


def test_reading_goes_on_on_a_full_disk(found: dict) -> None:
    assert found["reading"]["free"] < 4096
    assert found["reading"]["answer"] == "Topic3 bends light by 33 degrees."
    assert any("kept in memory only" in notice for notice in found["reading"]["notices"])


def test_a_conversation_that_cannot_be_kept_is_a_clear_error(found: dict) -> None:
    assert "disk" in found["reading"]["conversation"]
    assert "is full" in found["reading"]["conversation"]


def test_with_room_again_the_next_run_completes(found: dict) -> None:
    assert found["after"] == {"faults": [], "unchanged": True}
