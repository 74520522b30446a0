"""`/healthz` and `/metrics` of a served app."""

from __future__ import annotations

import shutil
from dataclasses import replace

import httpx
import pytest

from dsum_demo.ui.app import build_demo, launch_options
from dsum_demo.ui.health import health, health_routes
from dsum_demo.ui.services import Services


@pytest.fixture
def services(settings, tmp_path) -> Services:
    return Services.start(replace(settings, data_dir=tmp_path / "data"))


def test_a_working_app_answers_ok_and_prometheus_text(services):
    demo = build_demo(services)
    routes = {"routes": health_routes(services)}
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, app_kwargs=routes, **launch_options())
    try:
        answer = httpx.get(f"{url}healthz")
        assert answer.status_code == 200 and answer.json()["status"] == "ok"
        lines = httpx.get(f"{url}metrics").text.splitlines()
        assert "dsum_up 1.0" in lines and "dsum_training_queued 0.0" in lines
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        assert httpx.get(url).status_code == 200
        shutil.rmtree(services.settings.root / "models" / "dsum-t5-full")
        services.registry.refresh()
        answer = httpx.get(f"{url}healthz")
        assert answer.status_code == 503 and "dsum-t5-full" in answer.json()["problems"][0]
        assert "dsum_up 0.0" in httpx.get(f"{url}metrics").text
    finally:
        demo.close()


def test_a_full_disk_is_named(services, monkeypatch):
    monkeypatch.setattr("dsum_demo.ui.health.MIN_FREE_BYTES", 10**18)
    found = health(services)
    assert found["status"] == "unavailable" and "bytes left" in found["problems"][0]


def test_the_answer_contains_no_path(services):
    assert str(services.settings.root) not in str(health(services))
