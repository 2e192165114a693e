"""What `python -m rag` and `python -m ingest` share."""

from __future__ import annotations

import argparse
import sqlite3
import sys


def positive(text: str) -> int:
    """An argument's type: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 1")
    return int(text)


def print_error(error: Exception) -> None:
    """One line on stderr that says what to do."""
    print(f"error: {error}" + ("; run: python -m rag doctor" if isinstance(error, sqlite3.Error) else ""), file=sys.stderr)
