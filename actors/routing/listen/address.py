"""Addresses to listen on, as users write them.

Rule 1: parsing only; nothing is resolved and nothing is bound.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeAlias

from actors._base.options import kernel_text_problem
from actors.routing.errors import BadListener

__all__ = ["Inet", "InheritedSocket", "Udp", "Unix", "Where", "beyond_loopback", "parse_address"]

_LONGEST_PATH: Final = 107  # sun_path on Linux, without its closing zero
_LAST_PORT: Final = 65535
_LONGEST_PORT: Final = 9  # digits; `int` refuses thousands of them with an error of its own
_FD_NAME: Final = re.compile(r"[0-9]{1,6}|[A-Za-z_][!-9;-~]*")
_FIRST_FD: Final = 3  # 0, 1 and 2 are standard input, output and error


@dataclass(frozen=True)
class Inet:
    """A TCP address; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Unix:
    """A Unix stream socket in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True)
class Udp:
    """A UDP address."""

    inet: Inet

    def __str__(self) -> str:
        return f"udp://{self.inet}"


@dataclass(frozen=True)
class InheritedSocket:
    """A listening socket inherited by this process: the number or the name of its descriptor."""

    name: str

    def __str__(self) -> str:
        return f"fd://{self.name}"


Where: TypeAlias = Inet | Unix | Udp | InheritedSocket


def beyond_loopback(where: Where) -> bool:
    """Whether other machines can reach *where*; not known of an inherited socket until it is open."""
    inet = where.inet if isinstance(where, Udp) else where
    if not isinstance(inet, Inet) or inet.host == "localhost":
        return False
    try:
        return not ip_address(inet.host).is_loopback
    except ValueError:
        return True


def parse_address(text: str) -> Where:
    """Read an address.

    Args:
        text: ``127.0.0.1:8000``, ``[::1]:8000``, ``localhost:0``, ``unix:/path``,
            ``udp://127.0.0.1:5353``, ``fd://3`` or ``fd://NAME``.

    Raises:
        BadListener: it is none of these.
    """
    if not isinstance(text, str):
        raise BadListener(f'address must be text such as "127.0.0.1:8000", got {text!r}')
    if text.startswith("unix:"):
        return _unix(text)
    if text.startswith("fd://"):
        return _inherited(text)
    if text.startswith("udp://"):
        return Udp(_inet(text.removeprefix("udp://"), text))
    return _inet(text, text)


def _inet(text: str, whole: str) -> Inet:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise BadListener(f'address must be "HOST:PORT" or "unix:/path", got {whole!r}')
    if len(port) > _LONGEST_PORT or int(port) > _LAST_PORT:
        raise BadListener(f"a port is 0 to {_LAST_PORT}, got {port} in address {whole!r}")
    if not host:
        raise BadListener(
            f"address {whole!r} needs a host: 127.0.0.1:{port} for this machine only, "
            f"0.0.0.0:{port} for every interface"
        )
    return Inet(_host(host, whole), int(port))


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
    if not path.startswith("/"):
        raise BadListener(f'a Unix address is "unix:/absolute/path", got {text!r}')
    if problem := kernel_text_problem(path):
        raise BadListener(f"a Unix path {problem}, got {text!r}")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise BadListener(f"a Unix path has at most {_LONGEST_PATH} bytes, got {text!r}")
    return Unix(path)


def _inherited(text: str) -> InheritedSocket:
    name = text.removeprefix("fd://")
    if not _FD_NAME.fullmatch(name) or (name.isdigit() and int(name) < _FIRST_FD):
        raise BadListener(
            f'an inherited socket is "fd://3" (a descriptor from 3 up) or "fd://NAME" (of '
            f"LISTEN_FDNAMES), got {text!r}"
        )
    return InheritedSocket(str(int(name)) if name.isdigit() else name)
