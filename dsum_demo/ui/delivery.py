"""How the page reaches the browser: compressed, and with assets that the browser may keep."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# gradio compresses by file extension, so not the page itself, which describes every component.
COMPRESSED = ("/", "/config")
# Their names contain a hash of their content; gradio sends them without an expiry.
ASSETS = "/assets/"
KEEP = b"public, max-age=31536000, immutable"


class PageDelivery:
    """ASGI middleware: gzip for the page, and a year in the browser's cache for gradio's hashed assets."""

    def __init__(self, app: ASGIApp):
        self.app = app
        self._compressing = GZipMiddleware(app, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] in COMPRESSED:
            await self._compressing(scope, receive, send)
        elif scope["path"].startswith(ASSETS):

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] == 200:
                    message["headers"] = [*message.get("headers", []), (b"cache-control", KEEP)]
                await send(message)

            await self.app(scope, receive, answer)
        else:
            await self.app(scope, receive, send)
