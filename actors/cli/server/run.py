"""Runs a topology in the foreground, with its control socket, until a signal or `actors stop` ends it."""

from __future__ import annotations

import os
import re
import shlex
import sysconfig
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio

from actors._base.allocator import keep_big_blocks
from actors._base.collector import collect_less_often
from actors._base.control_folder import NoFolder, control_folder, make_folder
from actors._base.cpus import usable_cpus
from actors._base.errors import ActorsError, InvalidSpec
from actors._base.log_config import checked_log_config
from actors._base.run_loop import run_on
from actors._base.suggestions import did_you_mean
from actors._base.user_traceback import is_ours
from actors._system.admin_spec import Admin
from actors._system.alerts_spec import ALERTS, Alerts
from actors._system.control.server import control_socket
from actors._system.run import with_signals
from actors._system.system import System, coordinator_of
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed, is_count
from actors.cli.server.orphans import become_subreaper, reaping_orphans
from actors.cli.server.reloads import ReloadTriggers
from actors.cli.server.systemd import ServiceManager
from actors.routing import probe
from actors.transport import RemoteTraceback

__all__ = [
    "override_admin",
    "override_alerts",
    "override_counts",
    "override_log",
    "override_preload",
    "run_topology",
]

_LIBRARIES: Final = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_MIB: Final = 1 << 20
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


def override_counts(topology: Topology, wanted: Sequence[str]) -> Topology:
    """Return *topology* with the counts that the ``GROUP=COUNT`` texts in *wanted* give.

    Raises:
        CommandFailed: a text is malformed, or names an unknown group or an impossible count.
    """
    groups = {group.name: group for group in topology.nodes}
    for text in wanted:
        name, equals, count = text.partition("=")
        if not equals or not name:
            raise CommandFailed(f"--nodes must be GROUP=COUNT such as web=4, got {text!r}", WRONG)
        _check_group("--nodes", text, name, groups)
        if count != "max" and not is_count(count):
            raise CommandFailed(
                f"--nodes {text}: COUNT must be a number or max, got {count!r}", WRONG
            )
        try:
            number = usable_cpus() if count == "max" else int(count)
            groups[name] = replace(groups[name], count=number)
        except InvalidSpec as error:
            raise CommandFailed(f"--nodes {text}: {error}", WRONG) from error
    return replace(topology, nodes=list(groups.values()))


def override_preload(topology: Topology, wanted: Sequence[str]) -> Topology:
    """Return *topology* with the modules that the ``GROUP=MODULE`` texts in *wanted* add.

    Raises:
        CommandFailed: a text is malformed, or names an unknown group or an impossible module.
    """
    groups = {group.name: group for group in topology.nodes}
    for text in wanted:
        name, equals, module = text.partition("=")
        if not equals or not name:
            raise CommandFailed(
                f"--preload must be GROUP=MODULE such as web=pkg.model, got {text!r}", WRONG
            )
        _check_group("--preload", text, name, groups)
        try:
            groups[name] = replace(groups[name], preload=[*groups[name].preload, module])
        except InvalidSpec as error:
            raise CommandFailed(f"--preload {text}: {error}", WRONG) from error
    return replace(topology, nodes=list(groups.values()))


def _check_group(option: str, text: str, name: str, groups: Mapping[str, object]) -> None:
    if name not in groups:
        known = ", ".join(map(repr, groups)) or "none"
        hint = did_you_mean(name, groups)
        raise CommandFailed(
            f"{option} {text}: there is no group {name!r}; the groups are {known}{hint}", WRONG
        )


def override_admin(topology: Topology, options: Namespace) -> Topology:
    """Return *topology* with the dashboard that the options ask for, if they do.

    Raises:
        CommandFailed: an option is wrong.
    """
    if options.admin is None:
        if options.admin_certfile or options.admin_keyfile or options.admin_host:
            raise CommandFailed(
                "--admin-certfile, --admin-keyfile and --admin-host go with --admin", WRONG
            )
        return topology
    if missing := [name for name in ("httptools", "websockets") if find_spec(name) is None]:
        raise CommandFailed(
            f"--admin needs {', '.join(missing)}: pip install 'actors-framework[admin]'"
        )
    try:
        admin = Admin(
            options.admin, options.admin_certfile, options.admin_keyfile, options.admin_host
        )
        return replace(topology, admin=admin)
    except ActorsError as error:
        raise CommandFailed(f"--admin: {error}", WRONG) from error


def override_alerts(topology: Topology, options: Namespace) -> Topology:
    """Return *topology* with the alerts that the options ask for, if they do.

    Raises:
        CommandFailed: an option is wrong.
    """
    if not options.alert:
        if options.alert_command or options.alert_webhook:
            raise CommandFailed("--alert-command and --alert-webhook go with --alert", WRONG)
        return topology
    try:
        alerts = Alerts(
            **dict(map(_limit, options.alert)),
            command=shlex.split(options.alert_command or ""),
            webhook=options.alert_webhook,
        )
        return replace(topology, alerts=alerts)
    except (ActorsError, ValueError) as error:
        raise CommandFailed(f"--alert: {error}", WRONG) from error


def _limit(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if name not in ALERTS:
        known = ", ".join(ALERTS)
        raise InvalidSpec(f"{text!r}: there is {known}{did_you_mean(name, ALERTS)}")
    try:
        number = float(value)
    except ValueError:
        raise InvalidSpec(f"{text!r}: the limit must be a number") from None
    return name, int(number * _MIB) if name == "memory" else number


def override_log(topology: Topology, options: Namespace) -> Topology:
    """Return *topology* with the spans, and the configuration of `logging`, that the options ask for.

    Raises:
        CommandFailed: the configuration cannot be read, or is none.
    """
    if options.tracing:
        topology = replace(topology, tracing=True)
    if options.log_config is None:
        return topology
    try:
        config = checked_log_config("--log-config", options.log_config)
    except InvalidSpec as error:
        raise CommandFailed(str(error), WRONG) from error
    return replace(topology, log_config=config)


def run_topology(topology: Topology, triggers: ReloadTriggers) -> None:
    """Run *topology* until a signal or `actors stop` ends it.

    Args:
        topology: the system to run.
        triggers: what reloads its nodes without a command.

    Raises:
        SystemExit: a signal ended it; the code says which.
        CommandFailed: it could not be started, or ended by itself.
    """
    manager = ServiceManager.from_environment(os.environ)  # first, as nodes inherit the environment
    try:
        with suppress(NoFolder):  # `control_socket` reports it
            make_folder(control_folder())
        for listener in topology.all_listeners:
            probe(listener)  # before nodes boot: a port in use is reported at once
        collect_less_often()
        keep_big_blocks()
        run_on(with_signals, _run_system, (topology, triggers, manager))
    except ActorsError as error:
        raise CommandFailed(f"{error}{_user_frame(error)}") from error


async def _run_system(
    topology: Topology, triggers: ReloadTriggers, manager: ServiceManager
) -> None:
    adopts = become_subreaper()
    with triggers.collected():  # first, because an unhandled SIGHUP ends the process
        async with AsyncExitStack() as held:
            manager.starts(topology)
            system = await held.enter_async_context(System(topology, local=False))
            coordinator = coordinator_of(system)
            coordinator.ends_process = True
            await held.enter_async_context(control_socket(coordinator, control_folder()))
            if adopts:
                held.enter_context(reaping_orphans(coordinator.loop, coordinator.child_processes))
            manager.follow(coordinator)
            await triggers.serve(coordinator)
            await anyio.sleep_forever()


def _user_frame(error: BaseException) -> str:
    """Return the innermost frame of the user's code in the traceback that *error* brought from its node."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    texts = [str(link) for link in chain if isinstance(link, RemoteTraceback)]
    frames: list[Any] = _FRAME.findall("".join(texts))
    foreign = [frame for frame in frames if not is_ours(frame[0])]
    # If a library raised the error, the user looks for the line that called the library.
    shown = [frame for frame in foreign if not _is_library(frame[0])] or foreign
    return "\n  at {}:{} in {}".format(*shown[-1]) if shown else ""


def _is_library(filename: str) -> bool:
    """Return whether *filename* is an installed file, or no Python file at all."""
    return not Path(filename).is_absolute() or filename.startswith(_LIBRARIES)
