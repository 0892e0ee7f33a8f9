"""What a program is and how it is kept alive, as data that is checked when it is written down."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors._base.options import absolute_path, env_problem, kernel_text_problem
from actors.programs.account import Account, account_of
from actors.programs.command import check_command, command_problem, filled
from actors.programs.environment import environment
from actors.programs.health import HealthCheck, health_of
from actors.programs.ports import LAST_PORT

__all__ = ["ProgramOptions", "program_options"]

_MOST: Final = 1024
_LONGEST_NAME: Final = 100
_LEAST_MEMORY: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOptions:
    """A program, its instances and how each is started, asked and ended; see `program`.

    Attributes:
        name: of the program; its instances are ``name/0``, ``name/1`` and so on.
        command: its arguments, with ``{port}`` and ``{slot}`` of an instance.
        instances: how many it starts with.
        port: of the instance in slot 0; the others have the next ones.
        port_variable: the variable that tells an instance its port.
        env: variables beside the system's own, with ``{port}`` and ``{slot}``.
        cwd: the folder it runs in; None is that of the system.
        account: who it runs as; None is who the system runs as.
        health: how its health is asked.
        start_timeout: seconds an instance has to get ready.
        stop_signal: what asks an instance to end.
        shutdown: seconds an instance has to end before it is killed.
        max_memory: bytes that an instance may use.
        max_cpus: how many CPUs an instance may keep busy.
    """

    name: str
    command: tuple[str, ...]
    instances: int
    port: int | None
    port_variable: str
    env: Mapping[str, str]
    cwd: str | None
    account: Account | None
    health: HealthCheck | None
    start_timeout: float
    stop_signal: signal.Signals
    shutdown: float
    max_memory: int | None
    max_cpus: float | None

    def instance_name(self, slot: int) -> str:
        """Return the name of the instance in *slot*."""
        return f"{self.name}/{slot}"

    def port_of(self, slot: int) -> int | None:
        """Return the port of the instance in *slot*."""
        return None if self.port is None else self.port + slot

    def ports(self, instances: int) -> range:
        """Return the ports of so many instances."""
        return range(0) if self.port is None else range(self.port, self.port + instances)

    def arguments(self, slot: int) -> list[str]:
        """Return the command of the instance in *slot*."""
        return [filled(argument, slot, self.port_of(slot)) for argument in self.command]

    def environment(self, slot: int, run: str) -> dict[str, str]:
        """Return the whole environment of the instance in *slot*, as of now.

        Args:
            slot: which instance.
            run: what marks the processes of this run of it.
        """
        port = self.port_of(slot)
        own = {key: filled(value, slot, port) for key, value in self.env.items()}
        if port is not None:
            own.setdefault(self.port_variable, str(port))
        account = {} if self.account is None else self.account.variables
        return environment(account, own, self.instance_name(slot), slot, run)

    def problem(self, slot: int) -> str:
        """Return why the instance in *slot* cannot be started, or an empty text."""
        if self.cwd is not None and not os.path.isdir(self.cwd):  # noqa: PTH112 - Path's raises for a long one
            return f"there is no folder {self.cwd!r}, its cwd"
        env = self.environment(slot, "")
        return command_problem(self.arguments(slot)[0], self.cwd, env)

    def check_instances(self, where: str, count: object) -> None:
        """Refuse a number of instances that cannot work.

        Raises:
            InvalidSpec: naming the number.
        """
        if type(count) is not int or not 0 <= count <= _MOST:
            raise InvalidSpec(f"{where}: instances must be 0 to {_MOST}, got {count!r}")
        if self.port is not None and self.port + count - 1 > LAST_PORT:
            raise InvalidSpec(
                f"{where}: {count} instances from port {self.port} on end beyond port {LAST_PORT}"
            )


def program_options(
    name: str, command: Sequence[str | os.PathLike[str]], **given: Any
) -> ProgramOptions:
    """Check the options of `program`.

    Raises:
        InvalidSpec: a value that can never work, or a program that cannot be executed.
    """
    _check_name(name)
    where = f"program({name!r})"
    port = _port(where, given["port"])
    for option in ("health_interval", "health_timeout", "start_timeout"):
        _check_seconds(where, option, given[option])
    _check_seconds(where, "shutdown", given["shutdown"], least=0.0)
    options = ProgramOptions(
        name=name,
        command=check_command(where, "command", command),
        instances=given["instances"],
        port=port,
        port_variable=_variable(where, given["port_variable"]),
        env=_env(where, given["env"]),
        cwd=_cwd(where, given["cwd"]),
        account=account_of(where, given["user"]),
        health=health_of(
            where,
            given["health"],
            port,
            interval=given["health_interval"],
            timeout=given["health_timeout"],
            failures=given["health_failures"],
        ),
        start_timeout=given["start_timeout"],
        stop_signal=_signal(where, given["stop_signal"]),
        shutdown=given["shutdown"],
        max_memory=_memory(where, given["max_memory"]),
        max_cpus=_cpus(where, given["max_cpus"]),
    )
    _check_together(where, options)
    return options


def _check_name(name: object) -> None:
    if type(name) is not str or not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidSpec(f"a program is named with letters, digits, - and _; got {name!r}")
    if len(name) > _LONGEST_NAME:
        raise InvalidSpec(
            f"the name of a program has at most {_LONGEST_NAME} letters, "
            f"got {len(name)}: {name[:_LONGEST_NAME]!r}..."
        )


def _check_seconds(where: str, option: str, value: object, least: float | None = None) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if least is not None and not (number and least <= value < math.inf):  # type: ignore[operator] # a number
        raise InvalidSpec(f"{where}: {option} must be {least:g} or more seconds, got {value!r}")
    if least is None and not (number and 0 < value < math.inf):  # type: ignore[operator] # a number
        raise InvalidSpec(f"{where}: {option} must be more than 0 seconds, got {value!r}")


def _port(where: str, port: object) -> int | None:
    if port is None or (type(port) is int and 0 < port <= LAST_PORT):
        return port
    raise InvalidSpec(f"{where}: port must be 1 to {LAST_PORT}, got {port!r}")


def _variable(where: str, name: object) -> str:
    if type(name) is not str or env_problem(name, ""):
        raise InvalidSpec(f"{where}: port_variable must be the name of a variable, got {name!r}")
    return name


def _env(where: str, env: object) -> Mapping[str, str]:
    if env is None:
        return MappingProxyType({})
    if not isinstance(env, Mapping):
        raise InvalidSpec(f"{where}: env must map text to text, got {env!r}")
    for key, value in env.items():
        if problem := env_problem(key, value):
            raise InvalidSpec(f"{where}: env {problem}, got {key!r}: {value!r}")
    return MappingProxyType(dict(env))


def _cwd(where: str, cwd: object) -> str | None:
    if cwd is None:
        return None
    if not isinstance(cwd, str | os.PathLike) or not isinstance(os.fspath(cwd), str):
        raise InvalidSpec(f"{where}: cwd must be the path of a folder, got {cwd!r}")
    if problem := kernel_text_problem(os.fspath(cwd)):
        raise InvalidSpec(f"{where}: cwd {problem}, got {cwd!r}")
    return absolute_path(os.fspath(cwd))


def _signal(where: str, name: object) -> signal.Signals:
    known = {item.name: item for item in signal.Signals}
    if type(name) is str and name in known:
        return known[name]
    raise InvalidSpec(
        f"{where}: stop_signal must be the name of a signal such as 'SIGTERM', got {name!r}"
    )


def _memory(where: str, size: object) -> int | None:
    if size is None or (type(size) is int and size >= _LEAST_MEMORY):
        return size
    raise InvalidSpec(f"{where}: max_memory must be {_LEAST_MEMORY} bytes or more, got {size!r}")


def _cpus(where: str, count: object) -> float | None:
    if count is None:
        return None
    number = isinstance(count, int | float) and not isinstance(count, bool)
    if not (number and 0 < count < math.inf):  # type: ignore[operator] # a number
        raise InvalidSpec(f"{where}: max_cpus must be more than 0, got {count!r}")
    return float(count)  # type: ignore[arg-type] # a number


def _check_together(where: str, options: ProgramOptions) -> None:
    """Check what depends on more than one option, and whether the program is there."""
    options.check_instances(where, options.instances)
    if options.instances == 0:
        raise InvalidSpec(f"{where}: instances must be 1 to {_MOST}, got 0")
    if options.port is None:
        _refuse_port(where, options)
    if problem := options.problem(0):
        raise InvalidSpec(f"{where}: {problem}")


def _refuse_port(where: str, options: ProgramOptions) -> None:
    for text in (*options.command, *options.env.values()):
        if "{port}" in text:
            raise InvalidSpec(f"{where}: {text!r} names {{port}}, but the program has no port=")
