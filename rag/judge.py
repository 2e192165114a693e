"""One question's figures: what its hits and its answer are worth. Pure; knows nothing of searching, sets and intervals.

A citation is right when the words it quotes stand in a relevant source (on the relevant page, slide or cell, if one is named) and share
with one of its gold quotes at least half of the word n-grams of the shorter of the two, n being 5 or, if that has fewer words, all of them.

A hit is right when it stands in a relevant source (on the relevant page, slide or cell, if one is named) and holds at least half of the
quote's word 5-grams. Ranking measures come from ir-measures, over the relevant entries of each question as its documents: a hit that holds
several of them counts for the first one not found yet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ir_measures
import numpy as np
from ir_measures import RR, R, Success, nDCG

from rag.golden import Golden
from rag.types import Answer, Hit, LocationKind, Passage, Support

BUDGET_WORDS = 750
HITS = 10
COVERAGE = f"coverage@{BUDGET_WORDS}w"
RANKING_MEASURES = {"recall@5": R @ 5, "recall@10": R @ 10, "mrr@10": RR @ 10, "ndcg@10": nDCG @ 10} | {
    f"hit@{k}": Success @ k for k in (1, 3, 5, 10)
}

_ANY_MARKER = re.compile(r"(?<!\w)\[\^?\d{1,2}\]|【|\(source \d|</?excerpt|!\[|\]\((?:\w+:|//)|<img|<a ", re.IGNORECASE)
"""Written apart from rag.markers, which it checks."""
_PLACES = {LocationKind.PAGE: "page", LocationKind.SLIDE: "slide", LocationKind.CELL: "cell"}
_SUFFIX = re.compile(r"\.(pdf|docx|txt|md|pptx|html)$")
"""Formats of the same text: a question set may name a document in one and the corpus hold it in another."""


def judge_hits(golden: Golden, hits: Sequence[Hit]) -> dict[str, float]:
    """Ranking measures and coverage of one answerable question's hits, best first; empty when nothing relevant is named below its scope."""
    return judge_rankings([(golden, hits)])[0]


def judge_rankings(asked: Sequence[tuple[Golden, Sequence[Hit]]]) -> list[dict[str, float]]:
    """The same for each of many questions. ir-measures sees them all at once: 0.06 ms a question instead of 0.85."""
    qrels: list[ir_measures.Qrel] = []
    run: list[ir_measures.ScoredDoc] = []
    judged: list[dict[str, float]] = []
    for number, (golden, hits) in enumerate(asked):
        relevant = relevant_entries(golden)
        qrels += [ir_measures.Qrel(str(number), str(entry), 1) for entry in range(len(relevant))]
        names = list(_named(relevant, [hit.passage for hit in hits[:HITS]])) or ["none"]  # without any, ir-measures would skip the question
        run += [ir_measures.ScoredDoc(str(number), name, -rank) for rank, name in enumerate(names)] if relevant else []
        judged.append(dict.fromkeys(RANKING_MEASURES, 0.0) if relevant else {})
        if any("quote" in entry for entry in relevant):
            judged[number][COVERAGE] = coverage(relevant, [hit.passage for hit in hits])
    named = {measure: name for name, measure in RANKING_MEASURES.items()}
    for metric in ir_measures.iter_calc(list(named), qrels, run) if run else ():
        judged[int(metric.query_id)][named[metric.measure]] = float(metric.value)
    return judged


def relevant_entries(golden: Golden) -> list[Mapping[str, Any]]:
    """What a question wants found, without entries that say no more than its scope does."""
    return [entry for entry in golden.relevant if "quote" in entry or "page" in entry or entry["source"] != golden.scope]


def judge_answer(golden: Golden, answer: Answer) -> dict[str, float]:
    """Answer and refusal measures of one question."""
    refused = float(answer.abstained)
    if not golden.answerable:
        return {"refused_unanswerable": refused}
    figures = {"refused_answerable": refused}
    if golden.answers:
        text = "" if answer.abstained else answer.text
        figures["answer_contains_gold"] = float(any(_words(gold) and _contains(text, gold) for gold in golden.answers))
        figures["answer_f1"] = max(token_f1(text, gold) for gold in golden.answers)
    if golden.relevant and not answer.abstained:
        cited = [source.passage for source in answer.sources]
        figures["cited_right"] = float(any(is_right(entry, passage) for entry in golden.relevant for passage in cited))
    return figures | judge_citations(golden, answer)


def judge_citations(golden: Golden, answer: Answer) -> dict[str, float]:
    """By span: `citation_precision`, the share of the citations that are right; `citation_recall`, the mean share of each gold quote's word
    5-grams that stand in quoted words of its source. A refusal cites nothing: it has no precision, and a recall of 0."""
    quotes = [entry for entry in golden.relevant if "quote" in entry]
    if not quotes:
        return {}
    cited = [] if answer.abstained else [source for source in answer.sources if source.quote]
    shares = []
    for entry in quotes:
        spans = [["\0", *_words(source.quote)] for source in cited if _is_place(entry, source.passage)]
        shares.append(_share_of_quote(entry["quote"], [word for span in spans for word in span]))
    figures = {"citation_recall": float(np.mean(shares))}
    if cited:
        right = [
            any(_is_place(entry, source.passage) and _share(entry["quote"], source.quote) >= 0.5 for entry in quotes) for source in cited
        ]
        figures["citation_precision"] = float(np.mean(right))
    return figures


def judge_writing(answer: Answer) -> dict[str, float]:
    """What the generator wrote, before anything was dropped: the share of its sentences by support, and the markers of its own making that
    are shown. Empty where it wrote no sentence."""
    shown = [sentence for sentence in answer.sentences if not sentence.quoted]
    written = [sentence.support for sentence in (*shown, *answer.dropped)]
    if not written:
        return {}
    shares = {f"written_{support}": written.count(support) / len(written) for support in Support}
    return shares | {"shown_markers": float(sum(len(_ANY_MARKER.findall(sentence.text)) for sentence in shown))}


def coverage(relevant: Sequence[Mapping[str, Any]], passages: Sequence[Passage], budget: int = BUDGET_WORDS) -> float:
    """Mean share of each quote's word 5-grams in the passages that fit the budget, best first; the last one is cut to fit."""
    texts: dict[str, list[str]] = {}
    used = 0
    for passage in passages:
        words = _words(passage.chunk.text)
        if used and used + len(words) > budget:
            words = words[: budget - used]
        texts.setdefault(_stem(passage.source), []).extend(["\0", *words])  # the mark keeps 5-grams from crossing passages
        used += len(words)
        if used >= budget:
            break
    return float(
        np.mean([_share_of_quote(entry["quote"], texts.get(_stem(entry["source"]), [])) for entry in relevant if "quote" in entry])
    )


def token_f1(text: str, gold: str) -> float:
    """Harmonic mean of the words' precision and recall, as in SQuAD."""
    found, wanted = _words(text), _words(gold)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted)) if common else 0.0


def _named(relevant: Sequence[Mapping[str, Any]], passages: Sequence[Passage]) -> Iterator[str]:
    """A document name for each passage: the number of the first relevant entry it holds that none before it held."""
    left = set(range(len(relevant)))
    for rank, passage in enumerate(passages):
        held = [number for number in range(len(relevant)) if is_right(relevant[number], passage)]
        fresh = [number for number in held if number in left]
        if fresh:
            left.discard(fresh[0])
        yield str(fresh[0]) if fresh else f"passage {rank}"


def is_right(entry: Mapping[str, Any], passage: Passage) -> bool:
    return _is_place(entry, passage) and ("quote" not in entry or _share_of_quote(entry["quote"], _words(passage.chunk.text)) >= 0.5)


def _is_place(entry: Mapping[str, Any], passage: Passage) -> bool:
    """Whether a passage stands in the source, and where one is named on the page, slide or cell."""
    location = passage.chunk.location
    place = _PLACES.get(location.kind)
    is_elsewhere = place is not None and place in entry and entry[place] != location.number
    return _stem(entry["source"]) == _stem(passage.source) and not is_elsewhere


def _share(one: str, other: str) -> float:
    """Share of the shorter text's n-grams that stand in the other."""
    shorter, longer = sorted((_words(one), _words(other)), key=len)
    if not shorter:
        return 0.0
    n = min(5, len(shorter))
    return len(_grams(shorter, n) & _grams(longer, n)) / len(_grams(shorter, n))


def _share_of_quote(quote: str, words: Sequence[str]) -> float:
    wanted = _words(quote)
    if not wanted:
        return 1.0
    n = min(5, len(wanted))
    grams = _grams(wanted, n)
    return len(grams & _grams(words, n)) / len(grams)


def _grams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


def _contains(text: str, gold: str) -> bool:
    """As the common scorer has it, which also finds `no` in `know`: on syllabi that makes three points of a hundred, on squad2 none."""
    return " ".join(_words(gold)) in " ".join(_words(text))


def _words(text: str) -> list[str]:
    """Words as the common scorer cuts them, accents kept: other systems are measured by the same rule."""
    return re.findall(r"\w+", text.lower())


def _stem(source: str) -> str:
    return _SUFFIX.sub("", source)
