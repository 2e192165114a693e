from pathlib import Path

import pytest

from rag.config import Config
from rag.errors import ConfigError
from rag.presets import preset_names, read_preset


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


def test_defaults_then_preset_then_file_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "lectern.toml"
    file.write_text('preset = "explain"\nsources = 9\nprompt_statements = 7\n')
    config = Config.load(file, prompt_statements=5)
    assert (config.hits, config.length, config.sources, config.prompt_statements) == (10, "long", 9, 5)
    assert (config.answer_sentences, config.max_new_tokens) == (8, 400)
    assert Config.load(file, preset="quick").generator == "none"


def test_a_length_brings_its_settings_unless_they_are_set_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "lectern.toml"
    file.write_text('preset = "explain"\nlength = "short"\nmax_new_tokens = 99\n')
    assert (Config.load(file).answer_sentences, Config.load(file).max_new_tokens) == (1, 99)
    assert Config.load(file, length="long").max_new_tokens == 400
    assert Config().adjusted(length="long") == Config(length="long", answer_sentences=8, max_new_tokens=400)
    assert Config().adjusted(preset="exact", length="medium").answer_sentences == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"preset": "loud"}, "there is no preset 'loud'; the presets are: exact, explain, large-server, quick"),
        ({"length": "endless"}, "there is no length 'endless'; the lengths are: short, medium, long"),
        ({"prompt": "none"}, "there is no prompt 'none'"),
        ({"language": "english"}, "language is 'english'; expected auto or a code of two letters"),
        ({"top_p": 2.0}, "top_p is 2.0; expected 0.0 to 1.0"),
        ({"reader_weight": 1.5}, "reader_weight is 1.5; expected 0.0 to 1.0"),
        ({"reader_passages": 0}, "reader_passages is 0; expected 1 to 1000"),
    ],
)
def test_wrong_names_and_ranges_are_told(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.load(None, **flags)
    with pytest.raises(ConfigError, match=message):
        Config().adjusted(**flags)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_small_difference_that_loads(name: str) -> None:
    assert 0 < len(read_preset(name)) < 12
    assert Config.load(None, preset=name) != Config()


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file"):
        Config.load(tmp_path / "none.toml")


def test_what_becomes_of_unsupported_sentences_is_one_of_three() -> None:
    assert Config(unsupported="mark").unsupported == "mark"
    with pytest.raises(ConfigError, match="unsupported is 'hide'; expected replace, drop, mark"):
        Config(unsupported="hide")


def test_lists_of_addresses_come_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lectern.toml"
    file.write_text('staff = ["a@b.edu", "C@b.edu"]\nstudents = ["@b.edu"]\nlogin_hours = 2\n')
    config = Config.load(file)
    assert (config.staff, config.students, config.login_hours) == (("a@b.edu", "C@b.edu"), ("@b.edu",), 2.0)
    for wrong in ('staff = "a@b.edu"', "staff = [3]"):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match="expected a list of texts"):
            Config.load(file)
