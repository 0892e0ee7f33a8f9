"""What nodes of other machines cannot do is refused by name, before anything starts or moves."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from actors import System, Topology, move, nodes
from actors.errors import InvalidSpec, NotSendable
from actors.machines.dial import dial
from actors.transport import SharedBuffer
from tests.machines.far_actors import Counter
from tests.machines.joining import Cluster
from tests.machines.places_of_a_test import run_script

HOSTS = {"run": ["ssh", "web1"]}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: nodes("far", engine="slurm"), "engine must be 'hosts', 'join', .* got 'slurm'"),
        (lambda: nodes("far", engine="hosts", kind="thread"), "needs kind='process': a thread is"),
        (lambda: nodes("far", engine="hosts", max=4), "max=4 with engine='hosts' is not built"),
        (lambda: nodes("far", on={"hosts": []}), "on={'hosts': \\[\\]} needs an engine"),
        (lambda: nodes("far", spread=True), "spread=True needs an engine"),
        (lambda: Topology(lease=0.5), "lease must be 1 to 3600 seconds, got 0.5"),
        (lambda: System(lease=0), "lease must be 1 to 3600 seconds, got 0"),
        (lambda: System(lease=1e300), "lease must be 1 to 3600 seconds, got 1e\\+300"),
        (lambda: System(lease=float("nan")), "lease must be 1 to 3600 seconds, got nan"),
        (
            lambda: Topology(join_secret=cast("Any", 5)),
            "join_secret must be the path of a file, got 5",
        ),
        (lambda: System(join_secret=""), "join_secret must be the path of a file, got ''"),
        (lambda: System(reach="here:port"), "reach must be 'HOST:PORT' or 'HOST', got 'here:port'"),
        (lambda: System(reach="here:"), "reach must be 'HOST:PORT' or 'HOST', got 'here:'"),
        (lambda: System(reach="::1"), "reach must be 'HOST:PORT' or 'HOST', got '::1'"),
        (lambda: System(reach="[::1]7000"), "reach must be 'HOST:PORT' or 'HOST', got '"),
        (
            lambda: System(reach="here:65536"),
            "reach must be 'HOST:PORT' or 'HOST', got 'here:65536'",
        ),
    ],
)
def test_what_can_never_work_is_refused_where_it_is_written(
    make: Callable[[], Any], text: str
) -> None:
    with pytest.raises(InvalidSpec, match=text):
        make()


@pytest.mark.parametrize(
    "on, text",
    [
        ({"host": []}, "on has the key 'hosts' alone, got 'host'"),
        ({"hosts": "web1"}, "on\\['hosts'\\] must be a list of hosts, got 'web1'"),
        ({"hosts": [{"rum": []}]}, "on\\['hosts'\\]\\[0\\] has no 'rum'; did you mean 'run'"),
        ({"hosts": [{"run": "ssh web1"}]}, "\\['run'\\] must be a list of words, got 'ssh web1'"),
        (
            {"hosts": [{"run": ["ssh", "a\0b"]}]},
            "must be a list of words, got \\['ssh', 'a\\\\x00b",
        ),
        ({"hosts": [{"run": ["\ud800"]}]}, "must be a list of words, got \\['\\\\ud800"),
        ({"hosts": [HOSTS, {"python": 3}]}, "\\[1\\]\\['python'\\] must be text, got 3"),
        ({"hosts": [{"address": "10.0.0.1"}]}, "on\\['hosts'\\]\\[0\\] has no 'address'"),
    ],
)
async def test_words_that_the_engine_does_not_know_are_refused_before_anything_starts(
    on: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidSpec, match=text):
        async with System(Topology(nodes=[nodes("far", engine="hosts", on=on)])):
            raise AssertionError("it started")


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".b", "\udc80b"])
async def test_a_text_that_can_be_no_name_of_a_host_is_refused_as_one_that_nobody_knows(
    host: str,
) -> None:
    topology = Topology(nodes=[nodes("far", engine="hosts")], reach=f"{host}:7000")
    with pytest.raises(
        InvalidSpec, match=f"reach={re.escape(repr(topology.reach))}: cannot listen"
    ):
        async with System(topology):
            raise AssertionError("it started")
    with pytest.raises(
        ConnectionError, match=r"did not let us in: .*(no host is called|not known)"
    ):
        await dial((host, 7000), None, "ticket", {})


@pytest.mark.parametrize(
    "on, text",
    [
        (
            {"label": {}},
            "on has 'labels' and 'nodes_per_agent', got 'label'; did you mean 'labels'",
        ),
        ({"labels": ["gpu"]}, "on\\['labels'\\]: labels are a table of texts, got \\['gpu'\\]"),
        ({"labels": {"gpu": 1}}, "a label has texts of 1 to 200 letters, got 'gpu'=1"),
        ({"nodes_per_agent": 0}, "on\\['nodes_per_agent'\\] must be 1 or more, got 0"),
    ],
)
async def test_words_that_the_engine_join_does_not_know_are_refused_before_anything_starts(
    on: dict[str, Any], text: str, tmp_path: Path
) -> None:
    cluster = Cluster(tmp_path)
    topology = cluster.topology(nodes("far", engine="join", on=on))
    with pytest.raises(InvalidSpec, match=text):
        async with System(topology):
            raise AssertionError("it started")


async def test_the_engine_join_spreads_nothing(tmp_path: Path) -> None:
    topology = Cluster(tmp_path).topology(nodes("far", engine="join", spread=True))
    with pytest.raises(InvalidSpec, match="spread=True is for an engine that places"):
        async with System(topology):
            raise AssertionError("it started")


@pytest.mark.parametrize(
    "options, text",
    [
        ({}, "engine='join' needs System\\(join_secret=FILE\\), which lets agents in"),
        ({"join_secret": "/no/such/file"}, "needs System\\(reach='HOST:PORT'\\), .* got None"),
        (
            {"join_secret": "/no/such/file", "reach": "127.0.0.1:0"},
            "join_secret='/no/such/file' cannot be read: No such file or directory",
        ),
    ],
)
async def test_the_engine_join_needs_an_address_and_a_secret(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidSpec, match=text):
        async with System(Topology(nodes=[nodes("far", engine="join")], **options)):
            raise AssertionError("it started")


@pytest.mark.within(120)
@pytest.mark.usefixtures("no_leaks")
async def test_what_belongs_to_this_machine_cannot_leave_it() -> None:
    async with System(Topology(nodes=[nodes("far", engine="hosts")])) as system:
        counter = await system.spawn(Counter, on="far/0")
        one, other = socket.socketpair()
        shared = SharedBuffer(100)
        with one, other:
            for value in (move(one), shared):
                with pytest.raises(NotSendable, match=r"\['inside'\]\[0\].*cannot leave this mach"):
                    await counter.ask(Counter.echo, {"inside": [value]})
            assert one.fileno() >= 0, "it was not moved"
            with pytest.raises(NotSendable, match=r"args\[0\].*cannot leave this machine"):
                await system.spawn(Counter, shared, on="far/0")  # type: ignore[arg-type] # any
        assert await counter.ask(Counter.echo, b"x" * 300_000) == b"x" * 300_000


MAIN = """
    import actors, actors.errors

    class OfMain(actors.Actor):
        async def nothing(self):
            return None

    async def main():
        topology = actors.Topology(nodes=[actors.nodes("far", engine="hosts")])
        async with actors.System(topology) as system:
            try:
                await system.spawn(OfMain, on="far/0")
            except actors.errors.InvalidSpec as error:
                print(error)

    actors.run(main)
"""


def test_a_class_of_the_main_file_is_refused_with_the_module_to_make(tmp_path: Any) -> None:
    code, out, err = run_script(tmp_path / "shop.py", MAIN)
    assert code == 0, err
    assert "OfMain" in out
    assert "shop_actors.py" in out


NOTHING = """
    import sys
    import actors, actors.errors

    class Nothing(actors.Actor):
        async def loaded(self):
            return sorted(name for name in sys.modules if name.startswith("actors.machines"))

    async def main():
        topology = actors.Topology(nodes=[actors.nodes("box")])
        async with actors.System(topology) as system:
            nothing = await system.spawn(Nothing, on="box/0")
            other = await system.spawn(Nothing)
            here, there = await other.ask(Nothing.loaded), await nothing.ask(Nothing.loaded)
            print(here, there, "cryptography" in sys.modules)

    actors.run(main)
"""


def test_a_system_without_engines_imports_nothing_of_it(tmp_path: Any) -> None:
    code, out, err = run_script(tmp_path / "plain.py", NOTHING)
    assert (code, out) == (0, "[] [] False\n"), err
