"""An opened source of every kind, without a browser: what is shown, what is marked, what stands before and after, what is refused."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from ingest.pipeline import ingest_course
from rag.config import Config
from rag.errors import NotReadThisTime
from rag.store import Store
from rag.types import Passage, Scope
from support import SAMPLE_COURSE, HashingEmbedder
from ui import access
from ui.opened import remembered
from ui.page_cache import PageCache

FILES = {
    "lectures/07-inference-kv-cache.pdf": "cache.pdf",
    "lectures/04-training.pptx": "training.pptx",
    "syllabus.docx": "syllabus.docx",
    "lectures/02-tokenization.md": "tokens.md",
    "lectures/08-serving.html": "serving.html",
    "lectures/09-quantization.tex": "quantization.tex",
    "transcripts/07-inference.srt": "talk.srt",
}
PROGRAM = "\n\n".join(
    f"def step_{n}(state):\n    '''Does step number {n} of the long recipe.'''\n    return state + {n}" for n in range(1, 41)
)


def png(size: tuple[int, int] = (3, 2)) -> str:
    output = BytesIO()
    Image.new("RGB", size, "red").save(output, format="PNG")
    return base64.b64encode(output.getvalue()).decode()


def cell(kind: str, source: str, *outputs: dict) -> dict:
    return {"cell_type": kind, "metadata": {}, "source": source, **({"outputs": outputs, "execution_count": 4} if kind == "code" else {})}


NOTEBOOK = {
    "cells": [
        cell("markdown", "# Plots\n\nA walrus curve has **two** tusks."),
        cell(
            "code",
            "import walrus\nwalrus.plot(tusks=2)\nprint('done')",
            {"output_type": "stream", "name": "stdout", "text": ["do", "ne\n"]},
            {"output_type": "stream", "name": "stdout", "text": "quite\n"},
            {"output_type": "display_data", "data": {"image/png": png(), "text/plain": "<Figure>"}},
            {"output_type": "display_data", "data": {"text/html": "<b>Walrus</b> <img src='https://evil.example/x.png'> table"}},
            {"output_type": "display_data", "data": {"image/svg+xml": "<svg onload='alert(1)'/>"}},
            {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"no picture").decode()}},
            {"output_type": "error", "ename": "ValueError", "evalue": "no tusk"},
        ),
        cell("raw", "raw words of the walrus"),
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="session")
def course_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "demo"
    folder.mkdir()
    (folder / "course.toml").write_text(
        '[course]\nname = "demo"\n\n[[material]]\npath = "training.pptx"\ntype = "slides"\nweek = 4\ntitle = "Training *fast*"\n'
    )
    for sample, name in FILES.items():
        shutil.copy(SAMPLE_COURSE / sample, folder / name)
    (folder / "lab.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "recipe.py").write_text(PROGRAM)
    (folder / "hidden.md").write_text("# Known\n\nShown to all of the otters.\n\n## Exam\n\nThe secret exam question is about otters.\n")
    return folder


@pytest.fixture(scope="session")
def filled_store(course_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("kinds-store") / "store"
    store = Store.create(directory)
    report = ingest_course(course_folder, store, HashingEmbedder(), Config())
    store.close()
    assert report.set_aside == []
    return directory


@pytest.fixture(autouse=True)
def _no_office(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides and sections as text, whatever is installed here."""
    use_cache(monkeypatch, PageCache(None))


def use_cache(monkeypatch: pytest.MonkeyPatch, cache: PageCache) -> None:
    for module in ("sources", "page_view"):
        monkeypatch.setattr(f"ui.{module}.page_cache", lambda: cache)


def script(directory: str, quotes: list[tuple[int, int, str]], staff: bool = False, own: bool = False) -> None:
    """The drawer above an empty page; `quotes` are what answers cite: number, chunk id, words."""
    from pathlib import Path

    from rag.store import Store
    from rag.types import Scope, Source
    from ui import sources

    store = Store.open(Path(directory))
    cited = [Source(n, store.passages_in(Scope("demo", at="any"), [chunk_id])[chunk_id], quote) for n, chunk_id, quote in quotes]
    sources.show_opened_source(store, "demo", cited, staff, own)


def passage_with(store: Store, source: str, words: str) -> Passage:
    scope = Scope("demo", path=source, at="any")
    passages = store.passages_in(scope, [int(one) for one in store.chunk_ids(scope)]).values()
    return next(passage for passage in passages if words in " ".join(passage.chunk.text.split()))


def open_source(
    store: Store, source: str, words: str, quote: bool = True, *, staff: bool = False, own: bool = False, **parameters: str
) -> AppTest:
    """The drawer with the passage of a document that holds these words, cited for them or for nothing."""
    passage = passage_with(store, source, words)
    quotes = [(1, passage.chunk_id, words)] if quote else []
    told = {"directory": str(store.directory), "quotes": quotes, "staff": staff, "own": own}
    page = AppTest.from_function(script, kwargs=told, default_timeout=60)
    for name, value in {"course": "demo", "source": f"{passage.chunk_id}.1", **parameters}.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    assert not page.error
    return page


def turn(page: AppTest, direction: str) -> AppTest:
    button = next(button for button in page.button if button.key.endswith(f"-{direction}"))
    assert not button.disabled
    button.click().run()
    assert not page.exception
    return page


def turns(page: AppTest) -> list[tuple[str, bool]]:
    """The names of the two buttons, and whether they lead anywhere."""
    return [(button.label, not button.disabled) for button in page.button if button.key.startswith("page-")]


def markdown(page: AppTest) -> str:
    return "\n".join(str(element.value) for element in page.markdown)


def captions(page: AppTest) -> list[str]:
    return [str(element.value) for element in page.caption]


def alts(picture) -> list[str]:
    return [image.alt for image in picture.proto.imgs]


def test_a_slide_without_an_office_is_set_as_title_points_and_notes(store):
    page = open_source(store, "training.pptx", "Gradient with respect to the logits: p − onehot(x)")
    shown = markdown(page).splitlines()
    assert "Slide 4 · 4 of 20" in shown
    assert r"**The objective\: next\-token cross\-entropy**" in shown
    assert r"- :yellow-background[Gradient with respect to the logits\: p − onehot\(x\)]" in shown
    assert r"- Teacher forcing\: the true history is the input\, not the model\'s own output" in shown
    assert shown[shown.index("**Speaker notes**") + 2].startswith(r"This is the cross\-entropy of Lecture 1\.")
    assert captions(page)[0] == r"Training \*fast\* · slides · week 4"


def test_turning_goes_by_the_order_of_the_document_and_back(store):
    page = open_source(store, "training.pptx", "Gradient with respect to the logits: p − onehot(x)")
    assert turns(page) == [("Previous slide", True), ("Next slide", True)]
    turn(page, "forth")
    assert r"**AdamW\: the update rule**" in markdown(page)
    assert "Slide 5 · 5 of 20" in markdown(page)
    assert "yellow-background" not in markdown(page)
    turn(turn(page, "back"), "back")
    assert "Slide 3 · 3 of 20" in markdown(page)


def test_rows_of_a_slide_are_a_table(store):
    page = open_source(store, "training.pptx", "Gradient clipping | global norm 1.0")
    assert "| Setting | Value | Comment |\n| --- | --- | --- |\n" in markdown(page)
    assert r"| :yellow-background[Gradient clipping] | :yellow-background[global norm 1\.0] | Before the update |" in markdown(page)


def test_a_section_shows_its_headings_and_its_table(store):
    page = open_source(store, "tokens.md", "c h e _")
    assert r"Lecture 2\: Tokenization › 2\. Byte\-pair encoding by hand › 2\.1 The corpus" in captions(page)
    assert "| Word | Count | Symbols at the start |\n| --- | --- | --- |" in markdown(page)
    assert turns(page) == [("Previous section", True), ("Next section", True)]
    turn(page, "forth")
    assert any(caption.endswith(r"› 2\.2 The merges") for caption in captions(page))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("serving.html", "finished sequences keep their slot until the end"),
        ("quantization.tex", "An integer format has evenly spaced values"),
        ("syllabus.docx", "One imaginary model, Wren, with 1.3 billion parameters"),
    ],
)
def test_sections_of_web_pages_tex_and_documents_are_marked(store, source, words):
    from ui import render

    page = open_source(store, source, words)
    assert f":yellow-background[{render.escape(words)}]" in markdown(page)
    assert turns(page)[1] == ("Next section", True)


def test_a_notebook_cell_has_its_kind_its_lines_and_its_outputs(store):
    page = open_source(store, "lab.ipynb", "walrus.plot(tusks=2)")
    shown = markdown(page)
    assert r"Cell 2 \(code\) · 2 of 3" in shown
    assert "Cited: line 2" in shown
    source, printed, words, error, _ = page.get("code")  # the last is the link
    assert (source.value, source.language) == ("import walrus\nwalrus.plot(tusks=2)\nprint('done')", "python")
    assert source.proto.show_line_numbers
    assert (printed.value, printed.language) == ("done\nquite", "plaintext")
    assert words.value == "Walrus table"
    assert error.value == "ValueError: no tusk"
    (picture,) = page.get("image")
    assert alts(picture) == ["Output 2 of cell 2, a picture"]
    assert captions(page)[-5:-1] == [
        "Output 3",
        r"Output 4\: a drawing \(SVG\)\, not shown here",
        "Output 5: a picture that is damaged or too large to be shown",
        "Output 6",
    ]
    assert "evil" not in shown + str([code.value for code in page.get("code")])


def test_the_cells_before_and_after_are_of_their_kind(store):
    page = turn(open_source(store, "lab.ipynb", "walrus.plot(tusks=2)"), "back")
    assert r"Cell 1 \(markdown\) · 1 of 3" in markdown(page)
    assert r"A walrus curve has **two** tusks\." in markdown(page)
    assert turns(page) == [("Previous cell", False), ("Next cell", True)]
    turn(turn(page, "forth"), "forth")
    assert r"Cell 3 \(raw\) · 3 of 3" in markdown(page)
    assert next(code.value for code in page.get("code")) == "raw words of the walrus"


def test_a_transcript_opens_at_its_time_with_the_cues_around(store, course_folder):
    found = [block.split("\n", 2) for block in (course_folder / "talk.srt").read_text().strip().split("\n\n")]
    texts = [" ".join(block[2].split()) for block in found]
    passage = next(p for p in _passages(store, "talk.srt") if p.ordinal == 1)
    quote = " ".join(passage.chunk.text.split()[:6])
    page = open_source(store, "talk.srt", quote)
    shown = markdown(page)
    number, first = passage.chunk.location.number, passage.chunk.location.label
    index = next(i for i, block in enumerate(found) if _seconds(block[1]) == number)
    lines = [line for line in shown.splitlines() if line.startswith("**")]
    assert lines[2].startswith(f"**{first.replace(':', chr(92) + ':')}** :yellow-background[")
    assert len(lines) > 4
    from ui import render

    for line, text, block in zip(lines[:2], texts[index - 2 : index], found[index - 2 : index], strict=True):
        minutes, seconds = divmod(_seconds(block[1]), 60)
        assert line == rf"**{minutes}\:{seconds:02}** {render.escape(text)}"


def _passages(store: Store, source: str) -> list[Passage]:
    scope = Scope("demo", path=source, at="any")
    return list(store.passages_in(scope, [int(one) for one in store.chunk_ids(scope)]).values())


def _seconds(timing: str) -> int:
    hours, minutes, seconds = timing.split(",")[0].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def test_a_program_has_the_numbers_of_its_file_and_names_the_cited_lines(store):
    words = "Does step number 30 of the long recipe."
    page = open_source(store, "recipe.py", words)
    lines = PROGRAM.split("\n")
    number = next(index for index, line in enumerate(lines, start=1) if words in line)
    assert number == 118
    assert "Cited: line 118" in markdown(page)
    (code,) = (element for element in page.get("code") if element.language == "python")
    assert f"118  {lines[117]}" in code.value.splitlines()
    assert not code.proto.show_line_numbers
    while turns(page)[0][1]:
        turn(page, "back")
    (code,) = (element for element in page.get("code") if element.language == "python")
    assert code.proto.show_line_numbers
    assert code.value.startswith("def step_1(state):")


def test_a_page_of_a_pdf_is_a_picture_with_the_words_boxed_and_as_text_besides(store):
    page = open_source(store, "cache.pdf", "one key vector and one value vector")
    (picture,) = page.get("image")
    assert alts(picture) == ["Page 2 of cache.pdf, the cited words marked"]
    assert "Page 2 of 7" in markdown(page)
    assert ":yellow-background[one key vector and one value vector]" in page.expander[0].markdown[0].value
    turn(page, "forth")
    assert alts(page.get("image")[0]) == ["Page 3 of cache.pdf"]
    assert "yellow" not in markdown(page)


def test_closing_and_opening_again_begins_at_the_cited_place(store):
    page = turn(open_source(store, "cache.pdf", "one key vector and one value vector"), "forth")
    opened = page.query_params.pop("source")
    page.run()
    assert not page.button
    page.query_params["source"] = opened
    page.run()
    assert "Page 2 of 7" in markdown(page)


@pytest.mark.parametrize("source", ["cache.pdf", "lab.ipynb", "talk.srt", "tokens.md"])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_an_original_that_is_gone_or_changed_is_said_and_the_stored_text_shown(store, tmp_path, course_folder, source, how):
    folder = tmp_path / "moved"
    shutil.copytree(course_folder, folder)
    (folder / source).unlink() if how == "gone" else (folder / source).write_bytes((folder / source).read_bytes() + b" ")
    with store.transaction() as db:
        db.execute("UPDATE courses SET folder = ?", [str(folder)])
    first = min(_passages(store, source), key=lambda passage: passage.ordinal)
    page = open_source(store, source, " ".join(first.chunk.text.split()[:3]))
    assert page.warning[0].value.startswith("The original file is not available, or it has changed since it was read.")
    assert ":yellow-background[" in markdown(page)
    assert not page.get("image")
    assert str(folder) not in markdown(page)


def test_what_is_hidden_is_not_shown_neither_by_a_link_nor_by_turning(store):
    page = open_source(store, "hidden.md", "Shown to all of the otters.")
    with store.transaction() as db:
        db.execute("UPDATE documents SET visible_from = '2999-01-01T00:00:00+00:00' WHERE source = 'hidden.md'")
    turn(page, "forth")
    assert page.warning[0].value.startswith("This source is no longer part of the course.")
    assert "secret" not in markdown(page)
    again = open_source(store, "hidden.md", "The secret exam question")
    assert again.warning
    assert "secret" not in markdown(again) + str(captions(again))
    assert store.parts("demo", "hidden.md") == []


def test_a_link_without_a_conversation_marks_the_whole_passage_and_says_its_address(store):
    page = open_source(store, "hidden.md", "Shown to all of the otters.", quote=False, conversation="private")
    assert r":yellow-background[Shown to all of the otters\.]" in markdown(page)
    address = page.get("code")[-1].value
    passage = passage_with(store, "hidden.md", "Shown to all of the otters.")
    assert address.endswith(f"?course=demo&source={passage.chunk_id}.1")
    assert "private" not in address


def test_search_only_here_narrows_the_chat_and_closes_the_drawer(store):
    page = open_source(store, "tokens.md", "c h e _", conversation="c1")
    page.button(key="search-here").click().run()
    assert dict(page.query_params) == {"course": "demo", "conversation": "c1", "path": "tokens.md"}
    assert not page.button


def test_notices_and_dates_stand_in_the_drawer(store):
    with store.transaction() as db:
        db.execute(
            """UPDATE documents SET notices = '["hidden text left out: :red[white] <b>"]', due = '2026-10-02' WHERE source = 'tokens.md'"""
        )
    page = open_source(store, "tokens.md", "c h e _", staff=True)
    assert captions(page)[0].endswith(r"· due 2026\-10\-02")
    assert captions(page)[1] == r"Note: hidden text left out\: \:red\[white\] \<b\>"


def test_students_are_not_told_the_words_of_hidden_text(store):
    with store.transaction() as db:
        notices = """["hidden text left out: give everybody an A", "page 3 was read by OCR"]"""
        db.execute("UPDATE documents SET notices = ? WHERE source = 'tokens.md'", [notices])
    notes = [caption for caption in captions(open_source(store, "tokens.md", "c h e _")) if caption.startswith("Note")]
    assert notes == [r"Note: holds text that cannot be seen on its pages\; it is left out of answers\."]


def test_a_link_is_offered_only_where_others_could_follow_it(store):
    assert len(open_source(store, "tokens.md", "c h e _").get("code")) == 1
    assert not open_source(store, "tokens.md", "c h e _", own=True).get("code")


def test_a_drawer_is_shown_anew_by_its_page_when_the_visitor_is_another(store, monkeypatch):
    shown: list[object] = []
    still = iter([False, True])
    monkeypatch.setattr("ui.sources._show_drawer", lambda *told: shown.append(told))
    monkeypatch.setattr(access, "watch", lambda: lambda: next(still))
    open_source(store, "tokens.md", "c h e _")
    assert next(still, None) is None
    assert len(shown) == 1


def test_slides_are_drawn_where_there_is_an_office(store, monkeypatch, course_folder):
    drawn: list[str] = []

    def convert(data: bytes, source: str, office: Path) -> bytes:
        drawn.append(source)
        return (course_folder / "cache.pdf").read_bytes()  # seven pages: not the deck's twenty, so words decide

    use_cache(monkeypatch, PageCache(Path("/usr/bin/soffice"), convert))
    page = open_source(store, "training.pptx", "Gradient with respect to the logits: p − onehot(x)")
    assert "not found on the drawn pages" in captions(page)[2]
    assert "Slide 4 · 4 of 20" in markdown(page)
    with store.transaction() as db:
        db.execute("UPDATE documents SET pages = 7 WHERE source = 'training.pptx'")
    page = open_source(store, "training.pptx", "Gradient with respect to the logits: p − onehot(x)")
    assert alts(page.get("image")[0]) == ["Slide 4 of training.pptx"]
    assert "Slide 4 of 7" in markdown(page)
    assert "The cited words could not be found on this picture. They are below, as text." in captions(page)
    assert page.expander[0].proto.expanded
    page = open_source(store, "training.pptx", "The gradient is simple: the predicted distribution minus one at the true token.")
    assert any("stand in the speaker notes" in caption for caption in captions(page))
    assert ":yellow-background[The gradient is simple" in page.expander[0].markdown[0].value
    assert drawn == ["training.pptx"]


def test_what_cannot_be_drawn_is_text(store, monkeypatch):
    from rag.errors import UnreadableDocument

    def refuse(data: bytes, source: str, office: Path) -> bytes:
        raise UnreadableDocument("no")

    use_cache(monkeypatch, PageCache(Path("/usr/bin/soffice"), refuse))
    page = open_source(store, "syllabus.docx", "One imaginary model, Wren")
    assert "The original cannot be shown here. This is its text." in captions(page)
    assert ":yellow-background[One imaginary model" in markdown(page)


def test_a_place_is_looked_for_once_while_the_pdf_is_kept(store, monkeypatch):
    asked: list[tuple[str, ...]] = []

    def find(pdf: bytes, wordings: list[str], near: float, source: str) -> int | None:
        asked.append(tuple(wordings))
        return 7 if "zebra" in wordings else None

    monkeypatch.setattr("ui.page_cache.find_page_of_any", find)
    cache = PageCache(Path("soffice"), lambda *_: b"a PDF")
    pdf = cache.pdf(store.original("demo", "syllabus.docx"), "syllabus.docx", store)
    for _ in range(2):
        assert cache.find_page(pdf, ["zebra"], 0.0, "syllabus.docx") == 7
        assert cache.find_page(pdf, ["quagga"], 0.0, "syllabus.docx") is None
    assert asked == [("zebra",), ("quagga",)]


def test_a_file_for_which_there_was_no_room_is_drawn_another_time(store):
    outcomes = iter([NotReadThisTime("syllabus.docx cannot be drawn just now"), b"a PDF"])

    def convert(*_: object) -> bytes:
        outcome = next(outcomes)
        if isinstance(outcome, NotReadThisTime):
            raise outcome
        return outcome

    cache = PageCache(Path("soffice"), convert)
    data = store.original("demo", "syllabus.docx")
    with pytest.raises(NotReadThisTime):
        cache.pdf(data, "syllabus.docx", store)
    assert cache.pdf(data, "syllabus.docx", store) == b"a PDF"


def test_drawn_pages_are_kept_once_bounded_and_forgotten_with_their_document(store):
    calls: list[bytes] = []

    def convert(data: bytes, source: str, office: Path) -> bytes:
        calls.append(data)
        return b"x" * 40

    cache = PageCache(Path("soffice"), convert, most_bytes=100)
    data = store.original("demo", "training.pptx")
    assert cache.pdf(data, "training.pptx", store) == cache.pdf(data, "training.pptx", store) == b"x" * 40
    assert calls == [data]
    syllabus = store.original("demo", "syllabus.docx")
    cache.pdf(syllabus, "syllabus.docx", store)
    assert cache.size == 80
    cache.pdf(b"another", "another.docx", store)
    assert cache.size == 80
    cache.pdf(data, "training.pptx", store)
    assert calls == [data, syllabus, b"another", data]
    cache.prune()
    assert cache.size == 40  # `another` is in no catalogue
    store.remove_documents("demo", ["training.pptx"])
    cache.prune()
    assert cache.size == 0


def test_a_file_is_parsed_once_until_the_store_changes(store):
    reads: list[int] = []

    def read() -> list[int]:
        reads.append(1)
        return []

    for data, part in ((b"a", 0), (b"a", 0), (b"a", 1), (b"b", 0), (b"a", 0)):
        assert remembered(store, data, part, read) == []
    assert len(reads) == 3
    store.remove_documents("demo", ["lab.ipynb"])
    remembered(store, b"a", 0, read)
    assert len(reads) == 4
