"""What `/health` tells of the engine that the page uses."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rag.admission import Admission
from rag.errors import GeneratorUnavailable
from ui import health, state
from ui.server import ROUTES


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=ROUTES))


def test_it_loads_nothing_by_itself(store, client):
    assert client.get("/health").json() == {"status": "ready", "courses": {"demo": 24}, "load": None}


def test_a_probe_searches_and_generates(store, use_chat_model, client):
    engine = use_chat_model("Yes.")
    told = client.get("/health?probe").json()
    assert told["status"] == "ready"
    assert told["probe"].keys() == {"search_ms", "token_ms"}
    assert all(ms >= 0 for ms in told["probe"].values())
    assert next(engine.chat_model.messages, None) is None  # the generator was really asked
    assert told["load"] == {"serving": 0, "waiting": 0, "refused": 0}


def test_a_generator_that_fails_is_named(store, use_chat_model, client, monkeypatch):
    use_chat_model("Yes.")

    def fail(*_: object) -> None:
        raise GeneratorUnavailable("no weights at /srv/secret")

    monkeypatch.setattr(health, "stream_chat", fail)
    response = client.get("/health?probe")
    assert response.status_code == 503
    assert response.json()["status"] == "degraded"
    assert response.json()["probe"]["token_ms"] == "GeneratorUnavailable"
    assert "secret" not in response.text


def test_a_generator_that_is_missing_is_told_and_none_at_all_is_well(store, use_chat_model, client, monkeypatch):
    use_chat_model()
    assert client.get("/health?probe").status_code == 503
    monkeypatch.setenv("LECTERN_CONFIG", str(store.directory / "quotes.toml"))
    (store.directory / "quotes.toml").write_text('generator = "none"\n')
    assert client.get("/health?probe").json()["probe"]["token_ms"] is None


def test_no_store_is_unavailable_without_its_path(tmp_path, monkeypatch, client):
    monkeypatch.setenv("LECTERN_STORE", str(tmp_path / "none"))
    response = client.get("/health")
    assert (response.status_code, response.json()) == (503, {"status": "unavailable", "reason": "StoreMissing"})


def test_the_load_is_told_while_somebody_is_served(store, use_chat_model, client, monkeypatch):
    engine = use_chat_model("Yes.")
    monkeypatch.setattr(state, "engine_if_loaded", lambda config: engine)
    with engine.admission.ticket("somebody"):
        assert client.get("/health").json()["load"] == {"serving": 1, "waiting": 0, "refused": 0}


def test_a_probe_is_told_again_for_some_seconds(store, use_chat_model, client, monkeypatch):
    engine = use_chat_model("Yes.", "Yes.", "Yes.")
    asked: list[object] = []
    monkeypatch.setattr(health, "stream_chat", lambda *told: asked.append(told) or iter(()))
    first = client.get("/health?probe").json()
    assert client.get("/health?probe").json() == first
    assert len(asked) == 1
    health._TRIED._at -= health.KEPT_S + 1
    assert client.get("/health?probe").status_code == 200
    assert len(asked) == 2
    assert engine.admission.load.serving == 0


def test_a_probe_takes_its_turn_and_a_busy_generator_is_not_a_failed_one(store, use_chat_model, client, monkeypatch):
    engine = use_chat_model("Yes.", admission=Admission(slots=1, waiting=0))
    with engine.admission.ticket("somebody"):
        response = client.get("/health?probe")
    assert response.json()["probe"]["token_ms"] == "GeneratorBusy"
    assert response.json()["status"] == "ready"
    assert response.status_code == 200
    assert next(engine.chat_model.messages).text == "Yes."  # it was not asked


def test_nobody_waits_for_the_probe_of_another(store, use_chat_model, client):
    engine = use_chat_model("Yes.")
    with health._TRIED._lock:
        assert client.get("/health?probe").json()["probe"] == {"search_ms": "GeneratorBusy", "token_ms": "GeneratorBusy"}
    assert next(engine.chat_model.messages).text == "Yes."
