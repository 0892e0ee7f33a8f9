"""Which code a place may have: the system's, or another one while that is being replaced."""

from __future__ import annotations

import os
import signal
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Topology, asgi, child, listen, nodes
from actors._system.shipped_code import distribution_of
from actors.errors import BootFailed, ReloadFailed
from actors.machines.stamps import RELEASE, Stamps, version_of
from actors.testing import eventually, running_system
from tests.machines.far_actors import Counter
from tests.machines.places_of_a_test import kinds, place_of, system_with_events

pytestmark = pytest.mark.within(120)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def _stamps(monkeypatch: pytest.MonkeyPatch, release: str, *, reloading: bool = False) -> Stamps:
    monkeypatch.setenv(RELEASE, release)
    return Stamps("anyio", lambda: reloading)


@pytest.mark.parametrize(
    "release, installed, text",
    [
        ("1.4", "", ""),
        ("1.5", "", "its agent has ACTORS_RELEASE='1.5', and this process has '1.4'"),
        ("", "9.9", ""),
    ],
)
def test_releases_are_compared_where_both_ends_name_theirs(
    monkeypatch: pytest.MonkeyPatch, release: str, installed: str, text: str
) -> None:
    stamps = _stamps(monkeypatch, "1.4")
    assert stamps.problem_of(release, installed, replaces=False) == text


def test_else_it_is_the_version_of_the_distribution_that_has_the_topology(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stamps = _stamps(monkeypatch, "")
    own = version_of("anyio")
    assert own
    assert stamps.problem_of("", own, replaces=False) == ""
    assert stamps.problem_of("", "", replaces=False) == "", "it is not installed there"
    what = f"its agent has anyio 0.1, and this process has anyio {own}"
    assert stamps.problem_of("", "0.1", replaces=False) == what


@pytest.mark.parametrize("how", ["reload", "in order"])
def test_another_one_is_taken_while_the_code_is_replaced_and_belongs_from_then_on(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    stamps = _stamps(monkeypatch, "1.4", reloading=how == "reload")
    assert stamps.problem_of("1.5", "", replaces=how == "in order") == ""
    stamps._reloading = lambda: False
    assert stamps.problem_of("1.5", "", replaces=False) == ""
    assert stamps.problem_of("1.6", "", replaces=False) != ""


def _installed(folder: Path, version: str) -> None:
    """Make a distribution with an actor."""
    package, facts = folder / "shopcode", folder / f"shopcode-{version}.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text(
        "import actors\n\nclass Till(actors.Actor):\n    async def pid(self) -> int:\n        return 0\n"
    )
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shopcode\nVersion: {version}\n")
    (facts / "top_level.txt").write_text("shopcode\n")


async def test_a_place_with_another_version_of_the_users_distribution_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "2.0"):
        _installed(tmp_path / version, version)
    monkeypatch.syspath_prepend(tmp_path / "1.0")
    monkeypatch.delenv(RELEASE, raising=False)
    invalidate_caches()
    till = import_module("shopcode").Till
    hosts = [{"run": ["env", f"PYTHONPATH={tmp_path / '2.0'}"]}]
    group = nodes("far", engine="hosts", on={"hosts": hosts})
    topology = Topology(nodes=[group], children=[child(till, name="till", on="far")])
    assert distribution_of(topology) == "shopcode"
    with pytest.raises(BootFailed, match=r"its agent has shopcode 2\.0, and this process has shop"):
        async with running_system(topology):
            raise AssertionError("it started")
    hosts[0]["run"] = ["env", f"PYTHONPATH={tmp_path / '1.0'}"]
    async with running_system(topology):
        pass


def test_the_distribution_is_that_of_the_first_listener_or_actor_that_is_installed() -> None:
    group = nodes("web")
    assert distribution_of(Topology(nodes=[group])) == ""
    app = listen(asgi("starlette.applications:Starlette"), nodes="web")
    assert distribution_of(Topology(nodes=[group], listeners=[app])) == "starlette"
    here = child(Counter, on="web")
    assert distribution_of(Topology(nodes=[group], children=[here])) == "", "a folder of ours"


@pytest.mark.usefixtures("no_leaks")
async def test_an_agent_that_is_ended_in_order_may_be_followed_by_another_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(RELEASE, "1.4")
    hosts = [{"run": ["env", f"{RELEASE}=1.4"]}]
    group = nodes("far", engine="hosts", on={"hosts": hosts})
    async with system_with_events(Topology(nodes=[group], patience=60.0)) as (system, events):
        hosts[0]["run"] = ["env", f"{RELEASE}=1.5"]
        os.kill(place_of(system, "far/0").pid, signal.SIGTERM)
        with anyio.fail_after(60):
            await eventually(lambda: kinds(events, "node_ready"), within=60)
        assert [facts["node"] for _, facts in kinds(events, "node_replaced")] == ["far/0"]
        assert not kinds(events, "node_died", "place_lost", "place_failed")


@pytest.mark.usefixtures("no_leaks")
async def test_one_that_died_may_not_unless_a_reload_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(RELEASE, "1.4")
    go = tmp_path / "go"
    monkeypatch.setenv("GO", str(go))
    hosts = [{"run": ["env", f"{RELEASE}=1.4"]}]
    far = nodes("far", engine="hosts", on={"hosts": hosts})
    box = nodes("box", on_ready="tests.machines.far_actors:wait_for_go")
    go.touch()
    async with system_with_events(Topology(nodes=[far, box], patience=60.0)) as (system, events):
        hosts[0]["run"] = ["env", f"{RELEASE}=1.5"]
        os.kill(place_of(system, "far/0").pid, signal.SIGKILL)
        with anyio.fail_after(60):
            await eventually(lambda: kinds(events, "place_failed"), within=60)
            assert "ACTORS_RELEASE='1.5'" in kinds(events, "place_failed")[0][1]["why"]
            go.unlink()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(system.reload, "box")
                await eventually(lambda: kinds(events, "place_joined"), within=60)
                go.touch()


@pytest.mark.usefixtures("no_leaks")
async def test_a_place_whose_nodes_are_not_ready_again_stops_the_reload(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    monkeypatch.setenv("BAD", str(bad))
    hosts = [{"run": ["env", f"AT={number}"]} for number in range(3)]
    far = nodes(
        "far",
        count=3,
        engine="hosts",
        on={"hosts": hosts},
        on_ready="tests.machines.far_actors:fail_if_bad",
    )
    async with system_with_events(Topology(nodes=[far], patience=60.0)) as (system, _events):
        before = {node.name: node.pid for node in system.nodes}
        bad.write_text("1")
        with pytest.raises(ReloadFailed, match="far/1") as failed:
            await system.reload()
        assert failed.value.renewed == ["far/0"]
        after = {node.name: node.pid for node in system.nodes}
        assert {name for name in after if after[name] != before[name]} == {"far/0"}
