"""Where a system is watched and controlled over HTTP, as data; `actors.dashboard` is what answers there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from actors._base.errors import InvalidSpec
from actors._known_options import known_options
from actors.nodes import NodesSpec, nodes
from actors.routing import Listener, asgi, beyond_loopback, listen

__all__ = ["ADMIN_GROUP", "Admin"]

ADMIN_GROUP: Final = "admin"
"""The group of the one node that serves it; it does not count for the CPU budget."""
_CONNECTIONS: Final = 256
_HEAD: Final = 2.0
"""Seconds that a client has to say what it wants: those that say nothing must not keep checks of health out."""


@known_options(InvalidSpec)
@dataclass(frozen=True, slots=True)
class Admin:
    """Health, readiness, metrics and the dashboard of a system, on an address of their own.

    ``/healthz``, ``/readyz`` and ``/metrics`` answer everybody who can reach the address. All else needs
    the token that `actors admin` shows, and a ``Host`` that is an address, localhost or one of *hosts*.

    Attributes:
        address: as for `listen`: ``127.0.0.1:9000`` or ``unix:/path``.
        certfile: a PEM file with the certificate: TLS. An address beyond loopback needs it.
        keyfile: a PEM file with its key; `certfile` if not given.
        hosts: names under which browsers may ask.

    Raises:
        InvalidSpec: *address* is not loopback and has no certfile, or a value is wrong.
    """

    address: str
    certfile: str | None = None
    keyfile: str | None = None
    hosts: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if isinstance(self.hosts, str) or not all(isinstance(name, str) for name in self.hosts):
            raise InvalidSpec(f"Admin: hosts must be names, got {self.hosts!r}")
        listener = self.listener()
        if listener.tls is None and beyond_loopback(listener.where):
            raise InvalidSpec(
                f"Admin: {self.address} can be reached from other machines: it needs a certfile, "
                "or an address such as 127.0.0.1:9000"
            )

    def group(self) -> NodesSpec:
        """Return the node that serves it."""
        return nodes(ADMIN_GROUP)

    def listener(self) -> Listener:
        """Return its address with what answers there."""
        return listen(
            asgi("actors.dashboard.app:app", lifespan="on", head_timeout=_HEAD),
            self.address,
            nodes=ADMIN_GROUP,
            certfile=self.certfile,
            keyfile=self.keyfile,
            max_connections=_CONNECTIONS,
            name=ADMIN_GROUP,
            uds_permissions=0o600 if str(self.address).startswith("unix:") else None,
        )
