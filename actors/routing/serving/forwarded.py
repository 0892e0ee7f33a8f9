"""Applies X-Forwarded-For and -Proto to the scope of a request, if they come from a proxy that is trusted.

Rule 1: over TCP the proxy's address decides. Over a Unix socket there is none: whoever may write to the
socket may have written the headers, so they are believed if not everybody may, or if the user says so.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from actors.routing.serving.lifespan import Message
from actors.routing.serving.trusted_hosts import TrustedHosts
from actors.routing.sticky.client_address import plain_host

__all__ = ["ForwardedHeaders"]

_VARIABLE: Final = "FORWARDED_ALLOW_IPS"
_DEFAULT: Final = "127.0.0.1,::1"
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class ForwardedHeaders:
    """Who is believed; *allowed* is as in `Asgi.forwarded_allow_ips`."""

    def __init__(self, allowed: str | None) -> None:
        if allowed is None:
            allowed = os.environ.get(_VARIABLE, _DEFAULT)
        hosts = [plain_host(host.strip()) for host in allowed.split(",")]
        self._unix = not {"unix", "*"}.isdisjoint(hosts)
        self._trusted = TrustedHosts(hosts)

    def apply(self, scope: Message) -> None:
        """Change client and scheme of a request to what its headers say, if they are believed."""
        if self._believes(scope):
            self._apply(scope)

    def _believes(self, scope: Message) -> bool:
        client = scope.get("client")
        if client is not None:
            return client[0] in self._trusted
        return self._unix or not _everybody_may_write(scope.get("server"))

    def _apply(self, scope: Message) -> None:
        headers = scope["headers"]
        schemes = [value for name, value in headers if name == b"x-forwarded-proto"]
        scheme = schemes[-1].decode("latin1").strip() if schemes else ""
        if scheme in _SCHEMES:
            scope["scheme"] = _SCHEMES[scheme] if scope["type"] == "websocket" else scheme
        values = [value.decode("latin1") for name, value in headers if name == b"x-forwarded-for"]
        if values:
            host, port = self._trusted.client_of(",".join(values))
            if host:
                scope["client"] = (host, port)


def _everybody_may_write(server: tuple[str, int | None] | None) -> bool:
    """Whether every user may connect to the Unix socket *server*; true if that is not known."""
    if not server or server[1] is not None:
        return True
    try:
        return bool(os.stat(server[0]).st_mode & stat.S_IWOTH)  # noqa: PTH116 - one call, no object
    except OSError:
        return True
