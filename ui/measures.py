"""The measures of an evaluation in plain words. No Streamlit here."""

from __future__ import annotations

from rag.judge import COVERAGE

MEASURES: dict[str, tuple[str, str]] = {
    "recall@5": ("Recall, first 5", "share of the wanted passages that were among the first five found"),
    "recall@10": ("Recall, first 10", "share of the wanted passages that were among the first ten found"),
    "mrr@10": (
        "Rank of the first right one",
        "1 when the first passage found was right, 1/2 when it was the second, 0 beyond the tenth (MRR)",
    ),
    "ndcg@10": ("Order", "how high the right passages stand among the first ten; 1 is the best order (nDCG)"),
    "hit@1": ("Right at once", "share of questions whose first passage was right"),
    "hit@3": ("Right among 3", "share of questions with a right passage among the first three"),
    "hit@5": ("Right among 5", "share of questions with a right passage among the first five"),
    "hit@10": ("Right among 10", "share of questions with a right passage among the first ten"),
    COVERAGE: ("Coverage", "share of the wanted words that stand in what fits into 750 words of found passages"),
    "refused_unanswerable": ("Refused, rightly", "share of the questions without an answer that were refused: more is better"),
    "refused_answerable": ("Refused, wrongly", "share of the questions with an answer that were refused: less is better"),
    "answer_contains_gold": ("Holds the answer", "share of answers that hold an expected answer word for word"),
    "answer_f1": ("Words in common", "how many words an answer shares with the expected one, 1 for all and no others (F1)"),
    "cited_right": ("Cites a right passage", "share of answers that cite at least one right passage"),
    "citation_precision": ("Citations that are right", "share of the citations that stand on the wanted words"),
    "written_supported": ("Written and supported", "share of the sentences that the generator wrote and the materials hold"),
    "written_weak": ("Written, partly supported", "share of those that they hold in part"),
    "written_unsupported": ("Written, not supported", "share of those that they do not hold; these are left out of answers"),
    "citation_recall": ("Wanted words cited", "share of the wanted words that answers cite"),
}
"""Measure → its name and what it says, the main ones first. All run from 0 to 1."""
LESS_IS_BETTER = frozenset({"refused_answerable", "written_unsupported", "shown_markers"})
UNCLEAR_P = 0.05
"""Above it a difference may well be chance."""


def name_of(measure: str) -> str:
    return MEASURES[measure][0] if measure in MEASURES else measure.replace("_", " ")


def says(measure: str) -> str:
    return MEASURES[measure][1] if measure in MEASURES else ""


def in_order(measures: dict[str, object] | list[str]) -> list[str]:
    """Measures in the order of the table; unknown ones last, as they come."""
    known = list(MEASURES)
    return sorted(measures, key=lambda measure: known.index(measure) if measure in MEASURES else len(known))


def verdict(measure: str, mean: float, p: float) -> str:
    """A difference in a word: `better`, `worse`, or that it may be chance."""
    if mean == 0:
        return "same"
    if p > UNCLEAR_P:
        return "no clear difference"
    if measure not in MEASURES:
        return "more" if mean > 0 else "less"
    return "better" if (mean > 0) != (measure in LESS_IS_BETTER) else "worse"
