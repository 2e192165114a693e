"""Who may import whom, as docs/architecture.md draws it; read from the syntax, so that imports inside functions count too."""

from __future__ import annotations

import ast
from pathlib import Path

from support import ROOT

ALLOWED = {
    "types": set(),
    "moments": set(),
    "language": set(),
    "errors": set(),
    "lane": set(),
    "timing": {"types"},
    "text": set(),
    "presets": {"errors"},
    "config": {"errors", "presets", "types"},
    "understand": {"prompts", "text", "types"},
    "dialogue": {"text", "types", "understand"},
    "vocabulary": {"text"},
    "spelling": {"store", "text", "vocabulary"},
    "interpret": {"language", "lexical", "spelling", "store", "text", "types", "understand"},
    "prompts": {"presets", "types"},
    "pages": {"errors"},
    "lexical": {"text"},
    "migrations": {"text_index", "vocabulary"},
    "compose": {"text", "types"},
    "course_retriever": {"config", "retrieve", "types"},
    "adapter": {"errors"},
    "models": {"adapter", "config", "errors", "files"},
    "command_line": set(),
    "files": set(),
    "lock": {"errors"},
    "pruning": set(),
    "screen": set(),
    "records": {"types"},
    "database": {"errors", "files", "lock", "migrations"},
    "scopes": {"errors", "moments", "types"},
    "text_index": {"lexical", "pruning", "scopes", "types"},
    "store": {"database", "errors", "moments", "records", "scopes", "text_index", "types", "vocabulary"},
    "filters": {"store"},
    "headings": {"text"},
    "followups": {"headings", "records", "screen", "store", "text", "types"},
    "wire": {"types"},
    "export": {"conversations", "types", "wire"},
    "conversations": {"store", "types", "wire"},
    "insights": {"store", "text", "types"},
    "topics": {"insights", "store", "text", "vocabulary"},
    "device_use": {"admission", "answer_cache", "engine", "generate", "models"},
    "vectors": {"errors"},
    "snapshots": {"errors", "files", "records", "store", "vectors"},
    "encoder": {"errors"},
    "batches": {"errors", "lane"},
    "trial": {"encoder"},
    "embed": {"batches", "config", "encoder", "errors", "lane", "models", "records", "trial"},
    "reader": {"batches", "config", "embed", "encoder", "errors", "files", "lane", "models", "text", "types"},
    "bench_corpus": {"embed", "golden", "records", "store", "text", "types"},
    "bench_search": {
        "bench_corpus", "config", "embed", "errors", "golden", "models", "retrieve", "snapshots", "store", "timing", "types", "vectors",
    },
    "bench_answer": {"batching", "config", "errors", "generate", "golden", "lane", "models", "prompts", "types"},
    "bench": {"bench_answer", "bench_search", "config", "embed", "errors", "models"},
    "backup": {"database", "errors", "files", "lock", "snapshots", "store"},
    "retrieve": {
        "compose", "config", "dialogue", "embed", "errors", "interpret", "lane", "lexical", "models", "reader", "snapshots", "store",
        "timing", "types", "understand", "vectors",
    },
    "evidence": {"embed", "lexical", "store", "text", "types"},
    "markers": set(),
    "agreement": {"text"},
    "refusal": {"ground", "prompts", "types"},
    "ground": {"agreement", "evidence", "text", "types"},
    "generation": {"errors", "types"},
    "decoder": {"errors"},
    "batching": {"decoder", "errors", "generation", "lane", "types"},
    "plain_engine": {"errors", "generation", "lane", "types"},
    "breaker": {"errors"},
    "remote": {"breaker", "config", "errors", "prompts", "types"},
    "admission": {"errors", "types"},
    "answer_cache": {"errors", "store", "types"},
    "generate": {
        "adapter", "batching", "config", "decoder", "errors", "generation", "lane", "models", "plain_engine", "prompts", "remote", "types",
    },
    "context": {"errors", "evidence", "prompts", "types"},
    "events": {"types"},
    "prepared": {"answer_cache", "errors", "evidence", "interpret", "lane", "retrieve", "timing", "types"},
    "engine": {"admission", "answer_cache", "config", "errors", "generate", "ground", "prepared", "retrieve", "store", "types"},
    "composition": {"config", "events", "evidence", "ground", "markers", "screen", "text", "timing", "types"},
    "writing": {
        "admission", "composition", "config", "context", "engine", "errors", "events", "evidence", "generate", "markers", "prompts",
        "refusal", "screen", "text", "timing", "types",
    },
    "answer": {
        "composition", "engine", "events", "evidence", "prepared", "refusal", "retrieve", "screen", "timing", "types", "writing",
    },
    "golden": {"errors", "types"},
    "judge": {"golden", "types"},
    "likelihood": {"generate", "lane", "prompts", "types"},
    "llm_judge": {"config", "errors", "generate", "golden", "types"},
    "evaluate": {"golden", "judge", "types"},
    "runs": {"config", "errors", "evaluate", "files", "golden", "records", "types"},
    "misses": {"evaluate", "golden", "interpret", "judge", "retrieve", "timing", "types", "wire"},
    "experiment": {
        "answer", "config", "engine", "evaluate", "golden", "interpret", "judge", "misses", "retrieve", "runs", "types",
    },
    "model_shapes": {"errors"},
    "footprint_estimates": {"config", "encoder", "model_shapes", "vectors"},
    "footprint_probe": {
        "batching", "command_line", "config", "database", "decoder", "embed", "engine", "errors", "generate", "lane", "models", "reader",
        "snapshots", "store", "types", "vectors",
    },
    "footprint_machine": {"config", "trial"},
    "footprint_rows": {
        "batches", "batching", "config", "database", "embed", "encoder", "errors", "footprint_estimates", "footprint_machine",
        "footprint_probe", "model_shapes", "models", "reader", "remote", "store", "trial", "vectors",
    },
    "footprint": {"config", "errors", "footprint_estimates", "footprint_machine", "footprint_probe", "footprint_rows"},
    "doctor": {"backup", "config", "database", "embed", "errors", "models", "reader", "remote", "snapshots", "store", "vectors"},
}  # fmt: skip
INGEST_MAY_USE = {
    "types", "errors", "command_line", "config", "files", "models", "records", "store", "snapshots", "embed", "text", "timing", "pages",
    "moments", "language",
}  # fmt: skip
TUNING: dict[str, set[str]] = {
    "settings": set(),
    "rule_questions": set(),
    "examples": {"rule_questions"},
    "task": {"examples", "settings"},
    "report": set(),
    "progress": set(),
    "memory": set(),
    "callbacks": {"progress", "report"},
    "fit": {"callbacks", "memory", "progress", "report", "settings", "task"},
    "encoders": {"examples"},
    "reranker": {"encoders", "examples", "settings"},
    "embedder": {"encoders", "examples", "settings"},
    "reader_model": set(),
    "reader": {"examples", "reader_model", "settings", "task"},
    "exchanges": {"examples"},
    "generator": {"examples", "exchanges", "settings", "task"},
    "grid": {"examples", "fit", "memory", "report", "settings", "task"},
    "command": {"examples", "fit", "grid", "report", "settings", "task"},
}
"""Who of `tuning` may import whom of it. All may import `rag` and `ingest`; only `rag.__main__` imports `tuning`, in a function."""
OF_THEIR_CLASSES = {"callbacks", "reader_model"}
"""Modules of `tuning` that derive from classes of heavy libraries: they are themselves imported only when they are used."""
HEAVY = {"datasets", "peft", "torch", "transformers", "sentence_transformers", "faiss", "py3langid"}


def imports(path: Path, at_run_time_only: bool = False) -> set[str]:
    """Dotted names that a file imports."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names: set[str] = set()
    for node in tree.body if at_run_time_only else ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module in {"rag", "ingest", "tuning", "ui"}
                else {node.module}
            )
    return names


def own(names: set[str], package: str) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


def test_rag_imports_as_drawn() -> None:
    modules = {path.stem: path for path in (ROOT / "rag").glob("*.py") if not path.stem.startswith("__")}
    assert modules.keys() == ALLOWED.keys()
    used = {name: own(imports(path), "rag") for name, path in modules.items()}
    assert {name: found - ALLOWED[name] for name, found in used.items() if found - ALLOWED[name]} == {}


def test_the_drawing_has_no_cycle() -> None:
    done: set[str] = set()
    while ready := {name for name, needs in ALLOWED.items() if name not in done and needs <= done}:
        done |= ready
    assert done == ALLOWED.keys()


def test_rag_never_imports_ingest_or_the_pages_of_the_app() -> None:
    for path in (ROOT / "rag").rglob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[0] in {"ingest", "ui", "streamlit"}}, path


def test_ingest_uses_only_the_shared_core() -> None:
    for path in (ROOT / "ingest").rglob("*.py"):
        assert own(imports(path), "rag") <= INGEST_MAY_USE, path
        assert "streamlit" not in imports(path), path


def test_tuning_imports_as_drawn() -> None:
    modules = {path.stem: path for path in (ROOT / "tuning").glob("*.py") if not path.stem.startswith("__")}
    assert modules.keys() == TUNING.keys()
    used = {name: own(imports(path), "tuning") for name, path in modules.items()}
    assert {name: found - TUNING[name] for name, found in used.items() if found - TUNING[name]} == {}
    for name, path in modules.items():
        assert not own(imports(path, at_run_time_only=True), "tuning") & OF_THEIR_CLASSES, name


def test_only_the_command_line_imports_tuning() -> None:
    for folder in ("rag", "ingest", "ui"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path == ROOT / "rag" / "__main__.py" or not own(imports(path), "tuning"), path
    assert not own(imports(ROOT / "rag" / "__main__.py", at_run_time_only=True), "tuning")


def test_heavy_libraries_are_imported_only_when_they_are_used() -> None:
    for folder in ("rag", "ingest", "tuning", "ui"):
        for path in (ROOT / folder).rglob("*.py"):
            if folder != "tuning" or path.stem not in OF_THEIR_CLASSES:
                assert not {name.split(".")[0] for name in imports(path, at_run_time_only=True)} & HEAVY, path
