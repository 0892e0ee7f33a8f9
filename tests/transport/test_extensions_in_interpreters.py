"""Interpreters of one process have the C extensions each for itself: they begin, work side by side and end.

They load the extensions alone: msgpack, which the packages need, refuses to be loaded into a second one.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from actors._base.twins import COMPILED as MESSAGES
from actors._extensions import not_loaded
from actors.transport.channels.ring_extension import RING
from actors.transport.types import twins
from tests.scripts import run

pytestmark = [
    pytest.mark.skipif(bool(not_loaded()), reason=not_loaded()),
    pytest.mark.timeout(180),
]

WITHIN = """
    import gc, importlib.util, os, weakref

    def load(name, path):
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    values = load("actors.transport._speedups", PATHS[0])
    messages = load("actors._actor._speedups", PATHS[1])
    rings = load("actors.transport._ring", PATHS[2])

    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y

    values.plans[Point] = values.Plan(2, Point, ("x", "y"), None, False)

    class Refused(Exception):
        pass

    class Mailbox(messages.MailboxMethods):
        pass

    def ring():
        fd = os.memfd_create("ring", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, rings.SIZE)
        import fcntl
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        made = rings.Writer(fd, Refused), rings.Reader(fd, Refused)
        os.close(fd)
        return made

    for number in range(20):
        original = [Point(number, [number]), {"a": (1, [2])}]
        point, rest = values.copy_all(original)
        assert (point.x, point.y, rest) == (number, [number], {"a": (1, [2])})
        assert point.y is not original[0].y and type(point) is Point
        writer, reader = ring()
        writer.close(), reader.close()
        try:
            messages.bind(5)
        except TypeError as error:
            assert "got 5" in str(error)
    lost = weakref.ref(Point)
    values.plans.clear()
    del Point, point, original
    gc.collect()
    assert lost() is None, gc.get_referrers(lost())
"""

SIDE_BY_SIDE = """
    import importlib, importlib.util, sys, threading

    name = "_interpreters" if importlib.util.find_spec("_interpreters") else "_xxsubinterpreters"
    interpreters = importlib.import_module(name)
    # With an older Python all share one GIL, and creating and ending one is not for several threads at a time.
    alone = threading.Lock()
    own = sys.version_info >= (3, 12)
    failures = []

    def begin_and_end():
        for _ in range(3):
            with alone:
                made = interpreters.create()
            failed = None
            try:
                failed = interpreters.run_string(made, f"PATHS = {PATHS!r}\\n" + WITHIN)
            except BaseException as error:
                failed = error
            with alone:
                interpreters.destroy(made)
            if failed:
                failures.append(failed)

    exec(WITHIN, {"PATHS": PATHS})
    threads = [threading.Thread(target=begin_and_end) for _ in range(4 if own else 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    exec(WITHIN, {"PATHS": PATHS})
    print("all ended")
"""


def test_interpreters_have_the_extensions_side_by_side_and_end(tmp_path: Path) -> None:
    paths = [module.__file__ for module in (twins.COMPILED, MESSAGES, RING)]
    source = f"PATHS = {paths!r}\nWITHIN = {dedent(WITHIN)!r}\n{dedent(SIDE_BY_SIDE)}"

    assert run(tmp_path / "side_by_side.py", source) == (0, "all ended\n", "")
