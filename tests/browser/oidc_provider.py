"""A small OpenID Connect provider on loopback: it logs in whom a test names, without asking for anything.

Discovery, authorization with code and PKCE, token with an ID token signed by RS256, keys, end of session: what a client needs of
OpenID Connect Core 1.0, section 3.1. Not for anything but tests.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "lectern", "a-secret-of-the-test"


@dataclass
class Provider:
    """`person` is who logs in next: claims of the ID token; None, and the login is declined."""

    url: str = ""
    person: dict[str, Any] | None = None
    issued_at: float | None = None
    """Moment that the next ID token says it was issued at; None for now."""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "test", "use": "sig"}))
    granted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Code → the ID token's claims."""
    logouts: int = 0

    def documents(self) -> dict[str, Any]:
        """What stands at fixed paths."""
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "end_session_endpoint": f"{self.url}/logout",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            },
            "/keys": {"keys": [self.key.as_dict(private=False)]},
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """The address that the browser is sent back to."""
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        if self.person is None:
            return f"{asked['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
        code = secrets.token_urlsafe(16)
        now = int(self.issued_at if self.issued_at is not None else time.time())
        self.granted[code] = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": int(time.time()) + 3600,
            "nonce": asked["nonce"],
            **self.person,
        }
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, asked: dict[str, str]) -> dict[str, Any]:
        claims = self.granted.pop(asked["code"])
        token = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self.key)
        return {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 3600, "id_token": token}


@contextmanager
def providing() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/authorize":
                self._redirect(provider.authorize(asked))
            elif parts.path == "/logout":
                provider.logouts += 1
                self._redirect(asked["post_logout_redirect_uri"])
            else:
                self._say(provider.documents().get(parts.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._say(provider.token({name: values[0] for name, values in parse_qs(body).items()}))

        def _redirect(self, to: str) -> None:
            self.send_response(302)
            self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _say(self, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(404 if value is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, name="provider")
        thread.start()
        provider.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield provider
        finally:
            http.shutdown()
            thread.join()
