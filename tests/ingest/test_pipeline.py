from pathlib import Path

import numpy as np
import pytest

import ingest.pipeline
import ingest.walk
from ingest.pipeline import ingest_course
from rag.config import Config
from rag.errors import CorpusError, StoreBusy, StoreMismatch
from rag.lexical import any_word
from rag.records import EmbedderStamp
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder


class OtherEmbedder(HashingEmbedder):
    identity = ("other", "2")
    stamp = EmbedderStamp("other", "2", 256)


class FailingEmbedder(HashingEmbedder):
    def embed_documents(self, texts: object) -> np.ndarray:
        raise MemoryError


@pytest.fixture
def config(store: Store) -> Config:
    return Config(store=store.directory)


def sources(store: Store) -> list[str]:
    return [document.source for document in store.documents("optics")]


def test_first_run_then_a_second_that_changes_nothing(course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config) -> None:
    first = ingest_course(course_folder, store, embedder, config)
    assert first.files == {"new": 2, "changed": 0, "unchanged": 0, "renamed": 0, "removed": 0, "set_aside": 0}
    assert first.embedded == first.chunks == 4
    assert sum(first.seconds.values()) == pytest.approx(2 * first.seconds["total"])
    ids = store.chunk_ids(Scope("optics")).tolist()
    second = ingest_course(course_folder, store, embedder, config)
    assert second.files["unchanged"] == 2
    assert (second.embedded, second.tokens, second.chunks, second.generation) == (0, 0, 4, first.generation)
    assert store.chunk_ids(Scope("optics")).tolist() == ids


def test_changed_renamed_and_removed_files(course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config) -> None:
    ingest_course(course_folder, store, embedder, config)
    (course_folder / "notes" / "week02-lenses.md").rename(course_folder / "notes" / "week02-thin-lenses.md")
    (course_folder / "syllabus.md").write_text("# Optics\n\nOnly this now.\n")
    report = ingest_course(course_folder, store, embedder, config)
    assert (report.files["renamed"], report.files["changed"], report.embedded) == (1, 1, 1)
    assert sources(store) == ["notes/week02-thin-lenses.md", "syllabus.md"]
    (course_folder / "notes" / "week02-thin-lenses.md").unlink()
    assert ingest_course(course_folder, store, embedder, config).files["removed"] == 1
    assert sources(store) == ["syllabus.md"]
    assert store.text_index.search(any_word("aberration", None), Scope("optics"), 5) == []


def test_a_file_that_cannot_be_read_is_set_aside_and_the_rest_goes_on(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    (course_folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (course_folder / "movie.mp4").write_bytes(b"\x00\x01")
    report = ingest_course(course_folder, store, embedder, config)
    assert [file["source"] for file in report.set_aside] == ["broken.pdf", "movie.mp4"]
    assert all(file["reason"] for file in report.set_aside)
    assert len(sources(store)) == 2
    again = ingest_course(course_folder, store, embedder, config)
    assert (again.files["unchanged"], again.files["set_aside"]) == (4, 2)
    (course_folder / "broken.pdf").unlink()
    (course_folder / "movie.mp4").rename(course_folder / "movie2.mp4")
    final = ingest_course(course_folder, store, embedder, config)
    assert [file["source"] for file in final.set_aside] == ["movie2.mp4"]


def test_an_emptied_folder_is_an_error_and_nothing_is_lost(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    ingest_course(course_folder, store, embedder, config)
    for file in course_folder.rglob("*.md"):
        file.unlink()
    with pytest.raises(CorpusError, match="holds no files"):
        ingest_course(course_folder, store, embedder, config)
    assert len(sources(store)) == 2


def test_a_passage_that_moves_to_another_file_in_one_run_is_kept(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    (course_folder / "a.txt").write_text("The shared passage.")
    (course_folder / "b.txt").write_text("Something else.")
    ingest_course(course_folder, store, embedder, config)
    (course_folder / "a.txt").write_text("Something else.")
    (course_folder / "b.txt").write_text("The shared passage.")
    ingest_course(course_folder, store, embedder, config)
    assert store.document_text("optics", "b.txt") == "The shared passage."
    ids, vectors, _ = store.vectors()
    assert len(ids) == len(vectors) == store.course("optics").chunks


def test_a_passage_in_two_files_has_two_places_and_is_embedded_once(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    (course_folder / "copy.md").write_bytes((course_folder / "syllabus.md").read_bytes())
    report = ingest_course(course_folder, store, embedder, config)
    assert (report.chunks, report.embedded) == (6, 4)
    found = store.passages([chunk_id for chunk_id, _ in store.text_index.search(any_word("midterm", None), Scope("optics"), 5)])
    assert sorted(passage.source for passage in found.values()) == ["copy.md", "syllabus.md"]


def test_a_run_that_fails_leaves_the_old_state_and_the_next_completes(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    ingest_course(course_folder, store, embedder, config)
    (course_folder / "syllabus.md").write_text("New words entirely.")
    with pytest.raises(MemoryError):
        ingest_course(course_folder, store, FailingEmbedder(), config)
    assert "midterm" in store.document_text("optics", "syllabus.md")
    assert not store.is_being_written()
    ingest_course(course_folder, store, embedder, config)
    assert "New words" in store.document_text("optics", "syllabus.md")


def test_another_embedder_needs_a_rebuild_which_covers_every_course(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    ingest_course(course_folder, store, embedder, config)
    ingest_course(course_folder, store, embedder, config, name="second")
    with pytest.raises(StoreMismatch, match="was indexed with hashing .* run: python -m ingest --rebuild"):
        ingest_course(course_folder, store, OtherEmbedder(), config)
    ingest_course(course_folder, store, OtherEmbedder(), config, rebuild=True)
    assert store.embedder() == OtherEmbedder.stamp
    assert (store.course("optics").chunks, store.course("second").chunks) == (4, 4)
    assert len(store.vectors()[0]) == 8
    store.require_embedder(OtherEmbedder.stamp)


def test_a_second_writer_is_told_at_once(course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config) -> None:
    with store.writer_lock(), pytest.raises(StoreBusy, match="another ingest is writing"):
        ingest_course(course_folder, Store(store.directory), embedder, config)


def test_facts_become_columns_and_filters(course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config) -> None:
    ingest_course(course_folder, store, embedder, config)
    assert {document.source: (document.material, document.week) for document in store.documents("optics")} == {
        "notes/week02-lenses.md": ("lecture notes", 2),
        "syllabus.md": ("syllabus", None),
    }
    assert len(store.chunk_ids(Scope("optics", week=2))) == 2


def test_a_rename_that_changes_the_facts_is_read_again_and_embeds_nothing(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    ingest_course(course_folder, store, embedder, config)
    (course_folder / "notes" / "week02-lenses.md").rename(course_folder / "lab3.md")
    report = ingest_course(course_folder, store, embedder, config)
    assert (report.files["renamed"], report.files["changed"], report.files["removed"], report.embedded) == (1, 1, 0, 0)
    assert [(document.material, document.week) for document in store.documents("optics")] == [("lab", 3), ("syllabus", None)]


def test_what_decides_about_a_file_counts_as_a_change_of_it(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    ingest_course(course_folder, store, embedder, config)
    (course_folder / "course.toml").write_text('[[material]]\npath = "syllabus.md"\ntype = "rules"\n')
    report = ingest_course(course_folder, store, embedder, config)
    assert (report.files["changed"], report.files["unchanged"], report.embedded) == (1, 1, 0)
    assert {document.material for document in store.documents("optics")} == {"rules", "lecture notes"}
    assert ingest_course(course_folder, store, embedder, config.replace(chunk_tokens=100)).files["changed"] == 2


def test_two_folders_of_one_name_do_not_delete_each_other(
    course_folder: Path, tmp_path: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    ingest_course(course_folder, store, embedder, config)
    other = tmp_path / "last year" / "optics"
    other.mkdir(parents=True)
    (other / "old.md").write_text("Old words.")
    with pytest.raises(CorpusError, match=r"the course optics was ingested from .*; give this one another name with --course"):
        ingest_course(other, store, embedder, config)
    assert len(sources(store)) == 2
    ingest_course(other, store, embedder, config, rebuild=True)
    assert sources(store) == ["old.md"]


def test_a_link_does_not_make_every_run_a_change(course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config) -> None:
    (course_folder / "link.md").symlink_to(course_folder / "syllabus.md")
    first = ingest_course(course_folder, store, embedder, config)
    second = ingest_course(course_folder, store, embedder, config)
    assert first.set_aside == second.set_aside != []
    assert (second.files["removed"], second.generation) == (0, first.generation)


def test_a_file_that_was_only_touched_changes_nothing(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.walk.SETTLED_NS", -(10**12))
    first = ingest_course(course_folder, store, embedder, config)
    before = store.documents("optics")
    (course_folder / "syllabus.md").touch()
    second = ingest_course(course_folder, store, embedder, config)
    assert (second.files["unchanged"], second.generation) == (2, first.generation)
    after = store.documents("optics")
    assert [document.fingerprint != old.fingerprint for document, old in zip(after, before, strict=True)] == [False, True]
    assert [document.id for document in after] == [document.id for document in before]


def test_the_report_adds_up_and_says_what_went_on(course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config) -> None:
    (course_folder / "photo.heic").write_bytes(b"x")
    report = ingest_course(course_folder, store, embedder, config, workers=2)
    assert report.peak_memory["reader"] > 5 << 20
    assert report.peak_memory["ingest"] > 50 << 20
    assert min(report.beside[part] for part in ("read", "chunk", "save")) > 0
    lines = report.summary().splitlines()
    assert lines[0] == "optics: 3 new, 1 set aside"
    assert lines[1].startswith("  0 pages, 4 chunks; embedded 4 chunks")
    assert lines[-1].startswith("  set aside: photo.heic is in the format .heic, which is not read")
    assert report.to_json()["beside"].keys() == {"read", "chunk", "save"}


def test_the_text_that_was_read_is_the_one_that_is_named(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes between the walk and its reader is stored under the SHA-256 of what was read."""
    find = ingest.pipeline.find_changes

    def find_then_change(folder: Path, *arguments: object) -> object:
        found = find(folder, *arguments)
        (folder / "syllabus.md").write_text("# Optics\n\nLater words.\n")
        return found

    monkeypatch.setattr("ingest.pipeline.find_changes", find_then_change)
    ingest_course(course_folder, store, embedder, config)
    assert "Later words." in store.original("optics", "syllabus.md").decode()
    assert "Later words." in store.document_text("optics", "syllabus.md")


def test_a_file_that_cannot_be_opened_for_now_keeps_its_document(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_course(course_folder, store, embedder, config)
    look_at = ingest.walk._look_at

    def refuse(source: str, path: Path, known: object) -> object:
        if source == "syllabus.md":
            path.rename(path.with_name(".away"))
            raise PermissionError(13, "Permission denied")
        return look_at(source, path, known)  # type: ignore[arg-type]

    monkeypatch.setattr("ingest.walk._look_at", refuse)
    report = ingest_course(course_folder, store, embedder, config)
    assert [file["reason"] for file in report.set_aside] == ["syllabus.md cannot be opened: No such file or directory"]
    assert "midterm" in store.document_text("optics", "syllabus.md")
    monkeypatch.undo()
    (course_folder / ".away").rename(course_folder / "syllabus.md")
    again = ingest_course(course_folder, store, embedder, config)
    assert (again.set_aside, again.files["changed"], again.embedded) == ([], 1, 0)


def test_a_document_has_the_language_it_says_else_the_one_it_is_in(
    course_folder: Path, store: Store, embedder: HashingEmbedder, config: Config
) -> None:
    german = "Die Linse bricht das Licht, und der Brennpunkt liegt hinter ihr, wenn die Strahlen parallel zur Achse einfallen. " * 3
    (course_folder / "linsen.md").write_text(german)
    (course_folder / "lentes.md").write_text(f"---\nlanguage: es\n---\n\n{german}")
    ingest_course(course_folder, store, embedder, config)
    assert {document.source: document.language for document in store.documents("optics")} == {
        "lentes.md": "es",
        "linsen.md": "de",
        "notes/week02-lenses.md": None,  # too short to be sure
        "syllabus.md": None,
    }
