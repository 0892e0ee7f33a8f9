"""`Admin` and `--admin`: what they refuse, and that nothing is open unless it was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors import Topology, nodes
from actors.dashboard import Admin
from actors.dashboard.http import names_this_server
from actors.errors import ActorsError, InvalidSpec
from tests.cli.running_command import error_of, run_command


@pytest.mark.parametrize("address", ["0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000"])
def test_beyond_this_machine_it_needs_tls(address: str) -> None:
    with pytest.raises(InvalidSpec, match="certfile") as error:
        Admin(address)
    assert address in str(error.value)


@pytest.mark.parametrize("address", ["127.0.0.1:9000", "[::1]:9000", "localhost:9000", "unix:/a"])
def test_on_this_machine_it_does_not(address: str) -> None:
    assert Admin(address).listener().address == address


@pytest.mark.parametrize("bad", ["", "9000", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused_by_name(bad: str) -> None:
    with pytest.raises(ActorsError) as error:
        Topology(admin=bad)
    assert repr(bad) in str(error.value)


@pytest.mark.parametrize("bad", [9000, b"unix:/a", ["127.0.0.1:0"]])
def test_an_address_that_is_no_text_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ActorsError) as error:
        Admin(bad)
    assert repr(bad) in str(error.value)


def test_what_is_no_address_or_admin_and_a_group_of_its_name_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="must be an address or an Admin, got 5"):
        Topology(admin=5)  # type: ignore[arg-type] # that is the mistake
    with pytest.raises(InvalidSpec, match="'admin' is the group of admin="):
        Topology(nodes=[nodes("admin")], admin="127.0.0.1:0")
    with pytest.raises(InvalidSpec, match="hosts must be names"):
        Admin("127.0.0.1:0", hosts="ops.example")


@pytest.mark.parametrize("host", ["", ":80", "a b", "[", "evil", "127.0.0.1.evil", "@localhost@x"])
def test_other_names_are_not_this_server(host: str) -> None:
    assert not names_this_server(host, ["ops.example"])


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--admin", "0.0.0.0:9000"], "certfile"),
        (["--admin", "here"], "'here'"),
        (["--admin-host", "ops.example"], "go with --admin"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = run_command(tmp_path, "run", "topologies:good", *arguments)

    assert done.returncode == 2
    assert says in error_of(done.stderr, "actors run")


def test_actors_admin_says_that_a_system_has_none(tmp_path: Path) -> None:
    done = run_command(tmp_path, "admin")

    assert done.returncode == 3
