"""Start-up checks, a line each: what is installed, found and used, and what to do where something is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rag.backup import check_catalogue
from rag.config import BUNDLED, NONE, Config
from rag.database import CATALOGUE
from rag.embed import SentenceTransformerEmbedder
from rag.errors import ConfigError, LecternError, StoreMissing
from rag.models import (
    BUNDLED_GENERATOR,
    adapter_folder,
    choose_device,
    choose_dtype,
    converted_generator_path,
    find_adapted_generator,
    verify_carried,
)
from rag.reader import load_reader
from rag.remote import RemoteChatModel, host_of
from rag.snapshots import load_snapshot
from rag.store import Store
from rag.vectors import load_faiss

PORT = 8501
_SAFE_SQLITE = (3, 51, 3)
_STREAMLIT_FOLDERS = (Path.home() / ".streamlit", Path(".streamlit"))


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` is True, False, or None for something that works but is worth knowing."""

    name: str
    ok: bool | None
    found: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def checks(config: Config) -> Iterator[Check]:
    """Every check in turn; what a check finds wrong is its result. Checking the index repairs it, as serving it would."""
    for name, check in _CHECKS.items():
        try:
            ok, found = check(config)
        except (LecternError, sqlite3.Error, metadata.PackageNotFoundError) as e:
            ok, found = False, str(e)
        yield Check(name, ok, found)


def _versions(config: Config) -> tuple[bool | None, str]:
    names = ("torch", "transformers", "sentence-transformers", "langchain-core", "streamlit", "sqlite-utils")
    return True, ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _sqlite(config: Config) -> tuple[bool | None, str]:
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        return (
            None,
            f"{sqlite3.sqlite_version}; below 3.51.3 a rare race at WAL resets is known: keep to one writing process, as Lectern does",
        )
    return True, sqlite3.sqlite_version


def _faiss(config: Config) -> tuple[bool | None, str]:
    faiss: Any = load_faiss()
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _is_installed(name)]
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if len(installed) != 1:
        return False, f"{' and '.join(installed) or 'no FAISS package'} installed; exactly one of faiss-cpu and faiss-gpu must be"
    return True, f"{installed[0]} {metadata.version(installed[0])}, {gpus} GPUs"


def _device(config: Config) -> tuple[bool | None, str]:
    device = choose_device(config.device)
    return True, f"{device}, {str(choose_dtype(config.dtype, device)).removeprefix('torch.')}"


def _embedder(config: Config) -> tuple[bool | None, str]:
    embedder = SentenceTransformerEmbedder.from_config(config)
    found = f"{embedder.stamp} on {embedder.device}"
    return (None, f"{found}; {embedder.notice}") if embedder.notice else (True, found)


def _reader(config: Config) -> tuple[bool | None, str]:
    reader = load_reader(config)
    if reader is None:
        if config.reader != NONE and config.reranker != NONE:
            return None, f"not used: the reranker {config.reranker} ranks what is found"
        why = "none" if config.reader == NONE else "the bundled one has no weights here"
        return None, f"{why}: what is found is ranked by the search alone"
    return True, f"{config.reader} (revision {reader.revision}) on {reader.device}, {config.reader_passages} passages a question"


def _generator(config: Config) -> tuple[bool | None, str]:
    if config.base_url:
        there = RemoteChatModel(config).models()
        is_there = "" if config.generator in there or not there else f", which does not list it but {', '.join(there[:5])}"
        return None, f"{config.generator} at {host_of(config.base_url)}{is_there}: questions and passages are sent there"
    if config.generator == NONE:
        return None, "none: answers quote the materials"
    adapted = "no adapter" if adapter_folder(config) is None else f"adapter {config.adapter}"
    if config.generator == BUNDLED:
        verify_carried(BUNDLED_GENERATOR)
        if not converted_generator_path().exists() and not config.names_adapter:
            return None, f"{BUNDLED_GENERATOR.id}, found; converted at first use (15 seconds, once); {adapted}"
    files = find_adapted_generator(config)
    return True, f"{files.id} (revision {files.revision}, {adapted})"


def _store(config: Config) -> tuple[bool | None, str]:
    try:
        store = Store.open(config.store)
    except StoreMissing as e:
        return None, str(e)
    with store.transaction():  # proves that the folder can be written
        pass
    if problem := check_catalogue(config.store / CATALOGUE):
        return False, f"{config.store / CATALOGUE} is damaged: {problem}; restore a backup: python -m rag restore FILE --store NEW"
    courses = ", ".join(f"{course.name} ({course.documents} documents, {course.chunks} chunks)" for course in store.courses())
    return True, f"{config.store}: {courses or 'no course yet; run: python -m ingest'}"


def _index(config: Config) -> tuple[bool | None, str]:
    if not (config.store / CATALOGUE).exists():
        return None, "none yet"
    store = Store.open(config.store)
    notices: list[str] = []
    snapshot = load_snapshot(store, notices.append)
    generation = snapshot.generation
    recall = "exact" if generation.recall is None else f"recall@10 {generation.recall:.3f} against exact search"
    gpu = ", searched on the GPU" if snapshot.device_copy else ""
    return (None if notices else True), "; ".join(
        [*notices, f"generation {generation.number}: {generation.chunks} vectors, {generation.kind} ({recall}){gpu}, by {store.embedder()}"]
    )


def _ocr(config: Config) -> tuple[bool | None, str]:
    found = shutil.which("tesseract")
    return (
        (True, found) if found else (None, "no tesseract: pages that are pictures cannot be read; install tesseract-ocr, then ingest again")
    )


def _port(config: Config) -> tuple[bool | None, str]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            return None, f"{PORT} is taken (by Lectern itself?); another one: make app PORT=8502"
    return True, f"{PORT} is free"


def _login(config: Config) -> tuple[bool | None, str]:
    """Who may reach the page, as the server would be started here: Streamlit's own files, which this package does not import."""
    address = os.environ.get("STREAMLIT_SERVER_ADDRESS") or (_streamlit_section(_settings_files(), "server") or {}).get("address")
    where = f"the page listens on {address or 'every address of this machine'}"
    if _streamlit_section(_secrets_files(), "auth") is None:
        if address in ("127.0.0.1", "localhost", "::1"):
            return True, f"off: whoever sits at this machine may do everything; {where}"
        return None, f"off, and {where}: whoever reaches it may do everything; README says how to ask for a login"
    if not _is_installed("authlib"):
        return False, 'on, but Authlib is missing, so nobody can log in; run: pip install -c constraints.txt -e ".[login]"'
    if not config.staff:
        return None, f"on; no staff is listed, so nobody can see the staff pages; set staff in lectern.toml; {where}"
    return True, f"on; {len(config.staff)} staff, students: {', '.join(config.students) or 'whoever can log in'}; {where}"


def _settings_files() -> list[Path]:
    """Streamlit's settings: the user's, then the project's, which come over them."""
    return [folder / "config.toml" for folder in _STREAMLIT_FOLDERS]


def _secrets_files() -> list[Path]:
    """Where the page looks for its secrets, as Streamlit finds it out (`secrets.files`); later ones come over earlier ones."""
    named = os.environ.get("STREAMLIT_SECRETS_FILES", "").split()  # click parts them at white space
    named = named or (_streamlit_section(_settings_files(), "secrets") or {}).get("files", [])
    return [Path(file) for file in named] or [folder / "secrets.toml" for folder in _STREAMLIT_FOLDERS]


def _streamlit_section(files: list[Path], section: str) -> dict[str, Any] | None:
    """A section of Streamlit's settings or secrets; None where there is none."""
    found: dict[str, Any] | None = None
    for file in files:
        try:
            if file.is_dir():  # secrets as Kubernetes lays them out: a folder for each section
                settings: dict[str, Any] = {entry.name: {} for entry in file.iterdir()}
            else:
                settings = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as e:  # unreadable; no UTF-8, no TOML
            raise ConfigError(f"{file} cannot be read as TOML: {e}; nobody is let in until it is mended") from e
        if not isinstance(settings.get(section, {}), dict):
            raise ConfigError(f"{section} in {file} is {settings[section]!r}; expected a section [{section}] with settings below it")
        if section in settings:
            found = (found or {}) | settings[section]
    return found


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


_CHECKS: dict[str, Callable[[Config], tuple[bool | None, str]]] = {
    "versions": _versions,
    "sqlite": _sqlite,
    "faiss": _faiss,
    "device": _device,
    "embedder": _embedder,
    "reader": _reader,
    "generator": _generator,
    "store": _store,
    "index": _index,
    "ocr": _ocr,
    "port": _port,
    "login": _login,
}
