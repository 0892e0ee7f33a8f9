"""An ASGI application with a span of OpenTelemetry for each request, which goes on with the client's trace.

Rule: imported only in systems with `tracing=True`.
"""

from __future__ import annotations

from typing import Any, Final

from actors._base import open_telemetry as otel

__all__ = ["TracedApp"]

_CARRIED: Final = {b"traceparent", b"tracestate"}
_FAILED: Final = 500


class TracedApp:
    """Calls *app* for a request in a span, and for anything else as it is.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, WebSocket or lifespan."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _CARRIED
        }
        otel.continued(carrier or None)
        method = scope.get("method", "GET")
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
        }
        with otel.span(method, "SERVER", attributes) as span:

            async def watched(message: Any) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _FAILED:
                        otel.fail(span, str(message["status"]))
                await send(message)

            await self._app(scope, receive, watched)
