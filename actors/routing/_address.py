"""Addresses to listen on, as users write them.

Rule 1: parsing only; nothing is resolved and nothing is bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ._errors import BadListener

__all__ = ["Inet", "Unix", "parse_address"]

_LONGEST_PATH: Final = 107  # sun_path with its closing zero, on Linux
_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class Inet:
    """A TCP address; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach it."""
        if self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True


@dataclass(frozen=True)
class Unix:
    """A Unix stream socket in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def beyond_loopback(self) -> bool:
        """Never: only this machine has it."""
        return False


def parse_address(text: str) -> Inet | Unix:
    """Read ``127.0.0.1:8000``, ``[::1]:8000``, ``localhost:0`` or ``unix:/path``.

    Raises:
        BadListener: it is none of these.
    """
    if not isinstance(text, str):
        raise BadListener(f'address must be text such as "127.0.0.1:8000", got {text!r}')
    if text.startswith("unix:"):
        return _unix(text)
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise BadListener(f'address must be "HOST:PORT" or "unix:/path", got {text!r}')
    if int(port) > _LAST_PORT:
        raise BadListener(f"a port is 0 to {_LAST_PORT}, got {port} in address {text!r}")
    if not host:
        raise BadListener(
            f"address {text!r} needs a host: 127.0.0.1:{port} for this machine only, "
            f"0.0.0.0:{port} for every interface"
        )
    return Inet(_host(host, text), int(port))


def _host(host: str, text: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if bracketed != (":" in bare):
        raise BadListener(f'an IPv6 host is written "[::1]:8000", got address {text!r}')
    if not bare or any(sign.isspace() or sign in "/@[]" for sign in bare):
        raise BadListener(f'address must be "HOST:PORT" or "unix:/path", got {text!r}')
    return bare


def _unix(text: str) -> Unix:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise BadListener(f'a Unix address is "unix:/absolute/path", got {text!r}')
    if len(path.encode()) > _LONGEST_PATH:
        raise BadListener(f"a Unix path has at most {_LONGEST_PATH} bytes, got {text!r}")
    return Unix(path)
