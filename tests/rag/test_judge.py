import pytest

from rag.answer import answer
from rag.engine import Engine
from rag.golden import Golden
from rag.judge import coverage, judge_answer, judge_citations, judge_hits, judge_rankings, judge_writing, token_f1
from rag.types import (
    Answer,
    Chunk,
    Hit,
    Latency,
    Location,
    LocationKind,
    Mode,
    Passage,
    Scope,
    Sentence,
    Source,
    Support,
)  # fmt: skip

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


def citing(
    *spans: tuple[str, str], abstained: bool = False, dropped: tuple[Sentence, ...] = (), shown: tuple[Sentence, ...] = ()
) -> Answer:
    """An answer that cites `(source, quoted words)`."""
    sources = tuple(Source(n, passage(f"before {quote} after", name), quote) for n, (name, quote) in enumerate(spans, 1))
    return Answer("?", "?", "", abstained, 0.5, Mode.GENERATED, shown, sources, Latency({}, 1.0), dropped=dropped)


def test_citations_are_right_by_span() -> None:
    asked = golden({"source": "x.pdf", "quote": QUOTE}, {"source": "y.pdf", "quote": "g h i j k"})
    half = citing(("x.pdf", "a b c d e n n n"), ("x.pdf", "n n n n n"), ("y.pdf", "a b c d e f"))
    assert judge_citations(asked, half) == {"citation_recall": pytest.approx((1 / 2 + 0) / 2), "citation_precision": pytest.approx(1 / 3)}
    assert judge_citations(asked, citing(("x.pdf", QUOTE), ("y.txt", "g h i j k"))) == {"citation_recall": 1, "citation_precision": 1}


def test_short_quotes_need_all_their_words_in_order() -> None:
    asked = golden({"source": "x.pdf", "quote": "5 points"})
    assert judge_citations(asked, citing(("x.pdf", "it costs 5 points a day")))["citation_precision"] == 1
    assert judge_citations(asked, citing(("x.pdf", "it costs points: 5 a day")))["citation_precision"] == 0
    assert judge_citations(asked, citing(("x.pdf", "5")))["citation_precision"] == 1  # nothing but a part of the gold quote


def test_a_refusal_cites_nothing() -> None:
    asked = golden({"source": "x.pdf", "quote": QUOTE})
    assert judge_citations(asked, citing(("x.pdf", QUOTE), abstained=True)) == {"citation_recall": 0}
    assert judge_citations(golden({"source": "x.pdf"}), citing(("x.pdf", QUOTE))) == {}


def test_what_was_written_counts_before_anything_was_dropped() -> None:
    shown = (Sentence("It is due [3].", Support.SUPPORTED, (1,)), Sentence("Quoted.", Support.SUPPORTED, (1,), quoted=True))
    dropped = (Sentence("x", Support.WEAK), Sentence("y", Support.UNSUPPORTED), Sentence("z", Support.UNSUPPORTED))
    figures = judge_writing(citing(shown=shown, dropped=dropped))
    assert figures == {"written_supported": 0.25, "written_weak": 0.25, "written_unsupported": 0.5, "shown_markers": 1}
    assert judge_writing(citing(shown=shown[1:])) == {}
