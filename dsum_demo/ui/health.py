"""`/healthz` and `/metrics`: the state and the resources of the app for its operator, without texts or paths."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, ProcessCollector, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsum_demo.ui.services import Services

MIN_FREE_BYTES = 200_000_000


def health_routes(services: Services) -> list[Route]:
    """The routes for `launch(app_kwargs={"routes": …})`."""

    def healthz(request: Request) -> Response:
        found = health(services)
        return JSONResponse(found, status_code=200 if found["status"] == "ok" else 503)

    def metrics(request: Request) -> Response:
        return Response(metrics_text(services), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]


def health(services: Services) -> dict[str, Any]:
    """status: "ok", or "unavailable" with the problems, one sentence each. disk_free_bytes: of the data folder."""
    registry, problems = services.registry, []
    missing = [spec.name for spec in registry.systems() if not registry.availability(spec).usable]
    if missing:
        problems.append(f"Models of the default family are not available: {', '.join(missing)}.")
    folder = _existing(services.settings.data_dir)
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        problems.append("The data folder is not writable.")
    if free < MIN_FREE_BYTES:
        problems.append(f"The disk of the data folder has {free:,} bytes left; it needs {MIN_FREE_BYTES:,}.")
    evaluation = services.evaluations.run
    return {
        "status": "unavailable" if problems else "ok",
        "problems": problems,
        "disk_free_bytes": free,
        "models_loaded": len(services.store.loaded()),
        "comparisons_running": len(services.running),
        "requests_waiting": services.scheduler.waiting,
        "evaluation_running": bool(evaluation and not evaluation.over),
        "training_running": services.jobs.current() is not None,
        "training_queued": len(services.jobs.queued()),
    }


def metrics_text(services: Services) -> bytes:
    """`health` and the process's memory, CPU time and open files in Prometheus' text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    found = health(services)
    Gauge("dsum_up", "1 if the app can work", registry=registry).set(found["status"] == "ok")
    for name in (key for key, value in found.items() if isinstance(value, int)):
        Gauge(f"dsum_{name}", name.replace("_", " "), registry=registry).set(found[name])
    return generate_latest(registry)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest parent that exists: the data folder is created when it is needed."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
