"""Checks of the values of options where they come in."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors._base.suggestions import did_you_mean

__all__ = [
    "absolute_path",
    "check_ask_timeout",
    "check_machines",
    "check_on",
    "check_patience",
    "check_sizes",
    "check_within",
    "env_problem",
    "host_and_port",
    "kernel_text_problem",
]

_LEAST: Final = 64 * 1024
_LEAST_LEASE: Final = 1.0
_MOST_LEASE: Final = 3600.0
"""An hour: the kernel counts milliseconds of timeouts in 32 bits, which much longer leases overflow."""
_HIGHEST_PORT: Final = 65535
_MOST: Final = 2**32 - 1


def check_sizes(where: str, **sizes: int) -> None:
    """Check options that are sizes of messages or of memory, in bytes.

    Raises:
        InvalidSpec: naming the option and its value.
    """
    for name, size in sizes.items():
        if type(size) is not int or not _LEAST <= size <= _MOST:
            raise InvalidSpec(f"{where}: {name} must be {_LEAST} to {_MOST} bytes, got {size!r}")


def check_patience(where: str, seconds: Any) -> float:
    """Return *seconds*, for which messages are to wait for a node that has died.

    Raises:
        InvalidSpec: naming the value.
    """
    if type(seconds) not in {int, float} or not seconds >= 0:
        raise InvalidSpec(f"{where}: patience must be 0 or more seconds, got {seconds!r}")
    return float(seconds)


def check_ask_timeout(where: str, seconds: Any) -> float | None:
    """Return *seconds*, after which an ask is to end; None for never.

    Raises:
        InvalidSpec: naming the value.
    """
    if seconds is not None and (type(seconds) not in {int, float} or not 0 < seconds < math.inf):
        raise InvalidSpec(
            f"{where}: ask_timeout must be more than 0 seconds, or None, got {seconds!r}"
        )
    return seconds if seconds is None else float(seconds)


def check_on(where: str, on: object) -> None:
    """Check where an actor is to run: None, or the name of a node or of a group.

    Raises:
        InvalidSpec: naming the value.
    """
    if on is not None and (type(on) is not str or not on):
        raise InvalidSpec(f"{where}on must be the name of a node or of a group, got {on!r}")


def check_machines(where: str, given: Mapping[str, Any]) -> None:
    """Check the options of a system that has nodes on other machines.

    Args:
        where: for errors.
        given: some of ``lease``, ``reach``, ``join_secret`` and ``tls``, by name.

    Raises:
        InvalidSpec: naming the option and its value.
    """
    lease = given.get("lease", _LEAST_LEASE)
    if type(lease) not in {int, float} or not _LEAST_LEASE <= lease <= _MOST_LEASE:
        raise InvalidSpec(
            f"{where}: lease must be {_LEAST_LEASE:g} to {_MOST_LEASE:g} seconds, got {lease!r}"
        )
    reach = given.get("reach")
    if reach is not None and (type(reach) is not str or host_and_port(reach) is None):
        raise InvalidSpec(f"{where}: reach must be 'HOST:PORT' or 'HOST', got {reach!r}")
    _check_files(where, given)


def host_and_port(text: str) -> tuple[str, int] | None:
    """Return the host and the port of an address, whose IPv6 host is in brackets; None if it is no address.

    The port is 0 where the text has none.
    """
    host, bracket, rest = text.removeprefix("[").partition("]")
    if not bracket:
        host, colon, rest = text.partition(":")
        rest = colon + rest
    port = rest.removeprefix(":") if rest.startswith(":") else "" if rest else "0"
    bracketed = bool(bracket) == text.startswith("[")
    if not (host and bracketed and port.isascii() and port.isdecimal()):
        return None
    return (host, int(port)) if len(port) < 6 and int(port) <= _HIGHEST_PORT else None  # noqa: PLR2004 - digits


_TLS: Final = ("ca", "certificate", "key", "server")


def _check_files(where: str, given: Mapping[str, Any]) -> None:
    tls = given.get("tls")
    if tls is not None:
        if not isinstance(tls, Mapping):
            raise InvalidSpec(
                f"{where}: tls must have the paths of {', '.join(_TLS[:3])}, got {tls!r}"
            )
        for key in tls:
            if key not in _TLS:
                raise InvalidSpec(f"{where}: tls has no {key!r}{did_you_mean(str(key), _TLS)}")
        for key in _TLS:
            path = tls.get(key, "-" if key == "server" else None)
            if not isinstance(path, str | os.PathLike) or not os.fspath(path):
                what = "a name" if key == "server" else "the path of a file"
                raise InvalidSpec(f"{where}: tls[{key!r}] must be {what}, got {path!r}")
    secret = given.get("join_secret")
    if secret is not None and (not isinstance(secret, str | os.PathLike) or not os.fspath(secret)):
        raise InvalidSpec(f"{where}: join_secret must be the path of a file, got {secret!r}")


def check_within(seconds: object) -> None:
    """Check the argument of a ``within``.

    Raises:
        ValueError: naming the value.
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
        raise ValueError(f"within(seconds) must be more than 0, got {seconds!r}")


def env_problem(key: object, value: object) -> str:
    """Return why a program cannot be given this variable, or nothing."""
    if type(key) is not str or type(value) is not str:
        return "must map text to text"
    if not key or "=" in key:
        return "must have names that are not empty and have no '='"
    if "\0" in key + value:
        return "cannot have a NUL in a name or value"
    return kernel_text_problem(key + value)


def absolute_path(path: str) -> str:
    """Return *path* from the root on; unchanged if it is of the current folder and that is gone."""
    try:
        return str(Path(path).absolute())
    except FileNotFoundError:
        return path


def kernel_text_problem(text: str) -> str:
    """Return why the kernel cannot be given *text*, in a path or as an argument, or nothing."""
    if "\0" in text:
        return "cannot have a NUL"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return "must be text that the file system's encoding can say"
    return ""
