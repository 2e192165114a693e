"""Who is let in, and what he sees. The claims are what providers send; the login itself is tried in tests/browser."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from rag import conversations
from rag.config import Config
from rag.errors import ConfigError
from ui import access, server
from ui.access import Refusal, Visitor, judge

SCRIPT = Path(__file__).parents[2] / "ui/main.py"
NOW = 1_800_000_000.0
CLAIMS = {"is_logged_in": True, "iss": "https://id.uni.edu", "sub": "17", "email": "Ada@Uni.edu", "name": "Ada", "iat": NOW - 60}


def claims(**changes: object) -> dict[str, object]:
    return {key: value for key, value in (CLAIMS | changes).items() if value is not None}


# --- the judgement


def test_a_listed_address_is_staff_whatever_its_case_and_others_are_students() -> None:
    staff = Config(staff=("ada@uni.EDU",))
    assert judge(claims(), staff, NOW) == Visitor("Ada", access.owner_of("https://id.uni.edu", "17"), True)
    assert judge(claims(email="bob@uni.edu"), staff, NOW).staff is False
    assert judge(claims(email="ada@uni.edu.evil.example"), staff, NOW).staff is False
    assert judge(claims(), Config(), NOW).staff is False


@pytest.mark.parametrize("verified", [False, "false", "False"])
def test_an_address_that_is_not_verified_counts_for_nothing(verified: object) -> None:
    assert judge(claims(email_verified=verified), Config(staff=("ada@uni.edu",)), NOW).staff is False
    assert judge(claims(email_verified=verified), Config(students=("@uni.edu",)), NOW) is Refusal.NOT_LISTED


def test_where_students_are_listed_nobody_else_enters() -> None:
    listed = Config(students=("@uni.edu", "guest@other.edu"), staff=("prof@far.edu",))
    assert judge(claims(), listed, NOW) == Visitor("Ada", access.owner_of("https://id.uni.edu", "17"), False)
    assert judge(claims(email="guest@other.edu"), listed, NOW).staff is False
    assert judge(claims(email="prof@far.edu"), listed, NOW).staff is True
    for stranger in ("eve@other.edu", "eve@evil-uni.edu", "eve@uni.edu.evil.example", "@", "", None):
        assert judge(claims(email=stranger), listed, NOW) is Refusal.NOT_LISTED, stranger


def test_a_login_counts_for_some_hours_from_when_it_was_given() -> None:
    config = Config(login_hours=2)
    assert isinstance(judge(claims(iat=NOW - 7199), config, NOW), Visitor)
    for issued in (NOW - 7201, NOW + 301, None, "yesterday"):
        assert judge(claims(iat=issued), config, NOW) is Refusal.EXPIRED, issued


@pytest.mark.parametrize("changes", [{"is_logged_in": False}, {"is_logged_in": None}, {"is_logged_in": "true"}, {"sub": None}, {"sub": ""}])
def test_without_a_login_or_a_subject_nobody_enters(changes: dict[str, object]) -> None:
    assert judge(claims(**changes), Config(), NOW) is Refusal.UNKNOWN


def test_the_name_of_an_owner_is_the_accounts_alone_and_no_address() -> None:
    owner = access.owner_of("https://id.uni.edu", "17")
    assert owner == "bd58f3a14ecea02f22fb3b4ef04b7d86"
    assert len({owner, access.owner_of("https://id.uni.edu", "18"), access.owner_of("https://id.other.edu", "17")}) == 3


def test_what_runs_without_the_page_notices_a_role_that_was_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now: Visitor | Refusal = Visitor("Ada", "ada", staff=True)
    monkeypatch.setattr(access, "recognise", lambda config: now)
    is_still = access.watch()
    assert is_still()
    now = Visitor("Ada", "ada", staff=False)
    assert not is_still()
    now = Refusal.EXPIRED
    assert not is_still()


def test_lists_hold_addresses() -> None:
    for bad in ({"staff": ("ada",)}, {"staff": ("@uni.edu",)}, {"students": ("uni.edu",)}, {"students": ("a b@uni.edu",)}):
        with pytest.raises(ConfigError, match="expected e-mail addresses"):
            Config(**bad)


# --- the secrets


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Streamlit looks for its secrets, in this test."""
    file = tmp_path / "secrets.toml"
    monkeypatch.setattr(st.secrets, "_secrets", None)
    monkeypatch.setattr(st.secrets, "_file_watchers_installed", True)
    before = st.get_option("secrets.files")
    st._config.set_option("secrets.files", [str(file)])
    yield file
    st._config.set_option("secrets.files", before)


def test_a_login_is_asked_for_where_the_secrets_say_so(secrets: Path) -> None:
    assert not access.login_required()
    secrets.write_text('[auth]\nredirect_uri = "https://lectern.uni.edu/oauth2callback"\n')
    assert access.login_required()
    assert access.served_over_https()


@pytest.mark.parametrize("text", ["[auth", 'auth = "x'])
def test_secrets_that_cannot_be_read_let_nobody_in(secrets: Path, text: str) -> None:
    secrets.write_text(text)
    with pytest.raises(ConfigError, match="nobody is let in"):
        access.login_required()


def test_other_secrets_ask_for_no_login_and_an_empty_section_does(secrets: Path) -> None:
    secrets.write_text('[other]\nkey = "x"\n')
    assert not access.login_required()


def test_an_empty_section_asks_for_a_login(secrets: Path) -> None:
    secrets.write_text("[auth]\n")
    assert access.login_required()


# --- the page


def visit(user: dict[str, object], **parameters: str) -> AppTest:
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    page.secrets["auth"] = {"redirect_uri": "http://127.0.0.1:8501/oauth2callback", "cookie_secret": "x" * 32}
    page.user = user
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def fresh(**changes: object) -> dict[str, object]:
    return claims(iat=time.time() - 1, **changes)


def everything(page: AppTest) -> str:
    """All that was sent to the browser."""
    return "\n".join(str(getattr(node, "proto", "")) for block in (page.main, page.sidebar, page._tree[2]) for node in block)


def test_before_the_login_the_page_holds_nothing_of_a_course(store, use_chat_model) -> None:
    use_chat_model()
    page = visit({"is_logged_in": False}, course="demo")
    assert not page.exception
    assert [button.key for button in page.button] == ["log-in"]
    assert not page.sidebar.children
    for word in ("Demos", "demo", "rules.md", "documents"):
        assert word not in everything(page)


def test_an_expired_login_and_an_unlisted_account_are_told(store, use_chat_model, tmp_path, monkeypatch) -> None:
    use_chat_model()
    assert "expired" in everything(visit(claims(iat=time.time() - 13 * 3600)))
    file = tmp_path / "lectern.toml"
    file.write_text('students = ["@other.edu"]\n')
    monkeypatch.setenv("LECTERN_CONFIG", str(file))
    page = visit(fresh())
    assert "may not use Lectern here" in everything(page)
    assert [button.key for button in page.button] == ["log-in", "log-out"]


def test_a_student_sees_the_course_his_name_and_the_way_out(store, use_chat_model) -> None:
    use_chat_model()
    page = visit(fresh(name="Ada *L*"))
    assert not page.exception
    assert r"Ada \*L\*" in [caption.value for caption in page.sidebar.caption]
    assert page.button(key="log-out")
    assert page.header[0].value == r"A Course\: of \*Demos\*"


def test_a_conversation_is_its_owners_alone(store, use_chat_model) -> None:
    use_chat_model()
    kept = conversations.start(store, "demo", "When is the midterm?", access.owner_of("https://id.uni.edu", "17"))
    assert "When is the midterm" in everything(visit(fresh(), course="demo", conversation=kept.id))
    for other in (fresh(sub="18"), fresh(iss="https://id.other.edu")):
        page = visit(other, course="demo", conversation=kept.id)
        assert "That conversation is not here" in everything(page)
        assert "midterm" not in everything(page)


# --- the server


def serve(cookies: dict[str, str] | None = None) -> TestClient:
    def content(_: Request) -> Response:
        response = PlainTextResponse("a page of the course")
        response.set_cookie("kept", "1", httponly=True)
        return response

    routes = [
        Route(path, content)
        for path in (
            "/media/0ab1.png",
            "/_stcore/upload_file/1/2",
            "/_stcore/metrics",
            "/_stcore/health",
            "/static/media/a.woff2",
            "/l/media/0ab1.png",
            "/",
        )
    ]
    return TestClient(Starlette(routes=[*routes, *server.ROUTES], middleware=server.MIDDLEWARE), cookies=cookies)


def cookie(said: dict[str, object]) -> dict[str, str]:
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    return {"_streamlit_user": create_signed_value("y" * 32, "_streamlit_user", json.dumps(said)).decode()}


@pytest.fixture
def login(secrets: Path) -> Path:
    secrets.write_text(f'[auth]\nredirect_uri = "https://lectern.uni.edu/oauth2callback"\ncookie_secret = "{"y" * 32}"\n')
    return secrets


GUARDED = ["/media/0ab1.png", "/_stcore/upload_file/1/2", "/_stcore/metrics"]


@pytest.mark.parametrize("path", GUARDED)
def test_files_are_given_to_whoever_is_logged_in(login: Path, path: str) -> None:
    assert serve().get(path).status_code == 403
    assert serve(cookie(fresh())).get(path).status_code == 200
    assert serve(cookie(claims(iat=time.time() - 13 * 3600))).get(path).status_code == 403
    claimed, dot, signature = cookie(fresh())["_streamlit_user"].rpartition(".")
    forged = {"_streamlit_user": claimed + dot + signature[::-1]}
    assert serve(forged).get(path).status_code == 403
    login.write_text("[auth")
    st.secrets._secrets = None
    assert serve(cookie(fresh())).get(path).status_code == 403


def test_what_every_page_is_made_of_is_given_to_all(login: Path) -> None:
    assert serve().get("/static/media/a.woff2").status_code == 200
    assert serve().get("/_stcore/health").status_code == 200


def test_a_base_path_opens_no_way_round(login: Path) -> None:
    st._config.set_option("server.baseUrlPath", "/l/")
    try:
        assert serve().get("/l/media/0ab1.png").status_code == 403
    finally:
        st._config.set_option("server.baseUrlPath", "")


@pytest.mark.parametrize("path", GUARDED)
def test_without_a_login_files_are_given_to_all(secrets: Path, path: str) -> None:
    assert serve().get(path).text == "a page of the course"


def test_health_names_courses_only_to_whoever_may_enter(store, login: Path) -> None:
    assert serve().get("/health").json() == {"status": "ready"}
    assert list(serve(cookie(fresh())).get("/health").json()["courses"]) == ["demo"]


def test_a_probe_is_for_the_staff_alone(store, use_chat_model, login: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTERN_CONFIG", str(tmp_path / "lectern.toml"))
    (tmp_path / "lectern.toml").write_text('staff = ["grace@uni.edu"]\n')
    use_chat_model("Yes.")
    assert "probe" not in serve(cookie(fresh())).get("/health?probe").json()
    assert "probe" in serve(cookie(fresh(email="grace@uni.edu"))).get("/health?probe").json()


def upload(cookies: dict[str, str] | None, size: int, session: str = "s1") -> int:
    """The status of an upload of so many bytes that are not read."""

    def content(_: Request) -> Response:
        return PlainTextResponse("taken", 204)

    app = Starlette(routes=[Route("/_stcore/upload_file/{session}/{file}", content, methods=["PUT"])], middleware=server.MIDDLEWARE)
    path = f"/_stcore/upload_file/{session}/f1"
    return TestClient(app, cookies=cookies).put(path, headers={"content-length": str(size)}).status_code


def test_uploads_of_a_student_are_bounded_by_what_the_session_holds_already(login: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LECTERN_CONFIG", str(tmp_path / "lectern.toml"))
    (tmp_path / "lectern.toml").write_text('own_files_mb = 3\nstaff = ["grace@uni.edu"]\n')
    held = {"s1": 0, "s2": 2 << 20}
    monkeypatch.setattr(server, "_held", held.__getitem__)
    student, staff = cookie(fresh()), cookie(fresh(email="grace@uni.edu"))
    assert upload(None, 1) == 403
    assert upload(student, 3 << 20) == 204
    assert upload(student, 4 << 20) == 204  # with the frame of the form
    assert upload(student, (4 << 20) + 1) == 413
    assert upload(student, 3 << 20, "s2") == 413
    assert upload(student, 2 << 20, "s2") == 204
    assert upload(staff, 100 << 20) == 204
    assert upload(staff, 20 * (st.get_option("server.maxUploadSize") << 20) + 1) == 413
    (tmp_path / "lectern.toml").write_text("own_files_sessions = 0\n")
    assert upload(student, 1) == 413


def test_an_upload_of_unknown_size_is_refused(secrets: Path) -> None:
    app = Starlette(routes=[], middleware=server.MIDDLEWARE)
    assert TestClient(app).put("/_stcore/upload_file/s1/f1", content=iter([b"x"])).status_code == 411


def test_what_a_session_holds_is_asked_of_streamlit(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = MemoryUploadedFileManager("/_stcore/upload_file")
    for file, data in (("a", b"123"), ("b", b"45")):
        manager.add_file("s1", UploadedFileRec(file, file, "text/plain", data))
    monkeypatch.setattr(server.runtime, "exists", lambda: True)
    monkeypatch.setattr(server.runtime, "get_instance", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    assert (server._held("s1"), server._held("s2")) == (5, 0)
    manager.remove_file("s1", "a")
    assert server._held("s1") == 2
    assert list(manager.file_storage) == ["s1"]  # asking makes no entry


def test_cookies_are_secure_where_the_page_is_reached_by_https(login: Path) -> None:
    assert serve().get("/").headers["set-cookie"].endswith("; Secure")
    login.write_text('[auth]\nredirect_uri = "http://127.0.0.1:8501/oauth2callback"\n')
    st.secrets._secrets = None
    assert "Secure" not in serve().get("/").headers["set-cookie"]


@pytest.mark.parametrize("path", ["/", "/health", "/media/0ab1.png", "/no-such-thing"])
def test_every_response_has_the_headers(secrets: Path, path: str) -> None:
    headers = serve().get(path).headers
    assert {name: headers[name] for name in server.HEADERS} == server.HEADERS


def test_refusals_have_the_headers_too(login: Path) -> None:
    refused = serve().get("/media/0ab1.png")
    assert (refused.status_code, refused.headers["content-security-policy"]) == (403, server.HEADERS["Content-Security-Policy"])


# --- back to the link


def page_and_callback() -> Starlette:
    def page(_: Request) -> Response:
        return HTMLResponse("<p>the page</p>")

    def callback(request: Request) -> Response:
        response = RedirectResponse("/", 302)
        if "code" in request.query_params:
            response.set_cookie("_streamlit_user", "signed")
        return response

    return Starlette(routes=[Route("/oauth2callback", callback), Route("/{path:path}", page)], middleware=server.MIDDLEWARE)


def test_after_the_login_the_link_opens_that_was_followed(login: Path) -> None:
    client = TestClient(page_and_callback(), base_url="https://lectern.uni.edu")
    client.get("/?course=demo&source=4.1")
    back = client.get("/oauth2callback?code=1", follow_redirects=False)
    assert back.headers["location"] == "/?course=demo&source=4.1"
    assert client.get("/oauth2callback?code=1", follow_redirects=False).headers["location"] == "/"


def test_a_declined_login_a_plain_visit_and_one_who_is_in_are_led_to_the_first_page(login: Path) -> None:
    client = TestClient(page_and_callback(), base_url="https://lectern.uni.edu")
    client.get("/?course=demo")
    assert client.get("/oauth2callback?error=denied", follow_redirects=False).headers["location"] == "/"
    assert "lectern_way" not in client.get("/").headers.get("set-cookie", "")
    inside = TestClient(page_and_callback(), base_url="https://lectern.uni.edu", cookies=cookie(fresh()))
    assert "set-cookie" not in inside.get("/?course=demo").headers


def test_without_a_login_no_way_is_kept(secrets: Path) -> None:
    assert "set-cookie" not in TestClient(page_and_callback()).get("/?course=demo").headers


@pytest.mark.parametrize(
    "way",
    [
        "https://evil.example/?x=1",
        "//evil.example/?x=1",
        "/\\evil.example/?x=1",
        "/%2f/evil.example?x\r\nSet-Cookie: a=b",
        "javascript:x?y",
        "/x?y z",
        "",
    ],
)
def test_the_way_back_is_a_path_of_this_server(way: str) -> None:
    request = Request({"type": "http", "headers": [(b"cookie", b"lectern_way=" + quote(way, safe="").encode())]})
    assert server.way_back(request) is None
    again = Request({"type": "http", "headers": [(b"cookie", b"lectern_way=" + quote("/materials?course=a%20b&x=1.2", safe="").encode())]})
    assert server.way_back(again) == "/materials?course=a%20b&x=1.2"
