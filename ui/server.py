"""What the page's server adds to Streamlit: headers that let a browser load nothing from elsewhere, and `/health`.

Streamlit itself sends no Content-Security-Policy. `ui/render.py` already turns images and links into text; the header is the second wall.
"""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.config import Config
from rag.errors import LecternError
from rag.store import Store

HEADERS = {
    # Streamlit styles inline, starts with one inline script and runs a component's script from a blob; its charts compile expressions.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
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
}


class SafeHeaders:
    """Adds HEADERS to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)


def health(_: Request) -> JSONResponse:
    """200 when the catalogue can be read and holds something to answer from; 503 names what is missing. It does not try the models."""
    try:
        store = Store.open(Config.load().store)
        try:
            courses = store.courses()
        finally:
            store.close()
    except LecternError as e:
        logging.getLogger(__name__).warning("health: %s", e)
        return JSONResponse({"status": "unavailable", "store": type(e).__name__}, 503)
    ready = any(course.chunks for course in courses)
    chunks = {course.name: course.chunks for course in courses}
    return JSONResponse({"status": "ready" if ready else "empty", "courses": chunks}, 200 if ready else 503)


MIDDLEWARE = [Middleware(SafeHeaders)]
ROUTES = [Route("/health", health)]
