from pathlib import Path

import pytest

from rag.config import Config
from rag.errors import ConfigError


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "lectern.toml"
    file.write_text('hits = 7\ntemperature = 1\ngenerator = "none"\n')
    config = Config.load(file, hits=3, device=None)
    assert (config.hits, config.temperature, config.generator, config.device) == (3, 1.0, "none", "auto")


def test_the_store_comes_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTERN_STORE", "/somewhere")
    assert Config.load().store == Path("/somewhere")
    assert Config.load(store=Path("/else")).store == Path("/else")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hitz = 3", "unknown setting 'hitz'"),
        ('hits = "three"', "hits is 'three'; expected int"),
        ("hits = true", "hits is True; expected int"),
        ("dense_weight = 1.5", "dense_weight is 1.5; expected 0.0 to 1.0"),
        ("hits =", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "lectern.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Config.load(file)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file"):
        Config.load(tmp_path / "none.toml")


def test_what_becomes_of_unsupported_sentences_is_one_of_three() -> None:
    assert Config(unsupported="mark").unsupported == "mark"
    with pytest.raises(ConfigError, match="unsupported is 'hide'; expected replace, drop, mark"):
        Config(unsupported="hide")
