import hashlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from ingest.pipeline import ingest_course
from rag.config import Config
from rag.database import CATALOGUE
from rag.errors import DiskFull, StoreBusy, StoreError, StoreMismatch, StoreMissing, UnknownCourse
from rag.lexical import any_word
from rag.migrations import MIGRATIONS
from rag.moments import ANY
from rag.records import EmbedderStamp, NewDocument, Part, SetAside
from rag.store import Store
from rag.types import Chunk, Location, LocationKind, Scope

STAMP = EmbedderStamp("test", "1", 2)
PAGE = Location(LocationKind.PAGE, 1)


def document(source: str, *texts: str, sha256: str = "a", facts: dict[str, str] | None = None) -> NewDocument:
    """A document of one chunk for each text; the vector of a text is named by the text."""
    chunks, position = [], 0
    for text in texts:
        chunks.append(Chunk(text, position, position + len(text), PAGE, "Title"))
        position += len(text) + 2
    vectors = {text: np.array([1, 0], np.float16) for text in texts}
    return NewDocument(
        source, sha256, "recipe", source.rpartition(".")[2], "Title", 1, "\n\n".join(texts), chunks, list(texts), vectors, facts or {}
    )


@pytest.fixture
def optics(store: Store, tmp_path: Path) -> Store:
    store.save_course("optics", "Optics", tmp_path)
    store.stamp_embedder(STAMP)
    return store


def all_of(course: str = "optics", **narrowed: object) -> Scope:
    return Scope(course, **narrowed)  # type: ignore[arg-type]


def test_a_document_comes_back_as_it_was_saved(optics: Store) -> None:
    optics.save_document(
        "optics",
        document(
            "a.pdf",
            "lens one",
            "lens two",
            facts={"material": "slides", "week": "3", "lecture": "5", "date": "2026-01-02", "due": "2026-01-09"},
        ),
    )
    (row,) = optics.documents("optics")
    assert (row.source, row.format, row.material) == ("a.pdf", "pdf", "slides")
    assert (row.week, row.lecture, row.date, row.due) == (3, 5, "2026-01-02", "2026-01-09")
    assert (len(optics.chunk_ids(all_of(lecture=5))), len(optics.chunk_ids(all_of(lecture=3)))) == (2, 0)
    passages = optics.passages(optics.chunk_ids(all_of()).tolist())
    assert [passage.chunk.text for passage in passages.values()] == ["lens one", "lens two"]
    text = optics.document_text("optics", "a.pdf")
    assert all(text[p.chunk.start : p.chunk.end] == p.chunk.text for p in passages.values())


def test_the_parts_of_a_document_are_its_places_in_order_and_only_while_it_is_visible(store: Store, tmp_path: Path) -> None:
    pages = [Location(LocationKind.PAGE, number) for number in (1, 1, 3)]
    new = document("a.pdf", "one", "two", "three", sha256="s", facts={"visible": "2999-01-01T00:00:00+00:00", "week": "2"})
    chunks = [replace(chunk, location=page) for chunk, page in zip(new.chunks, pages, strict=True)]
    store.save_course("c", "", tmp_path)
    store.save_document("c", replace(new, chunks=chunks))
    assert store.parts("c", "a.pdf") == []
    assert store.parts("c", "a.pdf", at=ANY) == [Part(0, 8, pages[0]), Part(10, 15, pages[2])]
    assert store.parts("other", "a.pdf", at=ANY) == store.parts("c", "b.pdf", at=ANY) == []
    assert store.document("c", "a.pdf", at=ANY).week == 2
    with pytest.raises(StoreError, match="has no document a.pdf"):
        store.document("c", "a.pdf")
    assert store.has_file("s")
    assert not store.has_file("t")
    store.remove_documents("c", ["a.pdf"])
    assert not store.has_file("s")


def test_saving_again_replaces_and_ids_are_never_used_again(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "old words"))
    old = optics.chunk_ids(all_of())
    optics.save_document("optics", document("a.pdf", "new words", sha256="b"))
    assert optics.text_index.search(any_word("old", None), all_of(), 5) == []
    assert len(optics.text_index.search(any_word("new", None), all_of(), 5)) == 1
    assert not set(optics.chunk_ids(all_of())) & set(old)


def test_identical_passages_share_a_vector_and_keep_two_places(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "same"))
    assert optics.missing_vectors(["same", "other"]) == {"other"}
    optics.save_document("optics", document("b.pdf", "same"))
    assert len(optics.vectors()[0]) == 2
    optics.remove_documents("optics", ["a.pdf"])
    optics.drop_unused_vectors()
    assert optics.missing_vectors(["same"]) == set()
    optics.remove_documents("optics", ["b.pdf"])
    optics.drop_unused_vectors()
    assert optics.missing_vectors(["same"]) == {"same"}


def test_a_document_without_all_its_vectors_is_not_saved_at_all(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "kept"))
    broken = document("a.pdf", "one", "two", sha256="b")
    del broken.vectors["two"]  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match=r"chunk 1 of a\.pdf has no vector"):
        optics.save_document("optics", broken)
    assert optics.document_text("optics", "a.pdf") == "kept"
    assert len(optics.text_index.search(any_word("kept", None), all_of(), 5)) == 1


@pytest.mark.parametrize(
    ("narrowed", "found"),
    [
        ({}, {"week1/a.pdf", "week10/b.pdf", "c.md"}),
        ({"path": "week1"}, {"week1/a.pdf"}),
        ({"path": "week1/"}, {"week1/a.pdf"}),
        ({"path": "c.md"}, {"c.md"}),
        ({"material": "slides"}, {"week1/a.pdf", "c.md"}),
        ({"week": 10}, {"week10/b.pdf"}),
        ({"format": "pdf", "material": "slides"}, {"week1/a.pdf"}),
        ({"path": "nowhere"}, set()),
    ],
)
def test_a_scope_narrows_both_searches_alike(optics: Store, narrowed: dict[str, object], found: set[str]) -> None:
    optics.save_document("optics", document("week1/a.pdf", "lens a", facts={"material": "slides"}))
    optics.save_document("optics", document("week10/b.pdf", "lens b", facts={"material": "lab", "week": "10"}))
    optics.save_document("optics", document("c.md", "lens c", facts={"material": "slides"}))
    scope = all_of(**narrowed)
    by_ids = optics.passages(optics.chunk_ids(scope).tolist()).values()
    by_text = optics.passages([chunk_id for chunk_id, _ in optics.text_index.search(any_word("lens", None), scope, 10)]).values()
    assert {passage.source for passage in by_ids} == found == {passage.source for passage in by_text}


def test_courses_do_not_see_each_other(optics: Store, tmp_path: Path) -> None:
    optics.save_course("waves", "Waves", tmp_path)
    optics.save_document("optics", document("a.pdf", "lens"))
    optics.save_document("waves", document("a.pdf", "lens"))
    assert len(optics.text_index.search(any_word("lens", None), all_of("waves"), 5)) == 1
    assert set(optics.chunk_ids(all_of("waves"))).isdisjoint(optics.chunk_ids(all_of("optics")))


def test_bm25_is_higher_for_the_better_match(optics: Store) -> None:
    optics.save_document(
        "optics", document("a.pdf", "lens lens lens", "lens and many other words about light and glass and mirrors", "nothing")
    )
    (first, high), (second, low) = optics.text_index.search(any_word("lens", None), all_of(), 5)
    assert high > low > 0
    assert first < second


def test_a_file_set_aside_takes_the_place_of_its_document(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "lens"))
    optics.save_set_aside("optics", SetAside("a.pdf", "is encrypted", "c", "recipe"))
    assert optics.documents("optics") == []
    assert optics.set_aside("optics") == {"a.pdf": SetAside("a.pdf", "is encrypted", "c", "recipe")}


def test_renaming_keeps_chunks_and_vectors(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "lens"))
    before = optics.chunk_ids(all_of())
    optics.rename_document("optics", "a.pdf", "b/c.pdf")
    assert list(optics.chunk_ids(all_of(path="b"))) == list(before)


def test_another_embedder_is_refused_by_name(optics: Store) -> None:
    with pytest.raises(
        StoreMismatch, match=r"test \(2-d, revision 1\) but the config names bge \(768-d, revision 7\); run: python -m ingest --rebuild"
    ):
        optics.stamp_embedder(EmbedderStamp("bge", "7", 768))


def test_one_writer_at_a_time_and_the_holder_is_named(store: Store) -> None:
    with store.writer_lock():
        assert store.is_being_written()
        with pytest.raises(StoreBusy, match=r"another ingest is writing .*process \d+"), Store(store.directory).writer_lock():
            pass
    assert not store.is_being_written()


def test_missing_unknown_newer_and_damaged_stores(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreMissing, match="there is no store in"):
        Store.open(tmp_path / "none")
    with pytest.raises(UnknownCourse, match="no course 'x' .* its courses: none yet"):
        store.course("x")
    store.db["_sqlite_migrations"].insert({"migration_set": "lectern", "name": "m999_future", "applied_at": "now"}, pk="id")
    with pytest.raises(StoreMismatch, match="newer Lectern .*m999_future"):
        Store.open(store.directory)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "catalogue.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        Store.open(damaged)


def test_the_original_is_given_only_as_it_was_ingested(optics: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"lens")
    optics.save_document("optics", document("a.txt", "lens", sha256=hashlib.sha256(b"lens").hexdigest()))
    assert optics.original("optics", "a.txt") == b"lens"
    file.write_bytes(b"other")
    with pytest.raises(StoreError, match=r"a\.txt has changed since it was ingested"):
        optics.original("optics", "a.txt")
    file.unlink()
    with pytest.raises(StoreError, match=r"a\.txt cannot be read"):
        optics.original("optics", "a.txt")


def test_neighbours_are_in_reading_order_and_stay_in_the_document(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "one", "two", "three"))
    optics.save_document("optics", document("b.pdf", "four"))
    ids = optics.chunk_ids(all_of()).tolist()
    last_of_a = optics.passages(ids)[ids[2]]
    assert [passage.chunk.text for passage in optics.neighbours(last_of_a)] == ["two", "three"]


def test_an_error_in_a_transaction_leaves_nothing(optics: Store) -> None:
    def delete_and_fail() -> None:
        with optics.transaction() as db:
            db.execute("DELETE FROM courses")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        delete_and_fail()
    assert [course.name for course in optics.courses()] == ["optics"]


def test_foreign_keys_and_durability_are_on(store: Store) -> None:
    values = {
        name: store.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("foreign_keys", "synchronous", "journal_mode", "trusted_schema")
    }
    assert values == {"foreign_keys": 1, "synchronous": 2, "journal_mode": "wal", "trusted_schema": 0}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(alphabet="abc \"'%äß", min_size=1, max_size=20), min_size=1, max_size=5, unique=True))
def test_any_text_comes_back(optics: Store, texts: list[str]) -> None:
    optics.save_document("optics", document("any.txt", *texts))
    stored = optics.passages(optics.chunk_ids(all_of()).tolist()).values()
    assert [passage.chunk.text for passage in stored] == texts
    optics.db.execute("INSERT INTO chunks_fts_1 (chunks_fts_1) VALUES ('integrity-check')")


def test_sqlite_has_what_the_catalogue_needs() -> None:
    assert sqlite3.sqlite_version_info >= (3, 38)


def test_a_store_of_the_first_schema_is_brought_up_to_date(optics: Store) -> None:
    optics.save_document("optics", document("a.pdf", "lens one"))
    for table, columns in (
        ("documents", ("lecture", "due", "notices", "fingerprint")),
        ("set_aside", ("fingerprint",)),
        ("revision", ("to_forget",)),
    ):
        for column in columns:
            optics.db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    optics.db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm002_more_about_files'")
    optics.db.commit()
    again = Store.open(optics.directory)
    (row,) = again.documents("optics")
    assert (row.source, row.lecture, row.notices, row.fingerprint) == ("a.pdf", None, [], "")


def test_notices_stay_with_their_document(optics: Store) -> None:
    optics.save_document("optics", replace(document("a.pdf", "lens"), notices=("page 2 is empty",)))
    assert optics.documents("optics")[0].notices == ["page 2 is empty"]


def test_writing_is_refused_while_there_is_still_room_for_what_is_there(optics: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    optics.require_space(1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=40 << 20))
    optics.require_space(8 << 20)
    with pytest.raises(DiskFull, match=r"has 40 MiB left, and writing needs 41 MiB; what was saved stays .* make room"):
        optics.require_space(9 << 20)


def test_what_was_deleted_is_forgotten_once_no_reader_holds_the_log(optics: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.database.BUSY_TIMEOUT_S", 0.1)
    optics.save_document("optics", document("a.pdf", "Quetzalcoatl"))
    optics.remove_documents("optics", ["a.pdf"])
    optics.drop_unused_vectors()
    reader, writer = Store(optics.directory), Store(optics.directory)
    reader.db.execute("BEGIN")
    reader.db.execute("SELECT count(*) FROM chunks").fetchone()
    assert not writer.forget_deleted()
    reader.db.rollback()
    assert writer.forget_deleted()
    assert all(b"uetzalcoatl" not in path.read_bytes() for path in optics.directory.iterdir())
    assert writer.forget_deleted(), "nothing is left to be done"


def test_languages_of_a_scope_the_commonest_first(optics: Store) -> None:
    for source, language in (("en/a.md", "en"), ("de/a.md", "de"), ("de/b.md", "de"), ("x.md", None)):
        optics.save_document("optics", document(source, source, facts={"language": language} if language else {}))
    assert optics.languages(all_of()) == ["de", "en"]
    assert optics.languages(all_of(path="en")) == ["en"]
    assert optics.languages(all_of(path="x.md")) == []


@pytest.fixture
def shelves(optics: Store, tmp_path: Path) -> Store:
    """Two courses of 60 documents, saved in turns: `prism` in every tenth, `lens` in every ninth, so that number 0 alone has both."""
    optics.save_course("other", "Other", tmp_path)
    for number in range(60):
        held = ["prism"] * (number % 10 == 0) + ["lens"] * (number % 9 == 0)
        texts = [" ".join([*held, f"n{number}", f"filler{part}"]) for part in range(3)]
        for course in ("optics", "other"):
            optics.save_document(course, document(f"{number}.txt", *texts, facts={"week": str(number % 2)}))
    return optics


@pytest.mark.parametrize("narrowed", [{}, {"week": 0}], ids=["course", "week"])
def test_a_narrowed_text_search_stays_in_its_scope(shelves: Store, narrowed: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.text_index.ENOUGH_CANDIDATES", 1)
    few = shelves.text_index.search(any_word("prism lens", None), all_of(**narrowed), 100, most_rows=1)
    found = shelves.passages([chunk_id for chunk_id, _ in few]).values()
    assert [(passage.course, passage.source) for passage in found] == [("optics", "0.txt")] * 3
    assert few == shelves.text_index.search(any_word("prism lens", None), all_of(**narrowed), 100)[:3]


def test_narrowing_changes_no_score_of_what_it_keeps(optics: Store) -> None:
    """Of 200 chunks 25 hold `prism`, 27 `lens`, two of them both: by BM25 these are first. Chunks with `lens` alone are not ranked."""
    for number in range(200):
        words = ["prism"] * (number < 25) + ["lens"] * (23 <= number < 50)
        optics.save_document("optics", document(f"{number}.txt", " ".join([*words, f"n{number}"])))
    full = optics.text_index.search(any_word("prism lens", None), all_of(at=ANY), 100)
    narrowed = optics.text_index.search(any_word("prism lens", None), all_of(at=ANY), 100, most_rows=25)
    assert len(full) == 50
    assert narrowed == [pair for pair in full if pair[0] in range(1, 26)]
    assert {chunk_id for chunk_id, _ in narrowed[:2]} == {24, 25}


@pytest.mark.parametrize(
    ("narrowed", "matches"), [({}, 12 * 3 + 48), ({"week": 1}, 3 * 3 + 27), ({"path": "30.txt"}, 3)], ids=["course", "week", "file"]
)
def test_a_small_scope_is_searched_as_a_large_one(shelves: Store, narrowed: dict[str, object], matches: int) -> None:
    scope = all_of(**narrowed)
    small = shelves.text_index.search(any_word("prism lens filler1", None), scope, 1000, len(shelves.chunk_ids(scope)))
    assert small == shelves.text_index.search(any_word("prism lens filler1", None), scope, 1000)
    assert len(small) == matches


def test_all_are_ranked_when_too_few_are_promising(optics: Store) -> None:
    for number in range(200):
        words = ["prism"] * (number < 25) + ["lens"] * (25 <= number < 50)
        optics.save_document("optics", document(f"{number}.txt", " ".join([*words, f"n{number}"])))
    assert len(optics.text_index.search(any_word("prism lens", None), all_of(at=ANY), 100, most_rows=1)) == 50, "no chunk holds both"


def test_a_course_is_looked_at_alone_wherever_it_stands(shelves: Store) -> None:
    """A course ranks as if it were the only one, and a word is as rare as it is in the course."""
    both = [chunk_id for chunk_id, _ in shelves.text_index.search(any_word("n7", None), all_of(at=ANY), 10)]
    texts = {passage.source for passage in shelves.passages(both).values()}
    assert (len(both), texts) == (3, {"7.txt"})
    assert all(passage.course == "optics" for passage in shelves.passages(both).values())
    before = shelves.text_index.search(any_word("n7", None), all_of(at=ANY), 10)
    shelves.save_document("other", document("more.txt", *[f"n7 n7 copy{number}" for number in range(50)]))
    assert shelves.text_index.search(any_word("n7", None), all_of(at=ANY), 10) == before
    assert shelves.text_index.count("optics", any_word("n7", None)) == 3
    assert (shelves.text_index.count("other", any_word("n7", None)), shelves.text_index.chunks("other")) == (53, 230)
    shelves.remove_documents("optics", [f"{number}.txt" for number in range(60)])
    assert shelves.text_index.search(any_word("n7", None), all_of(at=ANY), 10) == []
    assert len(shelves.text_index.search(any_word("n7", None), all_of("other"), 10)) == 10


def test_counts_are_taken_again_when_the_catalogue_has_changed(optics: Store) -> None:
    for number in range(100):
        optics.save_document("optics", document(f"{number}.txt", "lens" if number % 2 else "prism"))
    assert len(optics.text_index.search(any_word("lens prism", None), all_of(at=ANY), 100, most_rows=10)) == 50
    optics.remove_documents("optics", [f"{number}.txt" for number in range(0, 100, 2)])
    assert len(optics.text_index.search(any_word("lens prism", None), all_of(at=ANY), 100, most_rows=10)) == 50
    assert len(optics.text_index.search(any_word("prism", None), all_of(at=ANY), 100, most_rows=10)) == 0


def test_a_catalogue_of_the_first_version_gets_the_indexes_of_today(tmp_path: Path) -> None:
    db = Database(tmp_path / CATALOGUE)
    MIGRATIONS.apply(db, stop_before="m003_measured_recall")
    db.execute("INSERT INTO courses (name, title, folder) VALUES ('optics', 'Optics', '/courses/optics')")
    db.execute(
        """INSERT INTO documents (course_id, source, sha256, recipe, format, title, pages, text, ingested_at)
        VALUES (1, 'a.md', '', '', 'md', 'Lenses', 1, 'Thin lenses bend light.', '2026-01-01')"""
    )
    db.execute("INSERT INTO vectors (key, embedding) VALUES ('k', x'0000')")
    location = json.dumps(Location(LocationKind.PAGE, 1).to_json())
    db.execute(
        """INSERT INTO chunks (document_id, ordinal, start, "end", location, context, text, vector_id)
        VALUES (1, 0, 0, 23, ?, 'Lenses', 'Thin lenses bend light.', 1)""",
        [location],
    )
    db.commit()
    db.close()
    store = Store.open(tmp_path)
    ((chunk_id, bm25),) = store.text_index.search(any_word("thin light", None), all_of(), 5)
    assert bm25 > 0
    assert store.passages([chunk_id])[chunk_id].chunk.tokens == 6, "a quarter of its 23 characters"
    assert store.words_beginning("optics", "l") == {"lenses": 1, "light": 1}


def test_each_document_says_how_many_passages_it_has_and_where_they_begin(course_folder, store, embedder):
    ingest_course(course_folder, store, embedder, Config())
    rows = store.db.execute("SELECT d.source, c.id FROM chunks c JOIN documents d ON d.id = c.document_id ORDER BY c.id").fetchall()
    by_source = {}
    for source, chunk_id in rows:
        by_source.setdefault(source, []).append(chunk_id)
    assert store.passages_of_documents("optics") == {source: (len(ids), ids[0]) for source, ids in by_source.items()}
    assert {len(ids) for ids in by_source.values()} == {2}
    assert store.passages_of_documents("nosuch") == {}


def test_what_sqlite_refuses_while_writing_is_a_store_error_and_a_broken_constraint_is_not(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot be written: no such table: nowhere; run: python -m rag doctor"), store.transaction() as db:
        db.execute("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as db:
        db.execute("INSERT INTO courses (name, title) VALUES (NULL, NULL)")
