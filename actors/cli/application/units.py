"""systemd units for an application file: a service, and a socket where systemd is to own the listeners'."""

from __future__ import annotations

import sys
from pathlib import Path

from actors.cli._failure import WRONG, CommandFailed
from actors.cli.application.file import ApplicationFile
from actors.routing import Inet, Listener, Unix

__all__ = ["units_of"]

_SPARE = 30
"""Seconds that a stop may take beside the nodes' own."""


def units_of(file: ApplicationFile, name: str, user: str | None, *, socket: bool) -> dict[str, str]:
    """Return the text of each unit, by its file name.

    Args:
        file: the application file.
        name: of the service.
        user: who it runs as; None is root.
        socket: whether systemd owns the sockets of the listeners.

    Raises:
        CommandFailed: a name or a path cannot be in a unit, or there is no socket that systemd can own.
    """
    for what, text in (("--name", name), ("--user", user or "x")):
        if not text.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise CommandFailed(f"{what} has letters, digits, -, _ and ., got {text!r}", WRONG)
    listeners = (
        [one for one in file.application.topology.listeners if _address(one)] if socket else []
    )
    if socket and not listeners:
        raise CommandFailed("--socket: no listener has a TCP or Unix address", WRONG)
    units = {f"{name}.service": _service(file, name, user, sockets=listeners)}
    for one in listeners:
        units[f"{name}-{one.name}.socket"] = (
            f"[Socket]\nListenStream={_address(one)}\nFileDescriptorName={one.name}\n"
            f"Service={name}.service\n\n[Install]\nWantedBy=sockets.target\n"
        )
    return units


def _address(listener: Listener) -> str:
    """Return the address of a listener as systemd writes it; "" if it cannot own such a socket."""
    where = listener.where
    if isinstance(where, Unix):
        return where.path
    return str(where) if isinstance(where, Inet) and where.port else ""


def _service(file: ApplicationFile, name: str, user: str | None, *, sockets: list[Listener]) -> str:
    longest = max((group.shutdown for group in file.application.topology.nodes), default=0.0)
    command = [sys.executable, "-m", "actors", "run", str(Path(file.name).absolute())]
    if file.profile:
        command += ["--profile", file.profile]
    units = " ".join(f"{name}-{one.name}.socket" for one in sockets)
    requires = f"Requires={units}\n" if sockets else ""
    return (
        f"[Unit]\nDescription={name}\nAfter={' '.join(filter(None, ['network.target', units]))}\n{requires}\n"
        "[Service]\nType=notify\n"
        f"ExecStart={' '.join(map(_quoted, command))}\n"
        "ExecReload=/bin/kill -HUP $MAINPID\n"
        f"WorkingDirectory={_escaped(str(file.folder))}\n"
        f"{f'User={user}' + chr(10) if user else ''}"
        f"RuntimeDirectory={name}\nEnvironment=XDG_RUNTIME_DIR=/run/{name}\n"
        f"WatchdogSec=30\nKillMode=mixed\nTimeoutStopSec={4 * longest + _SPARE:g}\n"
        "Restart=on-failure\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def _escaped(text: str) -> str:
    if "\n" in text:
        raise CommandFailed(f"a unit cannot name {text!r}", WRONG)
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return a word of a command; systemd reads quotes, backslashes, dollar signs and percent signs."""
    plain = _escaped(word).replace("$", "$$")
    if plain.replace("/", "").replace("-", "").replace(".", "").replace("_", "").isalnum():
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
