"""The access log: a line for each response, written when its head is.

Rule 1: off unless asked for. An application that has given handlers to the logger ``uvicorn.access`` has asked
for that logger's line; ``access_log=True`` asks for the event ``request`` in the node's log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote

from actors._base.log import system_logger

__all__ = ["AccessLog", "request_texts"]

_BEGAN: Final = "actors.began"
"""The key of a scope under which is when its application was called."""
_LOGGER: Final = logging.getLogger("uvicorn.access")


class AccessLog:
    """Where the responses of a server are logged.

    Args:
        events: whether the event ``request`` is wanted.
        node: the name of the node, which the event has.
    """

    def __init__(self, *, events: bool, node: str = "") -> None:
        self._log = system_logger(**({"node": node} if node else {})) if events else None

    @property
    def wanted(self) -> bool:
        """Whether anybody has asked for lines."""
        return self._log is not None or bool(_LOGGER.handlers)

    def response(self, scope: Mapping[str, Any], status: int) -> None:
        """Log a response."""
        where, path = request_texts(scope)
        method, version = scope["method"], scope["http_version"]
        if _LOGGER.handlers:
            text = '%s - "%s %s HTTP/%s" %d'
            _LOGGER.info(text, where, method, path, version, status)
        if self._log is not None:
            facts = {"client": where, "method": method, "path": path, "status": status}
            if _BEGAN in scope:
                facts["seconds"] = round(perf_counter() - scope[_BEGAN], 6)
            self._log.info("request", **facts)

    def timed(self, app: Any) -> Any:
        """Return *app*, which notes when it is called if the event ``request`` is wanted."""
        if self._log is None:
            return app

        def call(scope: dict[str, Any], receive: Any, send: Any) -> Any:
            scope[_BEGAN] = perf_counter()
            return app(scope, receive, send)

        return call


def request_texts(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Return who has asked, and for which path, as a line of a log has them."""
    client = scope["client"]
    path = quote(scope["path"])
    if scope["query_string"]:
        path = f"{path}?{scope['query_string'].decode('latin-1')}"
    return f"{client[0]}:{client[1]}" if client else "", path
