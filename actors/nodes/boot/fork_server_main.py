"""`python -m actors.nodes.boot.fork_server_main FD MODULE PRELOAD...`, the fork server. Not for people.

Rule 1: it has one thread, no event loop, and of the user's code only what `nodes(preload=)` names, so that
it can fork at any time.
Rule 2: it ends when its system does, which closes its socket.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.nodes.boot.clone import new_sibling_fork
from actors.nodes.boot.descriptors import outlive
from actors.nodes.boot.fork_server import ANSWER, HEAD
from actors.nodes.boot.preload import PreloadFailed, preload, wait_for_sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["main"]

_FDS: Final = 5
"""Link, lifeline, log, output, working directory."""
_ALWAYS: Final = ("structlog",)
"""What every node imports when it runs."""
_NAME: Final = 15
"""Bytes of the name of a program that the kernel keeps."""
_SLEEP: Final = 1.0
"""Seconds that a fork waits for threads, which there should not be, to sleep."""


def main(control: socket.socket, module: str, modules: list[str]) -> None:
    """Serve requests until the end; in a fork, run the node.

    Args:
        control: where requests come from.
        module: the program of a node.
        modules: what to import for all nodes.
    """
    # Terminals send SIGINT to whole groups, and a node does not end by it either.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program = importlib.import_module(module)
    _import_ours(_ALWAYS)
    try:
        found = preload(modules)
    except PreloadFailed as failed:
        _say(control, {"why": failed.why, "stack": failed.stack})
        raise SystemExit(1) from failed
    fork = new_sibling_fork()
    _settle_memory()
    if modules:
        _close_output()
    outlive(control)  # from here on it reads the socket, and sees the end of its system there
    _say(control, asdict(found))
    lifeline = _serve(control, fork, user_code=bool(modules))
    _change_environment(found.environment)
    program.main(lifeline)


def _say(control: socket.socket, facts: Mapping[str, Any]) -> None:
    body = json.dumps(facts).encode()
    control.sendall(HEAD.pack(len(body)) + body)


def _close_output() -> None:
    """Write what the user's modules have printed, or each fork would write it again, and print no more."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # they may be the user's own
            stream.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


def _import_ours(modules: Iterable[str]) -> bool:
    """Import what can be imported; return whether anything is new."""
    new = [name for name in modules if name not in sys.modules]
    for name in new:
        with suppress(Exception):  # the node that needs it imports it again, and reports the error
            importlib.import_module(name)
    return bool(new)


def _settle_memory() -> None:
    """Collect garbage, and keep later collections off the memory that is shared with forks."""
    gc.disable()
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket, fork: Callable[[], int], *, user_code: bool) -> int:
    """Fork for every request; return in the forks only, with the number of the lifeline.

    Args:
        control: where requests come from.
        fork: forks.
        user_code: whether modules of the user are here: the user was told of the threads they have started.
    """
    while True:
        request, fds = _receive(control)
        if _import_ours(request["imports"]):
            _settle_memory()
        _settle_threads(user_code=user_code)
        try:
            pid = fork()
        except OSError as error:
            control.sendall(ANSWER.pack(-(error.errno or 1), 0, 0, 0))
        else:
            if pid == 0:
                return _become_node(control, request, fds)
        for fd in fds:
            os.close(fd)


def _settle_threads(*, user_code: bool) -> None:
    if user_code:
        wait_for_sleep(_SLEEP)
    elif len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - it counts names
        os._exit(1)  # an import started a thread: a fork would be broken


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    room = socket.CMSG_SPACE(_FDS * array.array("i").itemsize)
    head, ancillary, _, _ = control.recvmsg(HEAD.size, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for _, _, data in ancillary:
        fds.frombytes(data)
    head += _exactly(control, HEAD.size - len(head)) if head else os._exit(0)
    return json.loads(_exactly(control, *HEAD.unpack(head))), list(fds)


def _exactly(control: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = control.recv(size - len(data))
        if not chunk:
            os._exit(0)  # its system has ended
        data += chunk
    return bytes(data)


def _become_node(control: socket.socket, request: dict[str, Any], fds: list[int]) -> int:
    """Make the fork like a new program; return the number of the lifeline."""
    gc.enable()
    with suppress(AttributeError):  # some versions of Python do not do it themselves
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined] # noqa: SLF001 - no other way
    link, lifeline, log, output, cwd = fds
    for standard in (1, 2):
        os.dup2(output, standard)
    os.setpgid(0, 0)
    # The node reports itself, not the fork server: a node that nobody knows of could not be reaped.
    control.sendall(ANSWER.pack(os.getpid(), link, lifeline, log))
    control.close()
    os.fchdir(cwd)
    for fd in (output, cwd):
        os.close(fd)
    _take_environment(request["env"])
    # The command line is the fork server's; this is what `ps -o comm` and `top` show.
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(_program_name(request["title"]))
    # Folders may be new since the fork server last looked for them.
    importlib.invalidate_caches()
    return lifeline


def _program_name(title: str) -> bytes:
    """Return the name of a node's program: what the kernel keeps of it, in whole characters."""
    return f"actors:{title}".encode()[:_NAME].decode(errors="ignore").encode()


def _change_environment(changed: Mapping[str, str | None]) -> None:
    """Change what the imports of the user's modules have changed, as they would have done in the node."""
    for name, value in changed.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _take_environment(env: dict[str, str]) -> None:
    """Have the variables *env*, whose letters are bytes, and no others."""
    wanted = {name.encode("latin-1"): value.encode("latin-1") for name, value in env.items()}
    own = os.environb
    for name in own.keys() - wanted.keys():
        del own[name]
    for name, value in wanted.items():
        if own.get(name) != value:
            own[name] = value
    time.tzset()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3:])
