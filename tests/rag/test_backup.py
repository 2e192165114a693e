from pathlib import Path

import pytest

from rag.answer import answer
from rag.backup import back_up, check_catalogue, restore
from rag.conversations import add_exchange, list_conversations, start
from rag.database import CATALOGUE
from rag.engine import Engine
from rag.errors import StoreError
from rag.store import Store
from rag.types import Scope


def contents(store: Store) -> list[tuple]:
    tables = ("courses", "documents", "chunks", "vectors", "conversations", "messages")
    return [tuple(row) for table in tables for row in store.db.execute(f"SELECT * FROM {table} ORDER BY rowid")]


def test_a_restored_store_is_the_same(engine: Engine, tmp_path: Path) -> None:
    store = engine.searcher.store
    given = answer("What does each late day cost?", Scope("optics"), engine)
    add_exchange(store, start(store, "optics", "Late?").id, given)
    with store.transaction():  # another connection is in the middle of a write
        digest = back_up(Store(store.directory), tmp_path / "monday.db")
    assert (tmp_path / "monday.db.sha256").read_text() == f"{digest}  monday.db\n"
    again = restore(tmp_path / "monday.db", tmp_path / "new" / "store")
    assert contents(again) == contents(store)
    assert list_conversations(again, "optics") == list_conversations(store, "optics")
    generation = again.generation()
    assert generation is not None
    assert (again.directory / generation.file).exists()
    assert generation.chunks == 4


def test_the_log_of_a_catalogue_that_was_deleted_is_not_replayed(engine: Engine, tmp_path: Path) -> None:
    back_up(engine.searcher.store, tmp_path / "a.db")
    expected = contents(engine.searcher.store)
    for name in ("restored", "made"):
        (tmp_path / name).mkdir()
        for suffix in ("-wal", "-shm"):
            (tmp_path / name / f"{CATALOGUE}{suffix}").write_bytes((engine.searcher.store.directory / f"{CATALOGUE}{suffix}").read_bytes())
    assert contents(restore(tmp_path / "a.db", tmp_path / "restored")) == expected
    made = Store.create(tmp_path / "made")
    assert made.courses() == []
    assert check_catalogue(made.directory / CATALOGUE) is None


def test_what_is_there_is_never_overwritten(engine: Engine, tmp_path: Path) -> None:
    store = engine.searcher.store
    back_up(store, tmp_path / "a.db")
    with pytest.raises(StoreError, match=r"a.db exists already; name a new file"):
        back_up(store, tmp_path / "a.db")
    with pytest.raises(StoreError, match=r"holds a store already; restore into another folder with --store"):
        restore(tmp_path / "a.db", store.directory)


def test_a_damaged_backup_is_refused(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    back_up(engine.searcher.store, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"a.db is damaged: SHA-256 .*…, expected .*…; take another backup"):
        restore(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "a.db.sha256").unlink()
    with pytest.raises(StoreError, match=r"a.db.sha256 is missing"):
        restore(path, tmp_path / "new")


def test_a_target_that_cannot_be_written_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the backup .* cannot be written"):
        back_up(engine.searcher.store, tmp_path / "no folder" / "a.db")


def test_a_damaged_catalogue_is_told(engine: Engine, tmp_path: Path) -> None:
    store = engine.searcher.store
    back_up(store, tmp_path / "a.db")
    assert check_catalogue(store.directory / CATALOGUE) is None
    data = bytearray((tmp_path / "a.db").read_bytes())
    data[8192:16384] = bytes(8192)
    (tmp_path / "b.db").write_bytes(data)
    assert check_catalogue(tmp_path / "b.db") is not None
