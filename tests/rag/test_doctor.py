"""What the start-up checks say of who may reach the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rag import doctor
from rag.config import Config
from rag.errors import ConfigError
from rag.models import ModelFiles
from support import write_reader

LOCAL = '[server]\naddress = "127.0.0.1"\n'
AUTH = '[auth]\nclient_id = "x"\n'
STAFF = Config(staff=("a@b.edu",))


@pytest.mark.parametrize(
    ("settings", "secrets", "config", "ok", "words"),
    [
        (LOCAL, "", Config(), True, "off: whoever sits at this machine"),
        ("", "", Config(), None, "every address of this machine: whoever reaches it may do everything"),
        ('[server]\naddress = "0.0.0.0"\n', "[other]\n", Config(), None, "off, and the page listens on 0.0.0.0"),
        (LOCAL, AUTH, STAFF, True, "on; 1 staff, students: whoever can log in"),
        (LOCAL, "[auth]\n", Config(), None, "on; no staff is listed"),
        ("", AUTH, Config(staff=("a@b.edu",), students=("@b.edu",)), True, "students: @b.edu; the page listens on every address"),
    ],
)
def test_login(settings: str, secrets: str, config: Config, ok: bool | None, words: str, folders: list[Path]) -> None:
    (folders[1] / "config.toml").write_text(settings)
    if secrets:
        (folders[0] / "secrets.toml").write_text(secrets)
    found = doctor._login(config)
    assert found[0] is ok
    assert words in found[1]


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        (b"[auth", r"secrets\.toml cannot be read as TOML: .*; nobody is let in until it is mended"),
        (b"[auth]\nname = '\xff'", "nobody is let in until it is mended"),
        (b"auth = 1", r"auth in .*secrets\.toml is 1; expected a section \[auth\]"),
    ],
    ids=["TOML", "UTF-8", "table"],
)
def test_secrets_that_cannot_be_read_are_told(folders: list[Path], secrets: bytes, words: str) -> None:
    (folders[0] / "secrets.toml").write_bytes(secrets)
    with pytest.raises(ConfigError, match=words):
        doctor._login(Config())


def test_secrets_without_permission_are_told(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match="Permission denied"):
        doctor._login(Config())


@pytest.mark.parametrize("how", ["environment", "settings", "folder"])
def test_secrets_lie_where_the_page_looks_for_them(folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    elsewhere = tmp_path / "mounted"
    elsewhere.write_text(AUTH) if how != "folder" else (elsewhere / "auth").mkdir(parents=True)
    assert doctor._login(STAFF)[1].startswith("off")
    if how == "settings":
        (folders[1] / "config.toml").write_text(f'[secrets]\nfiles = ["{elsewhere}"]\n')
    else:
        monkeypatch.setenv("STREAMLIT_SECRETS_FILES", f"{tmp_path / 'none'} {elsewhere}")
    assert doctor._login(STAFF)[1].startswith("on; 1 staff")


def test_a_missing_library_is_told(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    (folders[0] / "secrets.toml").write_text(AUTH)
    monkeypatch.setattr(doctor, "_is_installed", lambda name: False)
    assert doctor._login(STAFF) == (
        False,
        'on, but Authlib is missing, so nobody can log in; run: pip install -c constraints.txt -e ".[login]"',
    )


@pytest.mark.parametrize(("reader", "why"), [("none", "none"), ("bundled", "the bundled one has no weights here")])
def test_no_reader_is_told(reader: str, why: str) -> None:
    assert doctor._reader(Config(reader=reader)) == (None, f"{why}: what is found is ranked by the search alone")


@pytest.mark.models
def test_the_reader_in_use_is_told(tmp_path: Path) -> None:
    config = Config(device="cpu", dtype="float32", reader=str(write_reader(tmp_path / "reader")), reader_passages=7)
    ok, found = doctor._reader(config)
    assert ok
    assert re.fullmatch(rf"{re.escape(config.reader)} \(revision [0-9a-f]{{12}}\) on cpu float32, 7 passages a question", found)


@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_the_adapter_in_use_is_told(adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_adapted_generator", lambda config: ModelFiles("tiny", tmp_path, "abc"))
    told = {"lora": "adapter lora", "none": "no adapter"}[adapter]
    assert doctor._generator(Config(generator=str(tmp_path), adapter=adapter)) == (True, f"tiny (revision abc, {told})")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The user's and the project's folder of Streamlit's files."""
    both = [tmp_path / "user", tmp_path / "project"]
    for folder in both:
        folder.mkdir()
    monkeypatch.setattr(doctor, "_STREAMLIT_FOLDERS", tuple(both))
    monkeypatch.delenv("STREAMLIT_SERVER_ADDRESS", raising=False)
    monkeypatch.delenv("STREAMLIT_SECRETS_FILES", raising=False)
    return both
