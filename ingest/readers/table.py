"""Tables as text files, .csv and .tsv: each record a line that says what its values are, cited by line.

A record is worth little to search without the header, so each line carries it: `Name: Ada | Points: 10`. Line numbers agree with the
file: a record that spans several lines is one line and as many empty ones as are missing. Whether the first record is a header is told
from the values beneath it; in doubt there is none, and values stand bare, `Ada | 10`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ingest.readers._common import decode, one_line, stem, table_row
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

SAMPLE_RECORDS = 100  # looked at to tell delimiter and header
HEADER_CHARACTERS = 80  # a longer cell is a text, not a column's name

_DELIMITERS = ",;\t|"
_DECLARATION = re.compile(r"sep=([,;:|\t])\n", re.IGNORECASE)  # Excel's own first line
_VALUE = re.compile(r"[-+]?[$€£]?\d[\d.,:/ -]*[%€]?|true|false|yes|no|n/?a|nan|null|-", re.IGNORECASE)
_COLUMN_NAME = re.compile(
    r"id|no\.?|nr\.?|#|(?:(?:first|last|full|sur|user) ?)?name|e-?mail|title|topic|subject|term|definition|question|answer|(?:due )?date|"
    r"day|time|week|lecture|room|grade|points|score|type|category|description|notes?|url|link|source|text|label|front|back|\w+_\w+",
    re.IGNORECASE,
)


class Record(NamedTuple):
    """One record: its cells and how many lines of the file it takes."""

    cells: list[str]
    lines: int


def read(data: bytes, source: str) -> Document:
    """The table as one Section over all its lines."""
    text = decode(data, source)
    declaration = _DECLARATION.match(text)
    body = text[declaration.end() :] if declaration else text
    delimiter = declaration[1] if declaration else _find_delimiter(body, source)
    records = [*([Record([], 1)] if declaration else []), *_records(body, delimiter)]
    lines = list(_lines(records))
    full = [number for number, line in enumerate(lines) if line]
    if not full:
        raise UnreadableDocument(f"{source} holds no values, only delimiters or blank lines")
    first, last = full[0], full[-1]
    return Document(stem(source), (Section("\n".join(lines[first : last + 1]), Location(LocationKind.LINE, first + 1, last + 1)),))


def _lines(records: list[Record]) -> Iterator[str]:
    """The records in words, each followed by empty lines until it takes as many as in the file."""
    header = _find_header(records)
    for record in records:
        yield table_row(record.cells) if not header or record.cells is header else _sentence(header, record.cells)
        yield from [""] * (record.lines - 1)


def _sentence(header: list[str], cells: list[str]) -> str:
    """The record's values that are not empty, each after the name of its column."""
    names = [*header, *[""] * (len(cells) - len(header))]
    pairs = [(one_line(name), one_line(cell)) for name, cell in zip(names, cells, strict=False)]
    return " | ".join(f"{name}: {cell}" if name else cell for name, cell in pairs if cell)


def _records(text: str, delimiter: str) -> Iterator[Record]:
    """All records. A quote that opens a cell and never closes is a character like any other, not the end of the table."""
    lines = text.split("\n")
    start = 0
    for record in _parse(lines, delimiter, quoted=True):
        end = start + record.lines
        if end == len(lines) and record.lines > 1 and "\n".join(lines[start:]).count('"') % 2:
            yield from _parse(lines[start:], delimiter, quoted=False)
            return
        yield record
        start = end


def _parse(lines: list[str], delimiter: str, quoted: bool) -> Iterator[Record]:
    csv.field_size_limit(max(csv.field_size_limit(), sum(map(len, lines)) + len(lines)))
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    before = 0
    for cells in reader:
        yield Record(cells, reader.line_num - before)
        before = reader.line_num


def _find_delimiter(text: str, source: str) -> str:
    """The character that cuts the most records into the same number of cells, more than one; the comma when none does."""
    candidates = "\t" + _DELIMITERS if source.lower().endswith(".tsv") else _DELIMITERS
    return max(candidates, key=lambda delimiter: _regularity(text, delimiter))


def _regularity(text: str, delimiter: str) -> tuple[float, int]:
    """The share of records that are as wide as most are, and that width; nothing for a width of one."""
    sample = "\n".join(text.split("\n", SAMPLE_RECORDS)[:SAMPLE_RECORDS])
    widths = Counter(len(record.cells) for record in _records(sample, delimiter) if record.cells)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return (count / widths.total(), width) if width > 1 else (0.0, 0)


def _find_header(records: list[Record]) -> list[str]:
    """The first record that is not blank, if its cells name the columns beneath; else an empty list."""
    rows = [record.cells for record in islice((record for record in records if any(map(str.strip, record.cells))), SAMPLE_RECORDS)]
    if len(rows) < 2:
        return []
    names = [one_line(cell) for cell in rows[0]]
    while not names[-1]:
        names.pop()
    given = [name for name in names if name]
    plain = all(not _VALUE.fullmatch(name) and len(name) <= HEADER_CHARACTERS for name in given)
    if not plain or len(set(given)) < len(given) or len(given) < len(names) - 1:  # one may be nameless: an index
        return []
    columns = [[row[place].strip() for row in rows[1:] if place < len(row)] for place in range(len(names))]
    named = all(_COLUMN_NAME.fullmatch(name) for name in given)
    return rows[0] if named or any(map(_names_column, names, columns)) else []


def _names_column(name: str, values: list[str]) -> bool:
    """Whether a cell is of another kind than those beneath it: a word over numbers, one word over texts."""
    full = [value for value in values if value]
    if not name or not full:
        return False
    numbers = sum(bool(_VALUE.fullmatch(value)) for value in full)
    texts = sum(len(value.split()) > 3 for value in full)
    return numbers * 5 > len(full) * 4 or (len(name.split()) == 1 and texts * 5 > len(full) * 4)
