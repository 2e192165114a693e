from hypothesis import given
from hypothesis import strategies as st

from rag.pruning import Narrowed, narrow


def test_few_chunks_need_no_narrowing() -> None:
    assert narrow({'"a"': 300, '"b"': 100}, 10_000, 200) is None


def test_rare_terms_and_pairs_of_the_others_by_hand() -> None:
    # rare: a and b, 90 chunks. Pairs, if independent: c and d 400 · 500 / 10,000 = 20, c and e 40, d and e 50: 20 + 40 < 100 < 110
    counts = {'"e"': 1000, '"a"': 10, '"b"': 80, '"d"': 500, '"c"': 400}
    assert narrow(counts, 10_000, 100) == Narrowed('"a" OR "b" OR ("c" AND "d") OR ("c" AND "e")', '"a" OR "b" OR "c" OR "d" OR "e"')


def test_words_that_stand_nearly_everywhere_are_left_out() -> None:
    assert narrow({'"the"': 9000, '"cache"': 600}, 10_000, 100) == Narrowed('"cache"', '"cache"')
    assert narrow({'"the"': 9000, '"of"': 8000}, 10_000, 100) == Narrowed('"of"', '"of"'), "nothing would be left"


def test_without_a_rare_term_the_rarest_pair_is_taken_however_frequent() -> None:
    assert narrow({'"a"': 1400, '"b"': 1500}, 10_000, 100) == Narrowed('("a" AND "b")', '"a" OR "b"')


@given(st.dictionaries(st.sampled_from([f'"{letter}"' for letter in "abcdefgh"]), st.integers(0, 1000), min_size=1), st.integers(1, 500))
def test_there_are_always_candidates_among_what_is_ranked(counts: dict[str, int], most_rows: int) -> None:
    found = narrow(counts, 1000, most_rows)
    if found is None:
        assert sum(counts.values()) <= 2 * most_rows
    else:
        named = {term for term in counts if term in found.candidates}
        assert named
        assert named <= set(found.ranking.split(" OR ")) <= counts.keys()
