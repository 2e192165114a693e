import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

PAGE = """<!doctype html><html><head><title> Week 3:
 Sorting </title><style>p{}</style></head><body>
<nav><a href="/">Home</a></nav>
<main>
<p>Read <b>this</b> first<br>please.</p>
<h1>Sorting<a class="headerlink" href="#s">¶</a></h1>
<h2>Cost</h2>
<p>About <math alttext="n \\log n"><mi>n</mi></math> steps and
 <script type="math/tex; mode=display">x^2</script>.</p>
<ul><li>quick <ul><li>pivot</li></ul></li><li><p>merge</p><p>stable</p></li></ul>
<table><caption>Marks</caption><thead><tr><th>Task</th><th>Points</th></tr></thead>
<tbody><tr><td>Lab
 1</td><td><p>10</p></td></tr><tr><td> </td><td></td></tr></tbody></table>
<pre>for x in xs:
    print(x)
</pre>
<script>alert(1)</script><p hidden>secret</p>
</main><footer>(c)</footer></body></html>"""


def test_sections_of_the_main_content() -> None:
    document = read_document(PAGE.encode(), "week3.html")
    assert document.title == "Week 3: Sorting"
    assert [(section.text, section.location) for section in document.sections] == [
        ("Read this first\nplease.", Location(LocationKind.HEADING)),
        (
            "Sorting\n\nCost\n\nAbout $n \\log n$ steps and $$x^2$$.\n\n- quick\n  - pivot\n- merge\n  stable\n"
            "Marks\nTask | Points\nLab 1 | 10\n\nfor x in xs:\n    print(x)",
            Location(LocationKind.HEADING, heading=("Sorting", "Cost")),
        ),
    ]


def test_katex_is_read_once_and_as_latex() -> None:
    page = (
        '<p>So <span class="katex"><span class="katex-mathml"><math><semantics><mi>x</mi>'
        '<annotation encoding="application/x-tex">x_1</annotation></semantics></math></span>'
        '<span class="katex-html" aria-hidden="true">x1</span></span> holds.</p>'
    )
    assert read_document(page.encode(), "a.html").text == "So $x_1$ holds."


def test_a_table_that_lays_out_the_page_is_no_table() -> None:
    page = "<table><tr><td><h2>News</h2><p>Exam moved.</p></td></tr></table>"
    assert [(section.text, section.location.heading) for section in read_document(page.encode(), "a.htm").sections] == [
        ("News\n\nExam moved.", ("News",))
    ]


@pytest.mark.parametrize(
    "data",
    [
        '<meta charset="windows-1251"><p>Лекция</p>'.encode("cp1251"),
        '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>Лекция</p>'.encode("koi8-r"),
        "<p>Лекция</p>".encode(),
        b"\xff\xfe" + "<p>Лекция</p>".encode("utf-16-le"),
    ],
    ids=["meta charset", "meta http-equiv", "utf-8", "utf-16"],
)
def test_encodings(data: bytes) -> None:
    assert read_document(data, "a.html").text == "Лекция"


def test_title_falls_back_to_the_first_heading_and_the_file_name() -> None:
    assert read_document(b"<h1>Trees</h1><p>x</p>", "a.html").title == "Trees"
    assert read_document(b"<p>x</p>", "week1/a.html").title == "a"


def test_nothing_to_read() -> None:
    with pytest.raises(UnreadableDocument, match="no text outside of scripts and navigation"):
        read_document(b"<nav>Home</nav><script>x</script>", "a.html")
    with pytest.raises(UnreadableDocument, match="too deeply"):
        read_document(b"<div>" * 5000 + b"x", "a.html")
