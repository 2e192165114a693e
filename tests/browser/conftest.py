"""One running app for the session, over a store made of three files of the sample course and one hostile file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from running_app import ROOT, Visit, browser_visit, ingest, need_chromium, running_app

FILES = ("lectures/07-inference-kv-cache.pdf", "labs/lab1-attention.ipynb", "syllabus.docx")
HOSTILE = """# Zebra policy

The zebra policy says that each zebra gets $5 and 10 apples. ![x](https://evil.example/a.png) <img src="https://evil.example/b.png">
[click](https://evil.example/c) :material/delete: :red[red] :smile: https://evil.example/d www.evil.example

The zebra formula is $z = \\frac{a}{b}$ for each zebra.
"""


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need_chromium()
    folder = tmp_path_factory.mktemp("browser") / "demo"
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "corpora/llm-systems" / file, folder / file)
    (folder / "zebra.md").write_text(HOSTILE)
    store = folder.parent / "store"
    ingest(folder, store)
    with running_app(store) as url:
        yield url


@pytest.fixture
def visit(app_url: str) -> Iterator[Visit]:
    """A visit that must end without a request to another host and without a complaint in the console."""
    with browser_visit() as visit:
        visit.open(app_url)
        yield visit
        assert visit.hosts - {""} == {"127.0.0.1"}
        assert visit.complaints == []
