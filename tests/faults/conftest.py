"""What the fault tests share: a course that changes at random, victims to kill, and an audit that finds every kind of damage.

`LECTERN_FAULTS` sets how many times each fault is tried; `make faults` sets 1,000.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT


def times(in_ci: int) -> int:
    """How often to try a fault: so many times in CI, or what LECTERN_FAULTS says."""
    return int(os.environ.get("LECTERN_FAULTS", in_ci))


class Victims:
    """The server of victim.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("victim.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        )

    def begin(self, folder: Path, store: Path, **order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "store": str(store), **order}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ingest(self, folder: Path, store: Path, **order: object) -> dict:
        self.begin(folder, store, **order)
        return self.end()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    server = Victims()
    yield server
    server.close()


@pytest.fixture
def course(tmp_path: Path) -> ChangingCourse:
    return ChangingCourse(tmp_path / "optics", random.Random(17))


class ChangingCourse:
    """A course folder whose files come, go, move and change at random; some share passages, some cannot be read."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self._chance = chance
        self._made = 0
        folder.mkdir()
        for _ in range(6):
            self._add()

    def change(self) -> None:
        for _ in range(self._chance.randint(2, 5)):
            self._chance.choice([self._add, self._edit, self._rename, self._remove, self._add_unreadable])()

    def _add(self) -> None:
        self._path().write_text(self._text())

    def _add_unreadable(self) -> None:
        (self.folder / f"broken-{self._number()}.ipynb").write_text("{ no notebook")

    def _edit(self) -> None:
        self._pick().write_text(self._text())

    def _rename(self) -> None:
        self._pick().rename(self._path())

    def _remove(self) -> None:
        """Some files, so that the course neither vanishes nor grows for ever."""
        for path in [*self.folder.glob("broken-*"), *sorted(self.folder.glob("*.md"))[8:]]:
            path.unlink()

    def _pick(self) -> Path:
        return self._chance.choice(sorted(self.folder.glob("*.md")))

    def _path(self) -> Path:
        return self.folder / f"week{self._chance.randint(1, 9):02}-{self._number()}.md"

    def _number(self) -> int:
        self._made += 1
        return self._made

    def _text(self) -> str:
        topics = [f"Topic{self._chance.randint(0, 30)} bends light by {self._chance.randint(1, 90)} degrees." for _ in range(5)]
        return f"# Notes {self._number()}\n\n" + "\n\n".join(f"## Part {part}\n\n{topic}" for part, topic in enumerate(topics)) + "\n"
