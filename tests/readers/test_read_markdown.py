import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

COURSE = """---
title: "Sorting"
week: 3
material: lecture notes
due: 2026-02-10
date: 2026-02-03
author: someone
---

Before any heading.

# Quicksort **fast** {#quick}

## Cost

About $n \\log n$ comparisons.

```python
# not a heading
sort(xs)
```

> # quoted

Mergesort
---------

Stable.
"""


def test_sections_follow_the_headings_and_keep_the_source() -> None:
    document = read_document(COURSE.encode(), "notes/sorting.md")
    assert [(section.text, section.location.heading) for section in document.sections] == [
        ("Before any heading.", ()),
        (
            "# Quicksort **fast** {#quick}\n\n## Cost\n\nAbout $n \\log n$ comparisons.\n\n"
            "```python\n# not a heading\nsort(xs)\n```\n\n> # quoted",
            ("Quicksort fast", "Cost"),
        ),
        ("Mergesort\n---------\n\nStable.", ("Quicksort fast", "Mergesort")),
    ]
    assert {section.location.kind for section in document.sections} == {LocationKind.HEADING}


def test_front_matter_gives_facts_and_the_title() -> None:
    document = read_document(COURSE.encode(), "sorting.md")
    assert document.facts == {"title": "Sorting", "week": "3", "material": "lecture notes", "date": "2026-02-03", "due": "2026-02-10"}
    assert document.title == "Sorting"


def test_title_is_the_first_heading_else_the_file_name() -> None:
    assert read_document(b"# Trees\n\nText.\n", "a.md").title == "Trees"
    assert read_document(b"Just text.\n", "week2/notes.mkd").title == "notes"


def test_heading_levels_may_be_skipped() -> None:
    document = read_document(b"# A\na\n\n### B\nb\n\n## C\nc\n", "a.markdown")
    assert [section.location.heading for section in document.sections] == [("A",), ("A", "B"), ("A", "C")]


def test_a_heading_without_text_or_deeper_heading_stands_alone() -> None:
    document = read_document(b"# A\n# B\nb\n", "a.md")
    assert [(section.text, section.location) for section in document.sections] == [
        ("# A", Location(LocationKind.HEADING, heading=("A",))),
        ("# B\n\nb", Location(LocationKind.HEADING, heading=("B",))),
    ]


def test_only_front_matter() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.md holds no text"):
        read_document(b"---\ntitle: Empty\n---\n", "a.md")
