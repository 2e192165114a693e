"""Words on pictures of pages, read by the program tesseract if this machine has it.

The picture goes in and the text comes out through pipes: no temporary file, no network. Knows nothing of PDF.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from itertools import groupby
from statistics import mean

from ingest.readers._common import clean

INSTALL = "install tesseract-ocr, then run this again"
PAGE_SECONDS = 20.0
MOST_LANGUAGES = 3  # each one makes a page slower

CONFIDENCE = 60.0  # of 100, a line's mean

_WORD_LEVEL = "5"
_LETTER = re.compile(r"\w")
_VERSION = re.compile(r"tesseract v?(\d+(?:\.\d+)*)")


@functools.cache
def available() -> str | None:
    """Tesseract's version (`5.3.0`); None where it is not installed or cannot run."""
    output = _run("--version", seconds=5.0)
    match = _VERSION.search(output.decode(errors="replace")) if output is not None else None
    return match[1] if match and languages() else None


@functools.cache
def languages() -> tuple[str, ...]:
    """The installed languages to read with, English first; the first few of many."""
    lines = (_run("--list-langs", seconds=5.0) or b"").decode(errors="replace").split("\n")[1:]
    found = sorted(name for line in lines if re.fullmatch(r"[a-z]{3}(?:_[a-z]+)?", name := line.strip()) and name != "osd")
    return tuple(sorted(found, key=lambda name: name != "eng")[:MOST_LANGUAGES])


def read_picture(picture: bytes, dots_per_inch: int, seconds: float = PAGE_SECONDS) -> str | None:
    """The words on a picture (PNG or PNM bytes), paragraphs apart by a blank line; None when it takes longer or cannot be read.

    Lines that tesseract itself is unsure of are left out: on photographs it sees letters everywhere.
    """
    arguments = ("stdin", "stdout", "-l", "+".join(languages()), "--dpi", str(dots_per_inch), "tsv")
    output = _run(*arguments, picture=picture, seconds=seconds)
    return None if output is None else _sure_lines(output.decode(errors="replace"))


def _sure_lines(table: str) -> str:
    """The text of tesseract's table of words (level, page, block, paragraph, line, word, four of position, confidence, text)."""
    words = [fields for row in table.split("\n")[1:] if len(fields := row.split("\t")) == 12 and fields[0] == _WORD_LEVEL]
    paragraphs: list[str] = []
    for _, paragraph in groupby(words, key=lambda fields: fields[1:4]):
        lines = [list(line) for _, line in groupby(paragraph, key=lambda fields: fields[4])]
        sure = [line for line in lines if mean(float(fields[10]) for fields in line) >= CONFIDENCE]
        paragraphs.append("\n".join(" ".join(fields[11].strip() for fields in line) for line in sure))
    return clean("\n\n".join(text for text in paragraphs if _LETTER.search(text))).strip()


def _run(*arguments: str, picture: bytes = b"", seconds: float) -> bytes | None:
    """What tesseract prints; None when it is missing, fails or takes too long."""
    program = shutil.which("tesseract")
    if program is None:
        return None
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # four threads a page are slower than one where many files are read at once
    try:
        # Not DEVNULL for the errors: it is opened for writing, which the process that reads strangers' files may not do.
        done = subprocess.run([program, *arguments], input=picture, capture_output=True, timeout=seconds, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
