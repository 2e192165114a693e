"""An evaluation of a course: which questions are asked, how, and the run that is kept of it. For command line and page alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rag.answer import answer
from rag.config import Config
from rag.engine import Engine
from rag.evaluate import Evaluation, evaluate
from rag.golden import Golden, Half, QuestionSet, select
from rag.interpret import Interpreted
from rag.judge import HITS
from rag.misses import Miss, find_misses
from rag.retrieve import Searcher
from rag.runs import Run, make_run, make_setting
from rag.types import Answer, Scope


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is measured. `filters` narrow the search of every question; with `answers` each is answered, too."""

    course: str
    question_set: QuestionSet
    answers: bool = False
    filters: Mapping[str, Any] = field(default_factory=dict)
    half: Half | None = None
    limit: int | None = None

    @property
    def questions(self) -> list[Golden]:
        """
        Raises:
            LecternError: half and limit leave none.
        """
        return select(self.question_set.questions, self.half, self.limit)

    def scope(self, golden: Golden) -> Scope:
        return Scope(self.course, **{"path": golden.scope, **self.filters})

    def interpret(self, golden: Golden, searcher: Searcher) -> tuple[Interpreted, Scope]:
        """A question as it is searched for, and the scope it is searched in."""
        scope = self.scope(golden)
        return searcher.interpret(golden.question, scope, golden.history), scope

    def run(
        self,
        searcher: Searcher,
        engine: Engine | None = None,
        progress: Callable[[int], None] = lambda _: None,
        more: Sequence[Callable[[Golden, Answer], dict[str, float]]] = (),
        look: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Asks and judges all questions; with an engine, which should keep no answers to give again, answers them.

        Args:
            progress: told how many questions are done; what it raises ends the evaluation.
            more: see `evaluate`.
            look: called while an answer is written, some times a second; what it raises ends the writing and the evaluation.
        """

        def answered(golden: Golden) -> Answer:
            assert engine is not None
            return answer(golden.question, self.scope(golden), engine, golden.history, look)

        return evaluate(
            self.questions,
            search=lambda golden: searcher.search(*self.interpret(golden, searcher), HITS),
            answer=answered if engine else None,
            progress=progress,
            more=more,
        )

    def as_run(self, name: str, evaluation: Evaluation, config: Config, searcher: Searcher) -> Run:
        """The evaluation as it is saved.

        Raises:
            LecternError: see `make_run`.
        """
        asked_for = {"filters": dict(self.filters), "half": self.half, "limit": self.limit, "answers": self.answers}
        revision = searcher.store.revision()
        return make_run(
            name, evaluation, make_setting(config, self.course, self.question_set, searcher.embedder.stamp, revision, **asked_for)
        )

    def worst(self, evaluation: Evaluation, count: int, searcher: Searcher) -> list[Miss]:
        """The worst questions, traced through the legs of the search."""
        return find_misses(evaluation, count, searcher, lambda golden: self.interpret(golden, searcher))
