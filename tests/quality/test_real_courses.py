"""Real courses kept beside the checkout for measuring: they are other people's, so nothing of them is in this repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.__main__ import main as ingest
from ingest.pipeline import ingest_course
from rag.answer import answer
from rag.config import NONE, Config
from rag.embed import SentenceTransformerEmbedder
from rag.engine import Engine
from rag.store import Store
from rag.types import Scope
from support import SHARED_DATA

pytestmark = [
    pytest.mark.models,
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"{SHARED_DATA} is not there"),
]
COURSES = SHARED_DATA / "courses"

QUESTIONS = {
    "What batch size ran out of memory on ecetesla0?": {"001"},
    "How much VRAM does the card in ecetesla0 have?": {"001"},
    "How many watt-hours does a request to ChatGPT use on average?": {"004"},
    "Which company acquired MosaicML?": {"004"},
    "What is the definition of perplexity?": {"003", "004"},
    "When is the final exam of CSC401?": {"003"},
    "In which room are Monday's office hours?": {"003"},
    "When did OpenAI introduce ChatGPT?": {"000", "001"},
    "What is the most expensive thing physically in computing?": {"002"},
    "Who teaches 11868 Large Language Model Systems?": {"002"},
}
"""Our questions on the lectures, and the beginnings of the files that answer them."""


def test_the_right_lecture_is_cited_for_nine_of_ten_questions(tmp_path: Path) -> None:
    config = Config(store=tmp_path / "store", generator=NONE)
    embedder = SentenceTransformerEmbedder.from_config(config)
    ingest_course(COURSES / "llm-lectures", Store.create(config.store), embedder, config)
    engine = Engine.from_config(config)
    cited = {question: answer(question, Scope("llm-lectures"), engine) for question in QUESTIONS}
    right = [question for question, files in QUESTIONS.items() if cited[question].sources[0].passage.source[:3] in files]
    assert len(right) >= 9, set(QUESTIONS) - set(right)


def test_every_file_of_a_large_course_is_indexed_or_set_aside_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest([str(COURSES / "py4e" / "lectures"), "--course", "py4e", "--store", str(tmp_path / "store"), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    files = {
        path.relative_to(COURSES / "py4e" / "lectures").as_posix() for path in (COURSES / "py4e" / "lectures").rglob("*") if path.is_file()
    }
    indexed = {document.source for document in Store.open(tmp_path / "store").documents("py4e")}
    set_aside = {file["source"]: file["reason"] for file in report["set_aside"]}
    assert indexed | set_aside.keys() == files
    assert indexed.isdisjoint(set_aside)
    assert all("save it as" in reason for source, reason in set_aside.items() if source.endswith((".ppt", ".doc")))
    assert {Path(source).suffix for source in set_aside} <= {".ppt", ".doc"}
