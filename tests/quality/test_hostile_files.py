"""Damaged, encrypted and forged files of real origin: each is read or set aside with a reason, within its limits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ingest.sandbox import Limits
from support import ROOT, SHARED_DATA

FOLDERS = [SHARED_DATA / "hostile" / "office", SHARED_DATA / "parsing" / "pdf-samples"]


@pytest.mark.shared_data
@pytest.mark.skipif(not all(folder.exists() for folder in FOLDERS), reason="the measuring data is not beside the checkout")
def test_every_file_ends_as_text_or_with_a_reason() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "hostile.py"), *map(str, FOLDERS), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == sum(path.is_file() for folder in FOLDERS for path in folder.rglob("*"))
    for outcome in outcomes:
        assert (outcome["characters"] > 0) != bool(outcome["reason"]), outcome
        assert outcome["peak_mib"] < Limits().memory_bytes >> 20, outcome
        assert outcome["seconds"] < Limits().seconds, outcome
        assert "crashes its reader" not in outcome["reason"], outcome
        assert "takes longer" not in outcome["reason"], outcome
    assert sum(not outcome["reason"] for outcome in outcomes) > 180
