"""What the README shows is true."""

from __future__ import annotations

import re
import tomllib

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from rag.config import Config
from rag.engine import Engine
from support import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.models
def test_the_chain_runs(sample_engine: Engine, bundled_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTERN_STORE", str(bundled_config.store))
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {"model": FakeListChatModel(responses=["five"])}
    exec(code, names)
    assert names["chain"].invoke("how many late days are there?") == "five"  # type: ignore[attr-defined]
    assert "late" in names["passages"].invoke("how many late days are there?")  # type: ignore[attr-defined]


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_setting_shown_exists() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert set(re.findall(r"^(\w+) =", example, re.MULTILINE)) <= set(Config.__dataclass_fields__)


def test_the_settings_of_a_class_are_settings() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/class.md").read_text(), re.DOTALL)
    secrets, settings = (tomllib.loads("\n".join(line.strip() for line in block.splitlines())) for block in blocks)
    assert secrets["auth"]["redirect_uri"].endswith("/oauth2callback")
    config = Config(**{key: tuple(value) if isinstance(value, list) else float(value) for key, value in settings.items()})
    assert (config.staff, config.students, config.login_hours) == (("ada@uni.edu", "grace@uni.edu"), ("@uni.edu",), 12.0)
