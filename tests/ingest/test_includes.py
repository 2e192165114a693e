from pathlib import Path

import pytest

from ingest.includes import INLINED_BYTES, assemble, documents_of
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
    assert documents_of(sources(script), script) == {"notes.tex": ["chapters/lenses.tex", "caption.txt", "chapters/mirrors.tex"]}


def test_files_that_name_each_other_have_one_main_file(tmp_path: Path) -> None:
    (tmp_path / "a.tex").write_text("\\input{b}")
    (tmp_path / "b.tex").write_text("\\input{a} \\input{b}")
    assert documents_of(sources(tmp_path), tmp_path) == {"a.tex": ["b.tex"]}
    assert b"\\input" in assemble(b"\\input{b}", tmp_path / "a.tex", tmp_path).data


def test_nothing_outside_the_course_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.tex").write_text("secret")
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "link.tex").symlink_to(tmp_path / "secret.tex")
    data = b"\\input{../secret} \\input{" + str(tmp_path / "secret").encode() + b"} \\input{link} \\input{missing} \\input{\0}"
    (folder / "main.tex").write_bytes(data)
    assert assemble(data, folder / "main.tex", folder).data == data
    assert documents_of({"main.tex": folder / "main.tex"}, folder) == {}


def test_what_is_in_the_document_is_what_is_no_document(tmp_path: Path) -> None:
    """Names count from the main file's folder, in the parts too, as TeX has it; a part of a part is in or stays a document."""
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    (tmp_path / "book" / "main.tex").write_text("\\input{chapters/one}")
    (tmp_path / "book" / "chapters" / "one.tex").write_text("One \\input{two} \\input{chapters/three}")
    (tmp_path / "book" / "chapters" / "two.tex").write_text("Two")
    (tmp_path / "book" / "chapters" / "three.tex").write_text("Three")
    found = documents_of(sources(tmp_path), tmp_path)
    assert found == {"book/main.tex": ["book/chapters/one.tex", "book/chapters/three.tex"]}
    data = assemble(b"\\input{chapters/one}", tmp_path / "book" / "main.tex", tmp_path).data
    assert data == b"One \\input{two} Three"


def test_a_chain_longer_than_is_followed_loses_nothing(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"p{number:02}.tex").write_text(f"Text {number} \\input{{p{number + 1:02}}}")
    documents = documents_of(sources(tmp_path), tmp_path)
    inside = {part for parts in documents.values() for part in parts}
    for source, path in sources(tmp_path).items():
        if source not in inside:
            assert f"Text {int(source[1:3])} ".encode() in assemble(path.read_bytes(), path, tmp_path).data
    assert len(inside) + len(set(sources(tmp_path)) - inside) == 12


def test_only_text_that_is_material_is_included(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=1")
    (tmp_path / ".hidden.tex").write_text("hidden")
    (tmp_path / "slides.pdf").write_bytes(b"%PDF")
    data = b"\\input{.env} \\input{.hidden} \\input{slides.pdf}" + b"\\input{" + b" " * 10_000
    assert assemble(data, tmp_path / "main.tex", tmp_path).data == data


def test_a_bomb_of_includes_stays_small(tmp_path: Path) -> None:
    for level in range(8):
        (tmp_path / f"l{level}.tex").write_text(f"\\input{{l{level + 1}}}" * 20)
    (tmp_path / "l8.tex").write_text("x" * 100_000)
    assert len(assemble(b"\\input{l1}", tmp_path / "l0.tex", tmp_path).data) < 2 * INLINED_BYTES


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
