import json
from typing import Any

import pytest

from ingest.readers import read_document
from ingest.readers.notebook import OUTPUT_CHARACTERS
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind


def notebook(*cells: dict[str, Any]) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def markdown(source: str | list[str]) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source}


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": outputs}


def test_a_section_a_cell_numbered_over_all_cells() -> None:
    data = notebook(
        markdown(["# Lab 2\n", "Sort a list."]),
        code(""),
        code("print(1)", {"output_type": "stream", "name": "stdout", "text": ["1\n"]}),
        markdown("## Task\n\nYour turn."),
        {"cell_type": "raw", "source": "left over"},
    )
    document = read_document(data, "lab2.ipynb")
    assert [(section.text, section.location) for section in document.sections] == [
        ("# Lab 2\nSort a list.", Location(LocationKind.CELL, 1, heading=("Lab 2",), cell="markdown")),
        ("print(1)\n\nOutput:\n1", Location(LocationKind.CELL, 3, heading=("Lab 2",), cell="code")),
        ("## Task\n\nYour turn.", Location(LocationKind.CELL, 4, heading=("Lab 2", "Task"), cell="markdown")),
        ("left over", Location(LocationKind.CELL, 5, heading=("Lab 2", "Task"), cell="raw")),
    ]
    assert document.title == "Lab 2"


def test_outputs_keep_text_and_drop_pictures() -> None:
    data = notebook(
        code("plot()", {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo=", "text/plain": ["<Figure 1>"]}}),
        code("x", {"output_type": "execute_result", "data": {"text/latex": ["$x^2$"], "text/plain": ["x**2"]}}),
        code("1/0", {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["\x1b[31mlong"]}),
    )
    assert [section.text for section in read_document(data, "a.ipynb").sections] == [
        "plot()\n\nOutput:\n<Figure 1>",
        "x\n\nOutput:\n$x^2$",
        "1/0\n\nOutput:\nZeroDivisionError: division by zero",
    ]


def test_long_output_is_cut_and_says_so() -> None:
    data = notebook(code("log()", {"output_type": "stream", "text": "a" * (OUTPUT_CHARACTERS + 7)}))
    assert read_document(data, "a.ipynb").text == f"log()\n\nOutput:\n{'a' * OUTPUT_CHARACTERS}\n… (output cut: 7 more characters)"


def test_pictures_inside_markdown_are_dropped() -> None:
    data = notebook(markdown("See ![plot](data:image/png;base64,iVBORw0KGgo=) here."))
    assert read_document(data, "a.ipynb").text == "See  here."


def test_nbformat_3() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Old"]},
        {"cell_type": "code", "input": ["1+1"], "outputs": [{"output_type": "pyout", "text": ["2"]}]},
    ]
    document = read_document(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode(), "old.ipynb")
    assert [(section.text, section.location.heading) for section in document.sections] == [
        ("## Old", ("Old",)),
        ("1+1\n\nOutput:\n2", ("Old",)),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "JSON is damaged"),
        (b"[" * 100_000, "JSON is damaged"),
        (b"9" * 5000, "JSON is damaged"),
        (b"[1]", "neither `cells` nor `worksheets`"),
        (b'{"cells": 3}', "neither `cells` nor `worksheets`"),
        (b'{"cells": [{"cell_type": "code", "source": ""}, 7]}', "without text in its 1 cells"),
    ],
)
def test_what_is_no_notebook(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableDocument, match=message):
        read_document(data, "a.ipynb")
