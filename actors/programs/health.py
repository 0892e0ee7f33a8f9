"""How the health of a program is asked: by HTTP, by connecting over TCP, or by a command.

Only what is asked and how one check goes may live here; when it is asked, and what follows, is `watch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from actors._base.errors import InvalidSpec
from actors.programs.command import check_command, filled

__all__ = ["HealthCheck", "HealthTarget", "health_of"]

_FORMS: Final = (
    "'http://127.0.0.1:{port}/healthz', 'tcp://127.0.0.1:{port}', "
    "or a command such as ['redis-cli', '-p', '{port}', 'ping']"
)
_DEFAULT_PORTS: Final = {"http": 80}
_SHOWN: Final = 100
"""Letters of a command that errors show."""


@dataclass(frozen=True, slots=True)
class HealthTarget:
    """What is asked, of one instance.

    Attributes:
        kind: ``http``, ``tcp`` or ``command``.
        host: to connect to, with its `port`.
        path: of the HTTP request.
        command: to run; exit code 0 is healthy.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "command":
            shown = " ".join(" ".join(self.command).split())
            return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How instances of a program are asked for their health.

    Attributes:
        check: a URL or a command, with ``{port}`` and ``{slot}`` of the instance.
        interval: seconds between two checks of an instance that is ready.
        timeout: seconds that one check may take.
        failures: checks in a row that fail until the instance is unhealthy.
    """

    check: str | tuple[str, ...]
    interval: float
    timeout: float
    failures: int

    def target(self, slot: int, port: int | None) -> HealthTarget:
        """Return what is asked of the instance in *slot*."""
        if not isinstance(self.check, str):
            return HealthTarget("command", command=tuple(filled(a, slot, port) for a in self.check))
        return _target(filled(self.check, slot, port))


def health_of(
    where: str, check: object, port: int | None, *, interval: float, timeout: float, failures: int
) -> HealthCheck | None:
    """Return the health check of these options; None if *check* is None.

    Raises:
        InvalidSpec: a value that can never work.
    """
    if type(failures) is not int or failures < 1:
        raise InvalidSpec(f"{where}: health_failures must be 1 or more, got {failures!r}")
    if check is None:
        return None
    given = check if isinstance(check, str) else check_command(where, "health", check)
    if port is None and any("{port}" in text for text in ([given] if given is check else given)):
        raise InvalidSpec(f"{where}: health names {{port}}, but the program has no port=")
    health = HealthCheck(check=given, interval=interval, timeout=timeout, failures=failures)
    try:
        health.target(0, port)
    except ValueError as error:
        raise InvalidSpec(f"{where}: health must be {_FORMS}; got {check!r}: {error}") from error
    return health


def _target(url: str) -> HealthTarget:
    """Return what a URL asks.

    Raises:
        ValueError: it cannot be asked.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it has characters that no URL has")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "tcp"}:
        raise ValueError("it is neither http:// nor tcp://")
    if not parts.hostname:
        raise ValueError("it names no host")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if port is None:
        raise ValueError("it names no port")
    if parts.scheme == "tcp":
        return HealthTarget("tcp", parts.hostname, port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return HealthTarget("http", parts.hostname, port, path)
