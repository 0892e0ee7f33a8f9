"""A process to start, a process that was started, and the choice between fork server and exec.

The choice is a pure function from facts to the reason for exec. Nothing here knows nodes.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actors.nodes.boot.clone import SUPPORTED_MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "PARENTS_PATH",
    "Launch",
    "LaunchContext",
    "Origin",
    "Platform",
    "Started",
    "custom_site",
    "exec_reason",
    "interpreter_problem",
    "origin_of",
    "own_environment",
    "popen_of",
    "python",
    "start_by_exec",
]

EXEC_ONLY: Final = (
    "PYTHON",
    "LD_",
    "DYLD_",
    "MALLOC_",
    "GLIBC_",
    "LANG",
    "LC_",
    "OPENSSL_",
    "COVERAGE_",
)
"""Prefixes of variables that are read once, at the start of a program or by an import."""

PARENTS_PATH: Final = "ACTORS_PYTHONPATH"
"""The variable with the PYTHONPATH of the parent, from the start of a process until it is a node."""

_STATUS: Final = frozenset(
    (
        *("Umask", "Uid", "Gid", "Groups", "NSsid", "SigBlk", "SigIgn", "Cpus_allowed"),
        *(
            "Mems_allowed",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
        ),
    )
)
_CUSTOM: Final = ("sitecustomize", "usercustomize")


Origin: TypeAlias = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""The modules that a fork server imports for its nodes, and the variables that they are imported with."""


def origin_of(preload: Iterable[str], env: Mapping[str, str]) -> Origin:
    """Return what the fork server of a group of nodes has; without *preload* all groups have the same."""
    modules = tuple(preload)
    return (modules, tuple(sorted(env.items()))) if modules else ((), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process to start: it runs *module* and is given four descriptors."""

    module: str
    title: str
    link: int
    lifeline: int
    log: int
    output: int
    common: Mapping[str, str]
    """Variables that every process of this system is given."""
    env: Mapping[str, str]
    """Variables of its group; the common ones go before them."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Variables that it has unless they are set anywhere; nothing is imported for others with them."""
    own_env: Mapping[str, str] = field(default_factory=dict)
    """Variables of this one, with which nothing is imported for others."""
    imports: tuple[str, ...] = ()
    """Modules of this package, and of its libraries, that it will import first of all: the fork server may
    have imported them."""
    preload: tuple[str, ...] = ()
    """Modules of the user that the fork server has to have imported."""
    threadless: tuple[str, ...] = ()
    """Those of *preload* that are refused if their import leaves threads."""
    within: float = 30.0
    """Seconds it has to get ready, the import of *preload* included."""

    @property
    def origin(self) -> Origin:
        """What a fork server must have, so that this process can be forked from it."""
        return origin_of(self.preload, self.env)

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the process, as of now."""
        return {**self.defaults, **own_environment(), **self.env, **self.own_env, **self.common}


class Started:
    """A process that has been started, by fork server or exec: this process kills and reaps it."""

    def __init__(
        self,
        pid: int,
        link: int,
        lifeline: int,
        log: int,
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.pid = pid
        self.link = link
        self.lifeline = lifeline
        self.log = log
        self.returncode: int | None = None
        self._popen = popen

    def end(self) -> None:
        """Kill and reap it, because nobody owns it."""
        # If the user's code has reaped it, its pid may belong to another process.
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.reaped(None)

    def reaped(self, code: int | None) -> None:
        """Note that it has been reaped, and its exit code or minus its signal, if that is known."""
        self.returncode = code
        if self._popen is not None:
            # Or it would warn that the child was never waited for.
            self._popen.returncode = 0 if code is None else code


@dataclass(frozen=True, slots=True)
class Platform:
    """The facts of a machine on which the choice depends."""

    system: str
    machine: str
    libc: str
    free_threaded: bool

    @classmethod
    def here(cls) -> Platform:
        """Return those of this machine."""
        return cls(
            sys.platform,
            platform.machine(),
            _libc(),
            bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        )


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""  # another library: it does not know the name


def interpreter_problem() -> str:
    """Return why this program cannot start a node as `python -m ...`, or an empty text."""
    way_out = "set sys.executable to a Python interpreter, or use nodes(kind='thread')"
    if getattr(sys, "frozen", False) or "__compiled__" in vars(sys.modules["__main__"]):
        return (
            f"this program is frozen, and {sys.executable!r} would start it again: "
            "use nodes(kind='thread')"
        )
    if not sys.executable:
        return f"sys.executable is {sys.executable!r}: {way_out}"
    if PARENTS_PATH in os.environ:
        return f"{sys.executable!r} has started this program instead of a node: {way_out}"
    # The first argument of an interpreter is a script, that of a program with Python inside itself.
    inside = not sys.orig_argv or getattr(sys, "argv", [])[:1] == sys.orig_argv[:1]
    if inside and Path(sys.executable).resolve() == Path("/proc/self/exe").resolve():
        return f"{sys.executable!r} is a program with Python inside, not an interpreter: {way_out}"
    return ""


def own_environment() -> dict[str, str]:
    """Return this process's environment; other threads may change it meanwhile."""
    # Iterating takes all names at once, but each of them may be gone when its value is read.
    values = ((name, os.environ.get(name)) for name in os.environ)
    return {name: value for name, value in values if value is not None}


def exec_reason(machine: Platform, env: Iterable[str], custom: str = "") -> str:
    """Return why a process cannot be forked by the fork server, or an empty text.

    Args:
        machine: where it is to run.
        env: the names of its own variables.
        custom: a file of the user that every interpreter runs at its start.
    """
    if machine.system != "linux" or machine.machine not in SUPPORTED_MACHINES:
        return f"no fork into the parent's hands is known on {machine.system} {machine.machine}"
    if not machine.libc.startswith("glibc"):
        return "only glibc is known to stand it"
    if machine.free_threaded:
        return "without the interpreter's lock a fork cannot be made by hand"
    for name in env:
        if name.startswith(EXEC_ONLY):
            return f"{name} is read when a program starts"
    return f"{custom} is run when an interpreter starts" if custom else ""


def custom_site() -> str:
    """Return the user's `sitecustomize` or `usercustomize`, if a new interpreter would find one."""
    shipped = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    for name in _CUSTOM:
        spec = PathFinder.find_spec(name, sys.path)
        if spec is not None and str(Path(spec.origin or "").parent) not in shipped:
            return spec.origin or name
    return ""


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """What a process that this thread starts now inherits and cannot change later.

    A fork server is usable while this equals what it was when that server started.
    """

    command: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    kernel: tuple[str, ...]

    @classmethod
    def now(cls, command: Iterable[str], environment: Mapping[str, str]) -> LaunchContext:
        """Read it from the kernel.

        Raises:
            OSError: the kernel does not return it.
        """
        variables = [
            (key, environment[key]) for key in sorted(environment) if key.startswith(EXEC_ONLY)
        ]
        return cls(tuple(command), tuple(variables), tuple(_of_kernel()))


def _of_kernel() -> list[str]:
    own = Path("/proc/thread-self")
    # A program's name, and the folder of a control group, are any bytes.
    status = os.fsdecode((own / "status").read_bytes()).split("\n")
    found = [line for line in status if line.partition(":")[0] in _STATUS]
    found += [
        os.fsdecode((own / name).read_bytes()) for name in ("limits", "cgroup", "oom_score_adj")
    ]
    return [*found, str(os.getpriority(os.PRIO_PROCESS, 0))]


def python(module: str, *args: str) -> list[str]:
    """Return the command that runs *module* in this interpreter with its own flags."""
    # The helper by which multiprocessing passes -O, -W, -X and similar flags on.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - the only source
    return [sys.executable, *flags, "-m", module, *args]


def start_by_exec(launch: Launch) -> Started:
    """Start it as a program of its own.

    Raises:
        OSError: the system has no room for it.
    """
    popen = popen_of(
        python(launch.module, str(launch.lifeline)),
        fds=(launch.link, launch.lifeline, launch.log),
        output=launch.output,
        env=launch.environment(),
    )
    return Started(popen.pid, launch.link, launch.lifeline, launch.log, popen)


def popen_of(
    command: list[str], *, fds: tuple[int, ...], output: int, env: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=fds,
        env=env,
        process_group=0,
    )
