"""What the page's server adds to Streamlit: headers that let a browser load nothing from elsewhere, and files behind the login.

Streamlit itself sends no Content-Security-Policy. `ui/render.py` already turns images and links into text; the header is the second wall.
It also gives its files (pictures of pages, downloads) to whoever knows their name, a SHA-224 of the content, and takes uploads of any open
connection; both are asked for the login here. The page itself is guarded by `ui/access.py`, at each run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from rag.config import Config
from rag.errors import LecternError
from ui import access
from ui.access import Visitor


def inline_scripts() -> str:
    """Sources of a policy that allow the inline scripts of Streamlit's own page, and no other: by SHA-256."""
    page = (Path(st.__file__).parent / "static/index.html").read_text("utf-8")
    digests = [hashlib.sha256(script.encode()).digest() for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


HEADERS = {
    # Streamlit styles inline and runs a component's script from a blob; its charts compile expressions.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {inline_scripts()} 'unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()" for feature in ("camera", "microphone", "geolocation", "display-capture", "payment", "usb", "serial", "midi")
    ),
}
UPLOAD = "/_stcore/upload_file/"
GUARDED = ("/media/", UPLOAD, "/_stcore/metrics")
"""What Streamlit serves or takes without asking who it is, after the base path."""


MB = 1 << 20
STAFF_FILES = 20
"""So many files of the largest size the staff may have on the way into a course at once."""
FORM_BYTES = MB
"""What a form's frame around the files may take."""
CALLBACK = "/oauth2callback"
WAY = "lectern_way"
LONGEST_WAY = 1000


class SafeHeaders:
    """Adds HEADERS to every response, and `Secure` to every cookie where the page is reached by HTTPS, which Streamlit leaves out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                cookies = headers.getlist("set-cookie")
                if cookies and _served_over_https():
                    del headers["set-cookie"]
                    for cookie in cookies:
                        headers.append("set-cookie", cookie if "; secure" in cookie.lower() else f"{cookie}; Secure")
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _served_over_https() -> bool:
    try:
        return access.served_over_https()
    except LecternError:  # told by the page
        return False


class FilesBehindLogin:
    """403 for GUARDED without a login that counts, where one is asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _path(scope).startswith(GUARDED) and not may_enter(Request(scope)):
            await PlainTextResponse("log in first", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class BoundedUploads:
    """413 for an upload with which a session would hold more in this process's memory than it can be for; 411 for one of unknown size.

    What counts is what Streamlit holds for the session now and what is on the way: a file that is added or taken out of the field frees
    its room. Streamlit itself bounds each file alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._coming: Counter[str] = Counter()
        """Bytes on the way, by session."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = _uploading(scope)
        if session is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        length = request.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            await PlainTextResponse("the size of the upload is not told", 411)(scope, receive, send)
            return
        size = int(length)
        if _held(session) + self._coming[session] + size > upload_limit(request):
            await PlainTextResponse("these files are too large together", 413)(scope, receive, send)
            return
        self._coming[session] += size
        try:
            await self.app(scope, receive, send)
        finally:
            self._coming[session] -= size
            if not self._coming[session]:
                del self._coming[session]


def _uploading(scope: Scope) -> str | None:
    """The session that a request uploads a file for."""
    if scope["type"] != "http" or scope["method"] not in ("PUT", "POST"):
        return None
    path = _path(scope)
    return path.removeprefix(UPLOAD).partition("/")[0] if path.startswith(UPLOAD) else None


def _held(session: str) -> int:
    """Bytes of uploaded files that this process holds for a session."""
    if not runtime.exists():
        return 0
    manager = runtime.get_instance().uploaded_file_mgr
    if not isinstance(manager, MemoryUploadedFileManager):
        return 0
    return sum(len(file.data) for file in list(manager.file_storage.get(session, {}).values()))


def upload_limit(request: Request) -> int:
    """Bytes that a session may have in memory at once: for the staff STAFF_FILES of the largest, for students their own files."""
    visitor = entrant(request)
    if visitor is not None and visitor.staff:
        return STAFF_FILES * int(st.get_option("server.maxUploadSize")) * MB
    try:
        config = Config.load()
    except LecternError:  # told by the page
        return 0
    return (config.own_files_mb * MB + FORM_BYTES) if config.own_files_sessions else 0


class BackToTheLink:
    """Leads whoever has logged in to the page that he was on the way to; Streamlit leads everybody to the first one.

    The way is kept in a cookie for as long as a login may take, and is never anything but a path of this server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        if _path(scope) == CALLBACK:
            await self.app(scope, receive, _redirecting(send, way_back(request)))
        else:
            await self.app(scope, receive, _keeping_the_way(send, request))


def _keeping_the_way(send: Send, request: Request) -> Send:
    async def send_and_keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            is_page = headers.get("content-type", "").startswith("text/html") and request.url.query
            if is_page and not may_enter(request):
                way = quote(f"{request.url.path}?{request.url.query}", safe="")
                if len(way) <= LONGEST_WAY:
                    headers.append("set-cookie", f"{WAY}={way}; Path=/; HttpOnly; SameSite=Lax; Max-Age=600")
        await send(message)

    return send_and_keep


def _redirecting(send: Send, way: str | None) -> Send:
    async def send_elsewhere(message: Message) -> None:
        if message["type"] == "http.response.start" and way is not None:
            headers = MutableHeaders(scope=message)
            if any(cookie.startswith(f"{USER_COOKIE_NAME}=") for cookie in headers.getlist("set-cookie")):
                headers["location"] = way
            headers.append("set-cookie", f"{WAY}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
        await send(message)

    return send_elsewhere


def way_back(request: Request) -> str | None:
    """The page that the visitor was on the way to: a path of this server with its query, or nothing."""
    way = unquote(request.cookies.get(WAY, ""))
    return way if re.fullmatch(r"/(?![/\\])[\w/.-]*\?[\w=&.%+~:-]*", way, re.ASCII) else None


def _path(scope: Scope) -> str:
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    return str(scope["path"]).removeprefix(f"/{base}") if base else str(scope["path"])


def may_enter(request: Request) -> bool:
    """Whether the page would let in who sends this request."""
    return entrant(request) is not None


def entrant(request: Request) -> Visitor | None:
    """Who sends this request, if the page would let him in; nobody while the settings cannot be read."""
    try:
        if not access.login_required():
            return Visitor()
        found = access.judge(_claims(request), Config.load(), time.time())
    except LecternError as e:
        logging.getLogger(__name__).warning("login: %s", e)
        return None
    return found if isinstance(found, Visitor) else None


def _claims(request: Request) -> dict[str, Any]:
    """What the provider said, from Streamlit's signed cookie; nothing where there is none or it was not signed here."""

    def one(name: str) -> bytes | None:
        value = request.cookies.get(name)
        return None if value is None else decode_signed_value(get_cookie_secret(), name, value.encode("latin-1"))

    kept = get_cookie_with_chunks(one, USER_COOKIE_NAME)
    return json.loads(kept) if kept else {}


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Deletes visitors' own files when the server ends. A signal ends the process without what Python does at its exit."""
    yield
    from ui import own_files  # with what indexes files: the server answers before that is loaded

    own_files.close_all()


MIDDLEWARE = [Middleware(SafeHeaders), Middleware(FilesBehindLogin), Middleware(BoundedUploads), Middleware(BackToTheLink)]


def _health(request: Request) -> Response:
    from ui import health  # at the first call: the server answers before what answers questions is loaded

    return health.health(request)


ROUTES = [Route("/health", _health)]
