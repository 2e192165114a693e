from rag.engine import Engine
from rag.evaluate import Judged, evaluate
from rag.golden import Golden
from rag.interpret import Interpreted
from rag.misses import Miss, find_misses, worst
from rag.types import Scope

LENSES = "notes/week02-lenses.md"
BLURRED = "Spherical aberration blurs the image because marginal rays meet closer to the lens."


def misses(engine: Engine, *questions: Golden) -> list[Miss]:
    def asked(golden: Golden) -> tuple[Interpreted, Scope]:
        scope = Scope("optics", path=golden.scope)
        return engine.searcher.interpret(golden.question, scope), scope

    evaluation = evaluate(questions, lambda golden: engine.searcher.search(*asked(golden)))
    return find_misses(evaluation, 9, engine.searcher, asked)


def test_the_worst_come_first_and_perfect_ones_not_at_all() -> None:
    judged = [
        Judged(Golden("perfect", "?"), {"mrr@10": 1.0, "coverage@750w": 1.0}),
        Judged(Golden("late", "?"), {"mrr@10": 0.5, "coverage@750w": 1.0}),
        Judged(Golden("torn", "?"), {"mrr@10": 0.5, "coverage@750w": 0.4}),
        Judged(Golden("lost", "?"), {"mrr@10": 0.0}),
        Judged(Golden("first, no quote", "?"), {"mrr@10": 1.0}),
        Judged(Golden("unanswerable", "?"), {"refused_unanswerable": 0.0}),
    ]
    assert [one.golden.id for one in worst(judged, 9)] == ["lost", "torn", "late"]
    assert [one.golden.id for one in worst(judged, 1)] == ["lost"]


def test_a_passage_that_shares_no_word_is_in_the_dense_leg_alone(engine: Engine) -> None:
    (miss,) = misses(engine, Golden("1", "How much does the midterm count?", relevant=({"source": LENSES, "quote": BLURRED},)))
    assert miss.lexical is None
    # Both wanted and unwanted have no word of the question but the midterm's own passage, which is the first.
    assert miss.dense is not None
    assert miss.final is not None
    assert 1 < miss.dense <= 4
    assert 1 < miss.final <= 4
    assert (miss.candidates, miss.judged.hits[0].passage.source) == (100, "syllabus.md")


def test_a_passage_outside_of_the_scope_is_nowhere(engine: Engine) -> None:
    golden = Golden("1", "Which rays blur the image?", relevant=({"source": LENSES, "quote": BLURRED},), scope="syllabus.md")
    (miss,) = misses(engine, golden)
    assert (miss.dense, miss.lexical, miss.final) == (None, None, None)
    assert list(miss.lines())[:3] == [
        "1  Which rays blur the image?  (mrr@10 0.00, coverage@750w 0.00)",
        f"   wanted  {LENSES}: “{BLURRED}”",
        "   ranks   dense not among 100, lexical not among 100, final not among 100",
    ]
    assert "found   1. syllabus.md · Optics › " in list(miss.lines())[3]


def test_a_right_place_further_down_has_its_ranks(engine: Engine) -> None:
    # Two passages name the lens; the one of the focal length shares more words with the question than the wanted one.
    question = Golden("1", "What is the focal length of a thin lens?", relevant=({"source": LENSES, "quote": BLURRED},))
    (miss,) = misses(engine, question)
    assert (miss.dense, miss.lexical, miss.final) == (2, 2, 2)
    assert miss.judged.figures["mrr@10"] == 0.5
    shown = miss.to_json()
    assert shown["ranks"] == {"dense": 2, "lexical": 2, "final": 2, "candidates": 100}
    assert shown["wanted"] == [{"source": LENSES, "quote": BLURRED}]
    assert [hit["rank"] for hit in shown["found"]] == [1, 2, 3]


def test_a_scope_without_passages_finds_nothing(engine: Engine) -> None:
    (miss,) = misses(engine, Golden("1", "Which rays?", relevant=({"source": LENSES, "quote": BLURRED},), scope="labs"))
    assert list(miss.lines())[-1] == "   found   nothing"
