import json
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from ingest.watch import changed_paths
from support import ROOT


def test_the_folders_first_then_what_changes(tmp_path: Path) -> None:
    stop = threading.Event()
    changes = changed_paths([tmp_path], tmp_path / "store", stop)
    assert next(changes) == {tmp_path.resolve()}
    for unwanted in (".git/index", "store/catalogue.db"):
        (tmp_path / unwanted).parent.mkdir()
        (tmp_path / unwanted).write_text("what is hidden does not matter, nor does the store")
    (tmp_path / "notes.md").write_text("# Notes")
    assert next(changes) == {tmp_path.resolve() / "notes.md"}
    stop.set()
    assert list(changes) == []


@pytest.mark.models
def test_a_watched_course_follows_its_folder(course_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ingest", str(course_folder), "--store", str(tmp_path / "store"), "--watch", "--json"]
    # A shell that runs the tests in the background has interrupts ignored, and children inherit that.
    interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=interruptible) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["files"]["new"] == 2
        (course_folder / "more.md").write_text("# More\n\nA prism splits white light.\n")
        report = json.loads(process.stdout.readline())
        assert (report["files"]["new"], report["files"]["unchanged"], report["embedded"]) == (1, 2, 1)
        (course_folder / "syllabus.md").unlink()
        assert json.loads(process.stdout.readline())["files"]["removed"] == 1
        process.send_signal(signal.SIGINT)
    assert process.returncode in (0, 130), "130 where the interrupt came before it was watching again"
