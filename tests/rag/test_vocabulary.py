from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.records import EmbedderStamp, NewDocument
from rag.store import Store
from rag.types import Chunk, Location, LocationKind
from rag.vocabulary import count_words


def save(store: Store, source: str, text: str) -> None:
    chunk = Chunk(text, 0, len(text), Location(LocationKind.LINE, 1))
    store.save_document("c", NewDocument(source, "a", "r", "txt", source, 1, text, [chunk], ["k"], {"k": np.array([1, 0], np.float16)}))


def vocabulary(store: Store) -> dict[str, int]:
    return {word: count for row in store.db.execute("SELECT word, occurrences FROM words") for word, count in [row]}


def test_words_are_counted_folded_and_only_where_a_spelling_can_be_wrong() -> None:
    text = "Naïve lenses, naive LENSES: f/2, CO2, it's 3 of them in März. 期中考试 ภาษาไทย " + "x" * 31
    assert count_words(text) == {"naive": 2, "lenses": 2, "them": 1, "marz": 1}


def test_the_vocabulary_follows_the_documents(store: Store, tmp_path: Path) -> None:
    store.save_course("c", "C", tmp_path)
    store.stamp_embedder(EmbedderStamp("test", "1", 2))
    save(store, "a", "lens mirror lens")
    save(store, "b", "lens prism")
    assert vocabulary(store) == {"lens": 3, "mirror": 1, "prism": 1}
    save(store, "a", "mirror")
    assert vocabulary(store) == {"lens": 1, "mirror": 1, "prism": 1}
    store.remove_documents("c", ["b"])
    assert vocabulary(store) == {"mirror": 1}
    assert store.known_words("c", ["mirror", "lens"]) == {"mirror"}
    assert store.known_words("other", ["mirror"]) == set()
    assert store.words_beginning("c", "mi") == {"mirror": 1}


TEXTS = st.lists(st.sampled_from("lens mirror prism ray".split()), max_size=6).map(" ".join)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), TEXTS | st.none()), max_size=8))
def test_the_vocabulary_is_that_of_the_stored_texts_after_any_changes(
    store: Store, tmp_path: Path, steps: list[tuple[str, str | None]]
) -> None:
    store.save_course("c", "C", tmp_path)
    store.stamp_embedder(EmbedderStamp("test", "1", 2))
    for source, text in steps:
        store.remove_documents("c", [source]) if text is None else save(store, source, text)
    total: Counter[str] = Counter()
    for document in store.documents("c"):
        total += count_words(store.document_text("c", document.source))
    assert vocabulary(store) == dict(total)
