"""Structured logs of a served app, as JSON lines with a request id and without texts of users."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST_MESSAGE = 300
request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestLog:
    """ASGI middleware: an id per request, or the caller's if it is valid, in the answer's header and in the log."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        identity = given if ACCEPTED.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = identity
        token, started, status = request_id.set(identity), time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (HEADER.lower().encode(), identity.encode())]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            # A path may end in the name of a file that a user uploaded.
            path = scope["path"].partition("=")[0]
            facts = {"method": scope["method"], "path": path, "status": status}
            log.info("request", extra={"facts": {**facts, "seconds": round(time.perf_counter() - started, 4)}})
            request_id.reset(token)


def id_of(request: Any) -> str:
    """The id of a gradio request; "" if it has none, such as that of an internal call."""
    scope = getattr(getattr(request, "request", None), "scope", None) or {}
    return str(scope.get("request_id", ""))


class JsonFormatter(logging.Formatter):
    """One JSON object per record. An exception has its type and where it was raised, not its message, which may quote a
    user's text; a message of another package has its first line only, for the same reason.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name.split(".")[0] != __name__.split(".")[0]:
            message = message.partition("\n")[0]
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message[:LONGEST_MESSAGE],
            "request": request_id.get(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["traceback"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=False)


def log_as_json() -> logging.Handler:
    """Write all records of this process from the level INFO (of other packages WARNING) to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(__name__.split(".")[0]).setLevel(logging.INFO)
    logging.captureWarnings(True)
    return handler
