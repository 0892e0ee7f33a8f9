"""`actors join`: an agent that comes by itself, as an engine starts it."""

from __future__ import annotations

import os
import socket
from argparse import Namespace
from contextlib import nullcontext
from typing import Any, Final

from actors._base.addresses import addresses_of
from actors._base.errors import ActorsError, InvalidSpec
from actors._base.options import host_and_port
from actors._base.run_loop import run_on
from actors.cli._failure import WRONG, CommandFailed
from actors.cli.server.orphans import become_subreaper, reaping_orphans
from actors.cli.target import import_from_here

__all__ = ["join"]

_ALL: Final = "0.0.0.0"  # noqa: S104 - probes come from elsewhere


def join(options: Namespace) -> None:
    """Be an agent until SIGTERM.

    Raises:
        CommandFailed: the command is wrong.
        SystemExit: with the code of the agent.
    """
    # Imported where it is used: the library for certificates is an extra.
    from actors.machines.join_secret import JoinSecret  # noqa: PLC0415
    from actors.machines.joiner import JoinOptions, run_joiner  # noqa: PLC0415

    if options.log_level is not None:
        os.environ["ACTORS_LOG"] = options.log_level
    host, port = _address("HOST:PORT", options.parent)
    import_from_here()
    try:
        JoinSecret.from_file(options.secret_file, "--secret-file")
        made = JoinOptions(
            host=host,
            port=port,
            secret_file=options.secret_file,
            name=_name(options.name),
            labels=_labels(options.label),
            address=_own_address(options.address),
            material=_material(options),
            health=None if options.health is None else _address("--health", options.health, _ALL),
        )
        reaping = reaping_orphans if become_subreaper() else _reaping_nobody
        code = run_on(run_joiner, made, reaping, uvloop=False)
    except InvalidSpec as error:
        raise CommandFailed(str(error), WRONG) from error
    except ActorsError as error:
        raise CommandFailed(str(error)) from error
    raise SystemExit(code)


def _reaping_nobody(_loop: object, _ours: object) -> nullcontext[None]:
    return nullcontext()


def _address(what: str, text: str, host: str = "") -> tuple[str, int]:
    port_alone = bool(host) and ":" not in text.removeprefix(":")
    found = host_and_port(f"{host}:{text.removeprefix(':')}" if port_alone else text)
    if found is None or not found[1]:
        raise CommandFailed(
            f"{what} must be {'a port, or ' if host else ''}an address such as {host or '10.0.0.1'}:7000, "
            f"got {text!r}",
            WRONG,
        )
    return found


def _name(text: str | None) -> str:
    """Return the name that was given; "" is none."""
    from actors.machines.join_engine import is_name  # noqa: PLC0415 - as above

    if text is not None and not is_name(text):
        raise CommandFailed(f"--name must be 1 to 200 letters, got {text!r:.250}", WRONG)
    return text or ""


def _own_address(text: str) -> str:
    """Return where other nodes reach this machine, if its nodes can listen there; "" is not said."""
    if not text:
        return text
    try:
        found = addresses_of(text, 0, socket.SOCK_STREAM)
        family, kind, proto, _, address = found[0]
        with socket.socket(family, kind, proto) as sock:
            sock.bind(address)
    except OSError as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandFailed(
            f"--address must be an address of this machine, got {text!r}: {reason}", WRONG
        ) from error
    return text


def _labels(texts: list[str]) -> dict[str, str]:
    from actors.machines.join_engine import label_problem  # noqa: PLC0415 - as above

    labels: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise CommandFailed(f"--label must be KEY=VALUE, got {text!r}", WRONG)
        if key in labels:
            raise CommandFailed(
                f"--label {key} is given twice: {labels[key]!r} and {value!r}", WRONG
            )
        labels[key] = value
    problem = label_problem(labels)
    if problem:
        raise CommandFailed(f"--label: {problem}", WRONG)
    return labels


def _material(options: Namespace) -> Any:
    from actors.machines.material import Material  # noqa: PLC0415 - as above

    files = {"--ca": options.ca, "--certificate": options.certificate, "--key": options.key}
    missing = [name for name, path in files.items() if path is None]
    if len(missing) == len(files):
        if options.server_name is not None:
            raise CommandFailed("--server-name goes with --ca, --certificate and --key", WRONG)
        return None
    if missing:
        raise CommandFailed(f"{', '.join(missing)} must be given as well", WRONG)
    return Material.from_files(*files.values(), server=options.server_name)
