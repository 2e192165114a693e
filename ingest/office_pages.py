"""Office files to PDF by LibreOffice, where it is installed: what an opened slide or section is drawn from.

Each file gets a process and a profile of its own, in a temporary folder that is gone afterwards. A document can name pictures and texts to
fetch, on other hosts and on this machine, so the kernel forbids LibreOffice the network and all other files (`ingest.sandbox`), and its
settings forbid links and macros besides; where the kernel cannot, nothing is converted. `python -m ingest.office_pages` is the process that
gives these things up and then becomes LibreOffice; nobody types it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ingest.sandbox import SOCKETS, Limits, can_confine, enter_to_convert
from rag.errors import NotReadThisTime, UnreadableDocument

FORMATS = {".pptx": "impress", ".odp": "impress", ".otp": "impress", **dict.fromkeys((".docx", ".odt", ".ott", ".rtf"), "writer")}
"""Suffix → the program of the office that draws it."""
LIMITS = Limits(seconds=60, memory_bytes=2 << 30)
"""LibreOffice 7.4 draws the sample decks within 1 GiB of address space; a deck of photographs needs more."""
GRACE_S = 5
PDF_BYTES = 128 << 20
STARTS = 3
RESTART = 81
"""LibreOffice's exit code for "start me again": a fresh profile has been set up."""

LEFTOVER_S = 600
_PREFIX = "lectern-pages-"
"""Begins the names of the folders in which files are converted."""

_PROGRAMS = ("soffice", "libreoffice")
_READABLE = (
    *("/usr/lib", "/usr/lib64", "/usr/bin", "/usr/share", "/lib", "/lib64", "/bin", "/usr/local/share/fonts"),
    *("/etc/fonts", "/etc/libreoffice", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/locale.alias"),
    *(
        "/var/lib/libreoffice",
        "/var/spool/libreoffice",
        "/var/cache/fontconfig",
        "/dev/urandom",
        "/dev/random",
        "/proc/cpuinfo",
        "/sys/devices/system/cpu",
    ),
)
"""What a program needs to start and to draw letters; nothing of a person or of a course lies there."""

_SETTINGS: dict[str, dict[str, bool | int]] = {
    "Common/Security/Scripting": {
        "MacroSecurityLevel": 3,
        "DisableMacrosExecution": True,
        "DisablePythonRuntime": True,
        "DisableActiveContent": True,
        "BlockUntrustedRefererLinks": True,
    },
    "Writer/Content/Update": {"Link": 0, "Field": False, "Chart": False},
    "Common/Save/Document": {"AutoSave": False},
    "Common/Misc": {"FirstRun": False},
    "Common/Filter/PDF/Export": {"ExportHiddenSlides": True, "ExportNotes": False, "ExportNotesPages": False},
}
"""LibreOffice's own settings, by path below org.openoffice.Office. Hidden slides are drawn, too, so that slide n is page n."""


def find_office() -> Path | None:
    """The program of an installed LibreOffice that may be used.

    None also where the kernel cannot confine it, and for a script or a folder of another kind, such as `~/.local/bin`: what lies around
    the program becomes readable to it.
    """
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None or not can_confine():
        return None
    office = Path(found).resolve()
    folder = office.parent.parent
    is_its_own = (folder / "program/soffice.bin").is_file() and not Path.home().resolve().is_relative_to(folder)
    return office if is_its_own else None


def convert_to_pdf(data: bytes, source: str, office: Path, limits: Limits = LIMITS) -> bytes:
    """The pages of an office file as a PDF.

    Raises:
        UnreadableDocument: LibreOffice cannot read it, or not within the limits.
        NotReadThisTime: there is no room for it, or no process can be started.
    """
    try:
        _remove_leftovers(Path(tempfile.gettempdir()))
        pdf = _convert(data, source, office, limits)
    except OSError as e:
        raise NotReadThisTime(
            f"{source} cannot be drawn just now: {e.strerror or e}; make room in {tempfile.gettempdir()}, or free memory"
        ) from e
    if pdf is None:
        raise UnreadableDocument(f"{source} was opened by LibreOffice without giving pages: open it there to see why, or save it as PDF")
    return pdf


def _remove_leftovers(temporary: Path) -> None:
    """Deletes what a server that was killed has left of its conversions, none of which takes so long: it is a course's material."""
    for leftover in temporary.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another server removes it, too
            about = leftover.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and time.time() - about.st_mtime > LEFTOVER_S:
                shutil.rmtree(leftover, ignore_errors=True)


def _convert(data: bytes, source: str, office: Path, limits: Limits) -> bytes | None:
    """The PDF; None when LibreOffice ends well without writing one."""
    suffix = Path(source).suffix.lower()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name).resolve()
        for room in ("profile/user", "home", "out"):
            (folder / room).mkdir(parents=True)
        (folder / "profile/user/registrymodifications.xcu").write_text(_profile())
        document = folder / f"document{suffix}"  # a name of our own: theirs may look like an option
        document.write_bytes(data)
        _run(document, folder, office, source, limits)
        return _read_result(folder / "out/document.pdf")


def _run(document: Path, folder: Path, office: Path, source: str, limits: Limits) -> None:
    """LibreOffice on the document, started again as often as it asks for."""
    order = {
        "office": str(office.with_name("soffice.bin")),  # itself rather than the script that starts it through another process
        "readable": [*_READABLE, str(office.parent.parent)],
        "folder": str(folder),
        "document": str(document),
        "filter": f"pdf:{FORMATS[document.suffix]}_pdf_Export",
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_bytes,
    }
    for _ in range(STARTS):
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest.office_pages", json.dumps(order)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # one group, ended as a whole
        )
        try:
            status = process.wait(limits.seconds + GRACE_S)
        except subprocess.TimeoutExpired:
            status = -signal.SIGALRM
        finally:
            _end_group(process)
            _remove_socket(folder / "profile")
        if status != RESTART:
            break
    if status in (-signal.SIGALRM, -signal.SIGXCPU):
        raise UnreadableDocument(f"{source} takes longer than {limits.seconds} s to be drawn by LibreOffice: split it, or save it as PDF")
    if status != os.EX_OK:
        raise UnreadableDocument(f"{source} cannot be drawn by LibreOffice (it ended with {status}): save it as PDF")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what the process has started, and itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _remove_socket(profile: Path) -> None:
    """Removes what LibreOffice listens on, named by the MD5 of its profile's address: in that folder it may make files, not remove them."""
    digest = hashlib.md5(profile.as_uri().encode("utf-16-le"), usedforsecurity=False).digest()
    name = "".join(f"{byte:x}" for byte in digest)  # as LibreOffice writes it: no zero before a single digit
    for socket in SOCKETS.glob(f"OSL_PIPE_*{name}"):
        socket.unlink(missing_ok=True)


def _read_result(path: Path) -> bytes | None:
    """The PDF that was written; None when there is none. Whoever wrote it may have left a link to something else under its name."""
    try:
        place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(place, "rb") as file:
        return file.read(PDF_BYTES) if stat.S_ISREG(os.fstat(place).st_mode) else None


def _profile() -> str:
    """LibreOffice's settings as the file of a profile."""
    items = "".join(
        f'<item oor:path="/org.openoffice.Office.{path}"><prop oor:name="{name}" oor:op="fuse"><value>{_value(value)}</value></prop></item>'
        for path, values in _SETTINGS.items()
        for name, value in values.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><oor:items xmlns:oor="http://openoffice.org/2001/registry">{items}</oor:items>'


def _value(value: bool | int) -> str:
    return str(value).lower()


def _become_office(order: dict[str, str], readable: list[str], limits: Limits) -> None:
    """Gives up what a converter does not need and becomes LibreOffice, which keeps nothing of this environment."""
    folder = Path(order["folder"])
    enter_to_convert(limits, map(Path, readable), folder, PDF_BYTES)
    os.chdir(folder)
    environment = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "SAL_USE_VCLPLUGIN": "svp",  # draws in memory, whatever desktop there is
        "SAL_DISABLE_OPENCL": "1",
    }
    options = [
        "--headless",
        "--norestore",
        "--nologo",
        "--nodefault",
        "--nolockcheck",
        f"-env:UserInstallation={(folder / 'profile').as_uri()}",
    ]
    conversion = ["--convert-to", order["filter"], "--outdir", str(folder / "out"), order["document"]]
    os.execve(order["office"], [order["office"], *options, *conversion], environment)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    _become_office(asked, asked["readable"], Limits(asked["seconds"], asked["memory_bytes"]))
