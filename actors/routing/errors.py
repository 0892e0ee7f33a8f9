"""What can go wrong in routing, and who must act.

Rule 1: only error classes; details are attributes, and every error can be pickled.

    RoutingError
    ├── BadListener        you: the description is wrong (also an InvalidSpec)
    ├── ListenFailed       you or the machine: the address cannot be bound (also an OSError)
    ├── HandlerNotFound    you: the handler cannot be imported on the node
    ├── HandlerUnfit       you: what was imported cannot serve connections on that node
    ├── LifespanFailed     the application: its startup or its shutdown failed
    └── NotSticky          you: this code does not serve a listener that is sticky
"""

from __future__ import annotations

import errno as codes
import os

from actors._base.errors import ActorsError, InvalidSpec

__all__ = [
    "BadListener",
    "HandlerNotFound",
    "HandlerUnfit",
    "LifespanFailed",
    "ListenFailed",
    "NotSticky",
    "RoutingError",
]


class RoutingError(ActorsError):
    """Base of every error of routing."""


class BadListener(RoutingError, InvalidSpec):
    """A listener, policy or key has a wrong option; nothing was started."""


class ListenFailed(RoutingError, OSError):
    """The address `address` cannot be bound; `errno` is the system's code, such as `EADDRINUSE`."""

    def __init__(self, address: str, errno: int, why: str = "") -> None:
        self.address = address
        self.why: str = why or os.strerror(errno)
        super().__init__(errno, self.why, address)

    def __reduce__(self) -> tuple[type[ListenFailed], tuple[str, int, str]]:
        return type(self), (self.address, self.errno or 0, self.why)

    def __str__(self) -> str:
        code = codes.errorcode.get(self.errno or 0)
        return f"cannot listen on {self.address}: {self.why}" + (f" ({code})" if code else "")


class _HandlerError(RoutingError):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why


class HandlerNotFound(_HandlerError):
    """The handler at import path `path` cannot be imported on the node; `why` says what failed."""

    def __str__(self) -> str:
        return f"cannot import handler {self.path!r}: {self.why}"


class HandlerUnfit(_HandlerError):
    """The handler at import path `path` was imported but cannot serve; `why` says why."""

    def __str__(self) -> str:
        return f"handler {self.path!r} cannot serve connections: {self.why}"


class LifespanFailed(RoutingError):
    """The ASGI application at `path` failed in `phase` ("startup" or "shutdown")."""

    def __init__(self, path: str, phase: str, why: str) -> None:
        super().__init__(path, phase, why)
        self.path = path
        self.phase = phase
        self.why = why

    def __str__(self) -> str:
        return f"lifespan {self.phase} of {self.path!r} failed: {self.why}"


class NotSticky(RoutingError):
    """`sticky_id` was called by code that serves no listener with the policy `Sticky`; `why` says why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return (
            f"sticky_id() makes ids where a listener with the policy Sticky is served: {self.why}"
        )
