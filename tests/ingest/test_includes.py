from pathlib import Path

import pytest

from ingest.includes import INLINED_BYTES, inlined, parts_of
from ingest.pipeline import ingest_course
from rag.config import Config
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A course whose notes are a main file, two chapters and a figure's caption; and a sheet of its own."""
    folder = tmp_path / "optics"
    (folder / "chapters").mkdir(parents=True)
    (folder / "notes.tex").write_text(
        "\\title{Optics Notes}\\begin{document}\n\\section{Lenses}\n\\input{chapters/lenses}\n"
        "% \\input{sheet}\n\\section{Mirrors}\n\\include{chapters/mirrors}\n\\end{document}\n"
    )
    (folder / "chapters" / "lenses.tex").write_text("A thin lens has two foci.\n\\input{caption.txt}\n")
    (folder / "chapters" / "mirrors.tex").write_text("\\subsection{Curved}\nA concave mirror has one focus.\n")
    (folder / "caption.txt").write_text("Figure one shows a lens.")
    (folder / "sheet.tex").write_text("\\section{Sheet}\nDraw a ray.\n")
    return folder


def sources(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.*"))}


def test_a_document_has_its_parts_in_order_and_comments_do_not_count(script: Path) -> None:
    assert parts_of(sources(script), script) == {"notes.tex": ["chapters/lenses.tex", "chapters/mirrors.tex", "caption.txt"]}


def test_files_that_name_each_other_have_one_main_file(tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_text("\\input{b}")
    (tmp_path / "b.tex").write_text("\\input{a} \\input{b}")
    assert parts_of(sources(tmp_path), tmp_path) == {"a.tex": ["b.tex"]}
    assert b"\\input" in inlined(b"\\input{b}", tmp_path / "a.tex", tmp_path)


def test_nothing_outside_the_course_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.tex").write_text("secret")
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "link.tex").symlink_to(tmp_path / "secret.tex")
    data = b"\\input{../secret} \\input{" + str(tmp_path / "secret").encode() + b"} \\input{link} \\input{missing} \\input{\0}"
    (folder / "main.tex").write_bytes(data)
    assert inlined(data, folder / "main.tex", folder) == data
    assert parts_of({"main.tex": folder / "main.tex"}, folder) == {}


def test_a_bomb_of_includes_stays_small(tmp_path: Path) -> None:
    for level in range(8):
        (tmp_path / f"l{level}.tex").write_text(f"\\input{{l{level + 1}}}" * 20)
    (tmp_path / "l8.tex").write_text("x" * 100_000)
    assert len(inlined(b"\\input{l1}", tmp_path / "l0.tex", tmp_path)) < 2 * INLINED_BYTES


def test_the_whole_is_one_document_under_its_headings(script: Path, store: Store, embedder: HashingEmbedder) -> None:
    config = Config(store=store.directory)
    ingest_course(script, store, embedder, config)
    assert [document.source for document in store.documents("optics")] == ["notes.tex", "sheet.tex"]
    found = {
        passage.chunk.text.splitlines()[-1]: (passage.source, passage.chunk.location.heading)
        for passage in store.passages(store.chunk_ids(Scope("optics")).tolist()).values()
    }
    assert found["A concave mirror has one focus."] == ("notes.tex", ("Mirrors", "Curved"))
    assert found["A thin lens has two foci. Figure one shows a lens."] == ("notes.tex", ("Lenses",))

    (script / "chapters" / "mirrors.tex").write_text("\\subsection{Flat}\nA flat mirror has none.\n")
    report = ingest_course(script, store, embedder, config)
    assert (report.files["changed"], report.files["unchanged"]) == (1, 1)
    assert "A flat mirror has none." in store.document_text("optics", "notes.tex")
