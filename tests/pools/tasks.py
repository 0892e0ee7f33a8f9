"""Functions that the tests run on workers."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import anyio
import anyio.lowlevel

from actors import Actor, current


def add(left: int, right: int = 1) -> int:
    return left + right


async def add_soon(left: int, right: int) -> int:
    await anyio.lowlevel.checkpoint()
    return left + right


def coroutine_of(left: int, right: int) -> Any:
    return add_soon(left, right)


def own_loop() -> str:
    async def inside() -> str:
        return "inside"

    return asyncio.run(inside())


def pid(*_: object) -> int:
    return os.getpid()


class Point:
    """A class that is called, and what its instances do."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    def __hash__(self) -> int:
        return self.x

    @classmethod
    def named(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    def twice(x: int) -> int:
        return 2 * x

    def shown(self) -> str:
        return str(self.x)


class Unsendable:
    """Nothing that can travel."""

    def __init__(self, *_: object) -> None:
        self.lock = open(os.devnull)  # noqa: SIM115, PTH123 - ends with its process

    def method(self) -> int:
        return 1


class OddError(Exception):
    """An error with arguments of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def raise_odd() -> NoReturn:
    raise OddError(7, "odd")


async def raise_odd_soon() -> NoReturn:
    await anyio.lowlevel.checkpoint()
    raise OddError(7, "odd")


def unsendable_result() -> Any:
    return Unsendable()


def generate() -> Iterator[int]:
    yield 1


def fork_and_exit() -> int:
    child = os.fork()
    if child == 0:
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def exit_at_once(code: int = 9) -> NoReturn:
    os._exit(code)


def exit_politely(code: int) -> NoReturn:
    raise SystemExit(code)


async def exit_politely_soon(code: int) -> NoReturn:
    raise SystemExit(code)


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def segfault() -> Any:
    return ctypes.string_at(0)


def kill_self_once(marker: str) -> str:
    """Die the first time, and return the second."""
    if os.path.exists(marker):  # noqa: PTH110 - a str travels
        return "second"
    with open(marker, "w"):  # noqa: PTH123 - as above
        os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def kill_self(log: str) -> None:
    note(log, "x")
    os.kill(os.getpid(), signal.SIGKILL)


def note(log: str, what: str) -> None:
    with open(log, "a") as file:  # noqa: PTH123 - as above
        file.write(what)


def note_and_spin(log: str) -> NoReturn:
    note(log, "s")
    while True:
        time.sleep(0.005)


async def note_and_wait(log: str) -> str:
    note(log, "w")
    try:
        await anyio.sleep_forever()
    finally:
        note(log, "c")
    return log


def wait_for(path: str) -> None:
    """Return when there is a file of that name."""
    while not os.path.exists(path):  # noqa: PTH110 - as above
        time.sleep(0.002)


_HELD: list[bytes] = []


def hold(size: int) -> int:
    """Keep so many bytes for the life of the process."""
    _HELD.append(b"x" * size)
    return os.getpid()


def fill_memory(step: int) -> NoReturn:
    while True:
        _HELD.append(b"x" * step)
        time.sleep(0.01)


_READY: list[str] = []


def begin() -> None:
    _READY.append("begun")


def begun() -> list[str]:
    return list(_READY)


def fail_to_begin() -> NoReturn:
    raise OddError(1, "no licence")


def variable(name: str) -> str | None:
    return os.environ.get(name)


def niceness() -> int:
    return os.nice(0)


async def nested(own: Any, depth: int) -> int:
    """Run itself in the same pool, so many times, and wait for that."""
    return 0 if depth == 0 else 1 + int(await own.run(nested, own, depth - 1))


def nested_blocking(own: Any, depth: int) -> int:
    """As `nested`, in a thread."""
    return 0 if depth == 0 else 1 + int(own.blocking().run(nested_blocking, own, depth - 1))


class Between(Actor):
    """Runs functions on a pool for those who ask it."""

    async def run(self, own: Any, depth: int) -> int:
        """Run `nested_by_actor`, and wait for it."""
        return int(await own.run(nested_by_actor, own, depth))


async def nested_by_actor(own: Any, depth: int) -> int:
    """As `nested`, by an actor that waits between."""
    if depth == 0:
        return 0
    between = await current().spawn(Between)
    try:
        return 1 + int(await between.ask(Between.run, own, depth - 1))
    finally:
        await between.stop()


def raise_from_below() -> NoReturn:
    """Raise what no `except Exception` catches."""
    raise GeneratorExit


async def note_and_wait_for(log: str) -> str:
    """Return what is noted, when this is the second try; wait for ever in the first."""
    note(log, "n")
    with open(log) as file:  # noqa: ASYNC230, PTH123 - as above
        noted = file.read()
    if noted == "n":
        await anyio.sleep_forever()
    return noted


def thread_name(_: object) -> str:
    """Return the name and number of the thread that runs this."""
    thread = threading.current_thread()
    return f"{thread.name} {thread.native_id}"
