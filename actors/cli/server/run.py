"""`actors run`: a topology in the foreground, until a signal or `actors stop` ends it."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._base.run_loop import run_on
from actors._base.user_traceback import is_ours
from actors._system.run import with_signals
from actors._system.system import System, core_of
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed, did_you_mean
from actors.cli.server.control import control_socket
from actors.cli.server.folder import control_folder, make_folder
from actors.cli.server.reloads import NO_RELOADS, Reloads
from actors.routing import probe
from actors.transport import RemoteTraceback

__all__ = ["override_counts", "run_topology"]

_LIBRARIES: Final = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


def override_counts(topology: Topology, wanted: Sequence[str]) -> Topology:
    """Return *topology* with the counts of ``group=N`` instead of its own.

    Raises:
        CommandFailed: no such group, or no such number of nodes.
    """
    groups = {group.name: group for group in topology.nodes}
    for text in wanted:
        name, equals, count = text.partition("=")
        if not equals or not name:
            raise CommandFailed(f"--nodes must be GROUP=COUNT such as web=4, got {text!r}", WRONG)
        if name not in groups:
            known = ", ".join(map(repr, groups)) or "none"
            hint = did_you_mean(name, groups)
            raise CommandFailed(
                f"--nodes {text}: there is no group {name!r}; the groups are {known}{hint}", WRONG
            )
        if not (count.isascii() and count.isdigit()):
            raise CommandFailed(f"--nodes {text}: COUNT must be a number, got {count!r}", WRONG)
        try:
            groups[name] = replace(groups[name], count=int(count))
        except InvalidSpec as error:
            raise CommandFailed(f"--nodes {text}: {error}", WRONG) from error
    return replace(topology, nodes=list(groups.values()))


def run_topology(topology: Topology, reloads: Reloads = NO_RELOADS) -> None:
    """Run *topology* until it is told to end.

    Args:
        topology: what to run.
        reloads: what makes its nodes renew their code without a command.

    Raises:
        SystemExit: ended by a signal; its code says which.
        CommandFailed: it could not be started, or ended by itself.
    """
    make_folder(control_folder())
    try:
        for listener in topology.listeners:
            probe(listener)  # now, not when all nodes have booted for nothing
        run_on(with_signals, _serve, (topology, reloads))
    except ActorsError as error:
        raise CommandFailed(f"{error}{_where(error)}") from error


async def _serve(topology: Topology, reloads: Reloads) -> None:
    with reloads.noted() as reasons:  # before anything else: SIGHUP would end the process
        async with (
            System(topology, local=False) as system,
            control_socket(system, control_folder()),
        ):
            await reasons.serve(core_of(system))
            await anyio.sleep_forever()


def _where(error: BaseException) -> str:
    """Return the last place in the user's code that *error* passed on its node, if it did."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    texts = [str(link) for link in chain if isinstance(link, RemoteTraceback)]
    frames: list[Any] = _FRAME.findall("".join(texts))
    passed = [frame for frame in frames if not is_ours(frame[0])]
    # What a library raised is best known by who called it.
    passed = [frame for frame in passed if _is_own(frame[0])] or passed
    return "\n  at {}:{} in {}".format(*passed[-1]) if passed else ""


def _is_own(filename: str) -> bool:
    """Whether *filename* is no library's: neither installed, nor compiled."""
    return Path(filename).is_absolute() and not filename.startswith(_LIBRARIES)
