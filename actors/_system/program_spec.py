"""A program as a part of the tree: any command, run once or several times and kept alive."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors._known_options import known_options
from actors._system.tree_specs import DynamicSpec, check_ends, dynamic
from actors.programs import ProgramOptions, program_options
from actors.supervisors import Backoff, Budget, Restart

__all__ = ["ProgramSpec", "program"]

_SUPERVISED: Final = ("restart", "backoff", "budget", "significant")
"""The options about restarts; the others are those of `ProgramOptions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec(DynamicSpec):
    """A program in a tree, the supervisor of its instances; see `program`.

    Attributes:
        program: what it is, and how each instance is started, asked and ended.
        each: after which ends an instance is restarted.
        backoff: of each instance; None puts them under the budget.
    """

    program: ProgramOptions
    each: Restart
    backoff: Backoff | None


@known_options(InvalidSpec)
def program(
    name: str,
    command: Sequence[str | os.PathLike[str]],
    *,
    instances: int = 1,
    port: int | None = None,
    port_variable: str = "PORT",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    user: str | None = None,
    health: str | Sequence[str] | None = None,
    health_interval: float = 5.0,
    health_timeout: float = 2.0,
    health_failures: int = 3,
    start_timeout: float = 30.0,
    restart: Restart = Restart.PERMANENT,
    backoff: Backoff | None = None,
    budget: Budget | None = None,
    stop_signal: str = "SIGTERM",
    shutdown: float = 5.0,
    max_memory: int | None = None,
    max_cpus: float | None = None,
    significant: bool = False,
) -> ProgramSpec:
    """Describe a program of any kind as a child: a web server of Node.js, nginx, redis, a script.

    Its instances are processes called ``name/0``, ``name/1`` and so on, children of a supervisor called *name*.
    What they print are lines of the system's log.

    Args:
        name: of the program, unique in the system.
        command: the program and its arguments; no shell reads them. In each, ``{port}`` and ``{slot}`` stand
            for those of the instance. A name without a slash is looked for in ``PATH``.
        instances: how many processes.
        port: of ``name/0``; ``name/1`` has the next one, and so on. An instance is told by *port_variable*, or
            by ``{port}`` in its command. Nothing is opened there for it.
        port_variable: the environment variable that has an instance's port.
        env: environment variables beside the system's own, ``{port}`` and ``{slot}`` as above.
        cwd: the folder it runs in; that of the system unless given.
        user: the name of the user it runs as; only a system that runs as root has a choice.
        health: what says whether an instance is well: ``http://127.0.0.1:{port}/healthz`` (a status below
            400), ``tcp://127.0.0.1:{port}`` (it accepts), or a command (exit code 0). An instance is ready
            when its first check has passed; without *health*, when its process runs.
        health_interval: seconds between two checks.
        health_timeout: seconds that a check may take.
        health_failures: checks in a row that fail until an instance is unhealthy: it is ended and restarted.
        start_timeout: seconds an instance has to get ready.
        restart: after which ends an instance is restarted.
        backoff: waits between restarts of an instance in a row, which is the default.
        budget: in place of *backoff*, how many restarts the instances have together; when they need more, the
            program ends with all of them, and counts as one crash for the supervisor above it.
        stop_signal: what asks an instance to end, sent to its first process.
        shutdown: seconds it has to end before its whole process group is killed.
        max_memory: bytes that an instance may use, by its control group where that is allowed, else by a limit
            of its data segment (``RLIMIT_DATA``) for each of its processes.
        max_cpus: how many CPUs an instance may keep busy, by its control group where that is allowed, else by
            as many whole CPUs as it is bound to.
        significant: whether its end can shut the supervisor above down (`auto_shutdown`).

    Raises:
        InvalidSpec: a value that can never work; a program that is not there or cannot be executed.
    """
    given = dict(locals())
    where = f"program({name!r})"
    supervised = {option: given.pop(option) for option in _SUPERVISED}
    options = program_options(**given)
    _check_restarts(where, **supervised)
    base = dynamic(name, budget=budget)
    inherited: dict[str, Any] = {item.name: getattr(base, item.name) for item in fields(base)}
    inherited |= {"significant": significant}
    if significant:
        inherited |= {"restart": Restart.TRANSIENT}
    return ProgramSpec(
        **inherited,
        program=options,
        each=restart,
        backoff=backoff or (Backoff() if budget is None else None),
    )


def _check_restarts(
    where: str, *, restart: object, backoff: object, budget: object, significant: object
) -> None:
    check_ends(where, restart, significant)
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidSpec(f"{where}: backoff must be a Backoff, got {backoff!r}")
    if budget is not None and not isinstance(budget, Budget):
        raise InvalidSpec(f"{where}: budget must be a Budget, got {budget!r}")
    if budget is not None and backoff is not None:
        raise InvalidSpec(f"{where}: instances have a backoff each or a budget together, got both")
