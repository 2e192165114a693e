import pytest

from rag.answer import Engine, answer
from rag.golden import Golden
from rag.judge import coverage, judge_answer, judge_hits, judge_rankings, token_f1
from rag.types import Chunk, Hit, Location, LocationKind, Passage, Scope

QUOTE = "a b c d e f"  # two 5-grams


def passage(text: str, source: str = "x.pdf", page: int = 1) -> Passage:
    return Passage(1, "c", source, "X", Chunk(text, 0, len(text), Location(LocationKind.PAGE, page)))


def hits(*passages: Passage) -> list[Hit]:
    return [Hit(one, rank, 1 / rank) for rank, one in enumerate(passages, 1)]


def golden(*relevant: dict[str, object], **more: object) -> Golden:
    return Golden("1", "?", relevant=relevant, **more)  # type: ignore[arg-type]


def test_a_hit_holds_half_of_the_quote_in_the_right_place() -> None:
    entry = {"source": "x.pdf", "quote": QUOTE, "page": 2}
    right = passage("a b c d e", page=2)
    figures = judge_hits(golden(entry), hits(passage("a b c d e", page=1), passage("a b c d", page=2), right, passage(QUOTE, "y.pdf", 2)))
    assert figures["mrr@10"] == pytest.approx(1 / 3)
    assert (figures["hit@1"], figures["hit@3"], figures["recall@5"]) == (0, 1, 1)
    assert figures["ndcg@10"] == pytest.approx(0.5)  # 1 / log2(3 + 1)


def test_recall_counts_each_entry_once() -> None:
    entries = [{"source": "x.pdf", "quote": "a b c d e"}, {"source": "x.pdf", "quote": "v w x y z"}]
    figures = judge_hits(golden(*entries), hits(passage("a b c d e"), passage("a b c d e")))
    assert figures["recall@5"] == 0.5
    assert figures["coverage@750w"] == 0.5


def test_no_hits_are_zero_and_a_bare_scope_is_not_judged() -> None:
    assert judge_hits(golden({"source": "x.pdf", "quote": QUOTE}), [])["recall@5"] == 0
    assert judge_hits(golden({"source": "x.pdf"}, scope="x.pdf"), []) == {}


def test_the_same_text_in_another_format_counts() -> None:
    assert judge_hits(golden({"source": "x.pdf", "quote": QUOTE}), hits(passage(QUOTE, "x.docx")))["hit@1"] == 1


def test_coverage_ends_with_the_budget() -> None:
    entry = {"source": "x.pdf", "quote": "a b c d e f"}
    assert coverage([entry], [passage("a b c d e f")], budget=6) == 1
    assert coverage([entry], [passage("n n n"), passage("a b c d e f")], budget=8) == 0.5
    assert coverage([entry], [passage("a b c"), passage("d e f")]) == 0


def test_token_f1_by_hand() -> None:
    assert token_f1("The lens is thin.", "a thin lens") == pytest.approx(2 * 2 / 7)
    assert token_f1("x", "y") == 0


def test_answers_and_refusals(engine: Engine) -> None:
    answered = answer("How many points does a late day cost?", Scope("optics"), engine)
    entry = {"source": "syllabus.md", "quote": "Each late day costs 5 points."}
    figures = judge_answer(golden(entry, answers=("5 points",)), answered)
    assert (figures["answer_contains_gold"], figures["refused_answerable"], figures["cited_right"]) == (1, 0, 1)
    assert judge_answer(Golden("2", "?", answerable=False), answered) == {"refused_unanswerable": 0}


def test_many_questions_get_what_each_gets_alone() -> None:
    entry = {"source": "x.pdf", "quote": "a b c d e"}
    asked = [
        (golden(entry), hits(passage("n"), passage("a b c d e"))),
        (golden({"source": "x.pdf"}, scope="x.pdf"), hits(passage("n"))),
        (golden(entry), []),
        (golden(entry, {"source": "y.pdf"}), hits(passage("n", "y.pdf"), passage("a b c d e"))),
    ]
    assert judge_rankings(asked) == [judge_hits(*one) for one in asked]
    assert [one.get("mrr@10") for one in judge_rankings(asked)] == [0.5, None, 0, 1]
    assert judge_rankings([]) == []
