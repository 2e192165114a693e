import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

PYTHON = b'''"""Sorting.

def not_this(): ...
"""

import random

# Chooses a pivot.
@cached
def pivot(items):
    print "old Python is read too"

    return items[0]  # """


async def sort(items):
    text = """
def nor_this():
"""
    return items
class Stack(list):
    def push(self): pass


if __name__ == "__main__":
    sort([])
'''


def headings(code: str, name: str) -> list[tuple[str, int, int]]:
    """Name, first and last line of each section."""
    sections = read_document(code.encode(), name).sections
    return [(" ".join(s.location.heading), s.location.number or 0, s.location.last or 0) for s in sections]


def test_python_definitions_are_sections() -> None:
    document = read_document(PYTHON, "labs/sort.py")
    lines = PYTHON.decode().split("\n")
    assert [section.location for section in document.sections] == [
        Location(LocationKind.LINE, 1, 6),
        Location(LocationKind.LINE, 8, 13, ("pivot",)),
        Location(LocationKind.LINE, 16, 20, ("sort",)),
        Location(LocationKind.LINE, 21, 22, ("Stack",)),
        Location(LocationKind.LINE, 25, 26),
    ]
    for section in document.sections:
        assert section.text == "\n".join(lines[(section.location.number or 0) - 1 : section.location.last])
    assert document.title == "sort.py"


LANGUAGES = {
    "Stack.java": (
        "import java.util.List;\n\n/**\n * A stack.\n */\npublic final class Stack<T> {\n  void push() {}\n}\n\nenum Colour { RED }\n",
        [("", 1, 1), ("Stack", 3, 8), ("Colour", 10, 10)],
    ),
    "sort.c": (
        "#include <stdio.h>\nint swap(int *a);\n\nstruct Node {\n  int x;\n};\n// Sorts.\nstatic void *sort(int *a,\n    int n)\n{\n"
        "again:\n  goto again;\n}\n\nint limit = 3;\nint main(void) { return 0; }\n",
        [("", 1, 2), ("Node", 4, 6), ("sort", 7, 13), ("", 15, 15), ("main", 16, 16)],
    ),
    "sort.cpp": (
        "template <typename T>\nT Stack<T>::pop() {\n}\nStack::~Stack() {\n}\nclass Heap : public Stack {\n};\n",
        [("Stack<T>::pop", 1, 3), ("Stack::~Stack", 4, 5), ("Heap", 6, 7)],
    ),
    "app.ts": (
        'import x from "y";\n\nexport default function add(a: number) {\n}\nconst twice = (x: number): number => 2 * x;\nadd(1);\n'
        "export interface Node {\n}\n",
        [("", 1, 1), ("add", 3, 4), ("twice", 5, 5), ("", 6, 6), ("Node", 7, 8)],
    ),
    "main.go": (
        "package main\n\n// Run runs.\nfunc (c *Client) Run() error {\n}\ntype Client struct {\n}\n",
        [("", 1, 1), ("Run", 3, 5), ("Client", 6, 7)],
    ),
    "lib.rs": (
        "use std::io;\n#[derive(Debug)]\npub struct P { x: i32 }\nimpl Show for P {\n}\nfn main() {\n}\n",
        [("", 1, 1), ("P", 2, 3), ("impl Show for P", 4, 5), ("main", 6, 7)],
    ),
    "clean.R": (
        "library(x)\n\n# Cleans.\nclean <- function(d) {\n  d\n}\n\nplot(clean(raw))\n",
        [("", 1, 1), ("clean", 3, 6), ("", 8, 8)],
    ),
    "fact.scm": ("(define (fact n)\n  (* n 1))\n\n(display (fact 5))\n", [("fact", 1, 2), ("", 4, 4)]),
    "tree.hs": ("module Tree where\n\n-- | Adds.\nadd :: Int -> Int\nadd x = x\n", [("", 1, 1), ("add", 3, 5)]),
    "schema.sql": (
        "CREATE TABLE IF NOT EXISTS students (\nid INT\n);\ncreate view g as select 1;\n",
        [("students", 1, 3), ("g", 4, 4)],
    ),
    "run.sh": ("#!/bin/sh\nstart() {\n  :\n}\nstart\n", [("", 1, 1), ("start", 2, 4), ("", 5, 5)]),
    "sq.m": ("function y = sq(x)\ny = x.^2;\nend\n", [("sq", 1, 3)]),
    "a.rb": ("class Stack\n  def push\n  end\nend\nputs 1\n", [("Stack", 1, 4), ("", 5, 5)]),
    "pyproject.toml": ("[project]\nname = 'x'\n\n[[tool.x]]\na = 1\n", [("project", 1, 2), ("tool.x", 4, 5)]),
    "grades.json": ('{\n  "a": 1\n}\n', [("", 1, 3)]),
    "style.css": ("p {\n}\nq {\n}\n", [("", 1, 4)]),
}


@pytest.mark.parametrize(("name", "code", "expected"), [(name, *case) for name, case in LANGUAGES.items()], ids=LANGUAGES)
def test_definitions_of_other_languages(name: str, code: str, expected: list[tuple[str, int, int]]) -> None:
    assert headings(code, name) == expected


def test_text_is_kept_exactly() -> None:
    code = "\n\n\tx = 1   \n\n\n\ty = 'ä' # ok\n"
    document = read_document(code.encode("utf-16"), "a.py")
    assert document.text == "\tx = 1   \n\n\n\ty = 'ä' # ok"
    assert document.sections[0].location == Location(LocationKind.LINE, 3, 6)


@pytest.mark.parametrize("name", ["a.py", "a.c", "a.ts", "a.hs", "a.rs"])
def test_minified_lines_are_read_at_once(name: str) -> None:
    code = "struct a b<c>* d " * 20000
    assert read_document(code.encode(), name).sections[0].location == Location(LocationKind.LINE, 1, 1)


def test_binary_and_blank_files_are_refused() -> None:
    with pytest.raises(UnreadableDocument, match=r"film\.ts (holds control characters|is in no known text encoding)"):
        read_document(bytes(range(256)) * 20, "film.ts")
    with pytest.raises(UnreadableDocument, match=r"a\.py holds no text"):
        read_document(b"\xef\xbb\xbf\n", "a.py")


def test_r_and_quarto_markdown_are_markdown() -> None:
    document = read_document(b"---\ntitle: Lab 2\n---\n# Data\n```{r}\nplot(x)\n```\n", "lab2.Rmd")
    assert (document.title, document.text) == ("Lab 2", "# Data\n\n```{r}\nplot(x)\n```")
    assert read_document(b"# Data\nx\n", "lab2.qmd").sections[0].location == Location(LocationKind.HEADING, heading=("Data",))
