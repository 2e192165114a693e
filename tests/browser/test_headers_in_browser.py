"""The headers of everything that the server gives, and that the pages live under the policy and ask nobody else for anything."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from running_app import Visit

from ui.server import HEADERS

pytestmark = pytest.mark.browser


def headers_of(url: str) -> dict[str, str]:
    try:
        with urllib.request.urlopen(url) as response:
            return {name.lower(): value for name, value in response.headers.items()}
    except urllib.error.HTTPError as e:
        return {name.lower(): value for name, value in e.headers.items()}


def assert_safe(found: dict[str, str], url: str) -> None:
    assert {name: found.get(name.lower()) for name in HEADERS} == HEADERS, url


PATHS = (
    "",
    "materials",
    "health",
    "favicon.png",
    "no/such/thing",
    "media/none.png",
    "component/none/index.html",
    "_stcore/health",
    "_stcore/host-config",
    "_stcore/metrics",
    "_stcore/bidi-components/none/x.js",
    "_stcore/agent/openapi.json",
    "oauth2callback",
    "auth/login",
)


@pytest.mark.parametrize("path", PATHS)
def test_every_route_sends_the_headers(path: str, app_url: str):
    url = f"{app_url}/{path}"
    assert_safe(headers_of(url), url)


def test_everything_that_a_visit_loads_has_them(visit: Visit, app_url: str):
    page = visit.page
    loaded: dict[str, dict[str, str]] = {}
    page.on("response", lambda response: loaded.setdefault(response.url, response.headers))
    page.goto(app_url)
    visit.settle()
    visit.ask("What does the KV cache store for each layer and each token?")
    visit.open_source(".pdf · page")
    page.keyboard.press("Escape")
    for name in ("Materials", "Insights", "Evaluation"):
        page.get_by_role("link", name=name).click()
        visit.settle()
    assert any("/media/" in url and "/static/" not in url for url in loaded), "no picture of a page was loaded"
    assert any(url.endswith(".js") for url in loaded)
    assert any(url.endswith(".woff2") for url in loaded)
    for url, headers in loaded.items():
        if url.startswith("http"):
            assert_safe(headers, url)


def test_the_policy_names_no_other_host_and_no_inline_script():
    policy = {part.split()[0]: part.split()[1:] for part in HEADERS["Content-Security-Policy"].split("; ")}
    assert "'unsafe-inline'" not in policy["script-src"]
    assert len([source for source in policy["script-src"] if source.startswith("'sha256-")]) == 1
    for name, sources in policy.items():
        assert all(source.startswith("'") or source in ("data:", "blob:") for source in sources), name
    assert policy["default-src"] == policy["connect-src"] == ["'self'"]
