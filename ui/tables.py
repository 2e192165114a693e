"""Tables as text: rows of a page that a screen reader reads as a table, and the same rows as a CSV file. No Streamlit here.

`st.dataframe` draws on a canvas, which no screen reader sees; a Markdown table is an HTML table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), in full width too."""


def as_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A Markdown table. Cells are Markdown already: texts of others must have gone through `render.label`, which escapes the bars, too.

    Args:
        numbers: the columns that are set to the right.
    """
    rule = ["---:" if number in numbers else "---" for number in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """The rows as CSV in UTF-8 with the mark that spreadsheets know it by. No cell is a formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return file.getvalue().encode("utf-8-sig")


def harmless(cell: Any) -> Any:
    """A cell that a spreadsheet takes for text or a number, never for a formula: one that looks like it gets an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA) else cell
