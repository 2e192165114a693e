"""Tables as text: cells that cannot break out, files that run nothing."""

from __future__ import annotations

import pytest

from ui import render
from ui.tables import as_csv, as_markdown, harmless


def test_a_table_is_markdown_and_a_bar_in_a_cell_is_text():
    shown = as_markdown(["Name", "Number"], [[render.label("a|b\n<i>"), "7"]], numbers=(1,))
    assert shown == "| Name | Number |\n| --- | ---: |\n| a\\|b \\<i\\> | 7 |"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1"])
def test_a_cell_that_looks_like_a_formula_becomes_text(cell):
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["What is 1 - 1?", "a=b", "", "'quoted", -1, 0.5, None])
def test_other_cells_stay(cell):
    assert harmless(cell) == cell


def test_a_file_is_csv_that_spreadsheets_know_as_utf_8():
    assert as_csv(["q", "n"], [["=HYPERLINK(0)", -2], ["ü, “x”", 1]]) == '\ufeffq,n\r\n\'=HYPERLINK(0),-2\r\n"ü, “x”",1\r\n'.encode()
