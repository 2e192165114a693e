"""Fits the constants of rag.evidence.confidence on golden questions with and without answers, and says how good they are elsewhere.

    python scripts/fit_confidence.py --store S --reader none --fit squad2=.../questions.jsonl \
        --fit llm-systems=corpora/llm-systems/questions.jsonl --test syllabi=.../questions.jsonl
    python scripts/fit_confidence.py --store S --fit-all squad2-validation=build/fitting/squad2-validation/questions.jsonl \
        --fit-all courses-validation=build/fitting/courses-validation/questions.jsonl --fit llm-systems=... --test syllabi=...

A reader is surer of what it has learnt from: the second command takes the articles and courses that scripts/fit_weights.py kept from it.
Each argument is COURSE=QUESTIONS; the course must be in the store. Of a set to fit on, the even questions are used, the odd ones measured;
sets weigh alike, and in each the answerable as much as the unanswerable. The floor printed first refuses 15 % of the answerable questions;
the others follow from a cost (`floor_of_cost`). The calibration is, for each fifth of the confidence's range, its mean there and the
share of answerable questions, both kinds weighing alike.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from rag.config import Config
from rag.evaluate import auroc
from rag.evidence import CONFIDENCE_WEIGHTS, CONFIDENCE_WEIGHTS_READ, confidence_features, floor_of_cost, select_evidence, word_weights
from rag.golden import Golden, read_questions
from rag.retrieve import Searcher
from rag.types import Scope

UNANSWERABLE = 0.2
"""Share of questions without an answer that a course expects; 0.19 of the sample course's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--fit", action="append", default=[])
    parser.add_argument("--test", action="append", default=[])
    parser.add_argument(
        "--reader", default="bundled", help="as in the config; with none the constants for evidence without a reader are made"
    )
    parser.add_argument("--fit-all", action="append", default=[], help="a set to fit on whole: none of its questions is to be measured")
    parser.add_argument("--most", type=int, default=600, help="questions of a half, at random")
    options = parser.parse_args()
    searcher = Searcher.from_config(Config.load(store=options.store, reader=options.reader))
    rows, labels, weights, measured = [], [], [], {}
    for argument in (*options.fit, *options.fit_all):
        name, even, odd = _halves(argument, options.most)
        is_whole = argument in options.fit_all
        features, answerable = _features(searcher, name, even + odd if is_whole else even)
        rows.append(features)
        labels.append(answerable)
        weights.append(np.where(answerable, 1 / answerable.sum(), 1 / (~answerable).sum()))
        measured[f"{name} (fitted)"] = features, answerable
        if not is_whole:
            measured[f"{name} (other half)"] = _features(searcher, name, odd)
    for argument in options.test:
        name, even, odd = _halves(argument, options.most)
        measured[f"{name} (never fitted)"] = _features(searcher, name, even + odd)
    weight = np.concatenate(weights)
    scaler = StandardScaler().fit(np.concatenate(rows))
    # The features say nearly the same: strong regularization shares the weight between them, which carries over to other sets.
    model = LogisticRegression(C=0.02)
    model.fit(scaler.transform(np.concatenate(rows)), np.concatenate(labels), sample_weight=weight / weight.mean())
    slopes = model.coef_[0] / scaler.scale_
    intercept = model.intercept_[0] - slopes @ scaler.mean_
    constant = "CONFIDENCE_WEIGHTS" if searcher.reader is None else "CONFIDENCE_WEIGHTS_READ"
    print(constant, "=", tuple(round(float(value), 3) for value in (intercept, *slopes)))
    for name, (features, answerable) in measured.items():
        sure = 1 / (1 + np.exp(-intercept - features @ slopes))
        floor = float(np.quantile(sure[answerable], 0.15))
        refused = float((sure[~answerable] < floor).mean())
        fixed = [
            f"cost {cost:g} → {f:.3f}: {(sure[~answerable] < f).mean():.2f} at {(sure[answerable] < f).mean():.2f}"
            for cost in (1, 2, 3, 4)
            for f in [floor_of_cost(cost, UNANSWERABLE)]
        ]
        quality = auroc(list(sure[answerable]), list(sure[~answerable]))
        print(f"{name:28} AUROC {quality:.3f}; floor {floor:.3f} refuses {refused:.2f} at 0.15; {', '.join(fixed)}")
        print(f"{'':28} calibration: {_calibration(sure, answerable)}")


def _calibration(sure: np.ndarray, answerable: np.ndarray) -> str:
    """For each fifth of the range: the confidence there, and the share of answerable questions, both kinds weighing alike."""
    weight = np.where(answerable, 1 / answerable.sum(), 1 / (~answerable).sum())
    parts = []
    for low in np.arange(0, 1, 0.2):
        there = (sure >= low) & (sure < low + 0.2)
        if there.sum() >= 5:
            parts.append(
                f"{np.average(sure[there], weights=weight[there]):.2f} → {weight[there & answerable].sum() / weight[there].sum():.2f}"
            )
    return ", ".join(parts)


def _halves(argument: str, most: int) -> tuple[str, list[Golden], list[Golden]]:
    name, _, path = argument.partition("=")
    questions = read_questions(Path(path))
    even, odd = questions[0::2], questions[1::2]
    return name, *(random.Random(0).sample(half, min(most, len(half))) for half in (even, odd))


def _features(searcher: Searcher, course: str, questions: list[Golden]) -> tuple[np.ndarray, np.ndarray]:
    """`(n, features)` and `(n,)` whether each question is answerable."""
    rows, answerable = [], []
    count = len(CONFIDENCE_WEIGHTS if searcher.reader is None else CONFIDENCE_WEIGHTS_READ) - 1
    for golden in questions:
        scope = Scope(course, path=golden.scope)
        asked = searcher.interpret(golden.question, scope, golden.history)
        query = searcher.embedder.embed_query(asked.text)
        hits = searcher.search(asked, scope, query=None if asked.meaning else query)[: searcher.config.sources]
        evidence = select_evidence(query, hits, word_weights(asked.text, searcher.store, course, asked.language), searcher.embedder)
        features = confidence_features(evidence)
        if len(features) == count:  # not without evidence, nor where no reader is asked
            rows.append(features)
            answerable.append(golden.answerable)
    print(f"{course}: {len(rows)} of {len(questions)} questions have evidence of the kind that is fitted")
    return np.array(rows), np.array(answerable)


if __name__ == "__main__":
    main()
