"""What `program` refuses, where it is written down."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from actors import Backoff, Budget, System, Topology, listen, nodes, program, supervisor
from actors.errors import InvalidSpec

_TRUE = ["/bin/true"]


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"name": "a b"}, "a program is named with letters, digits, - and _; got 'a b'"),
        ({"name": "x" * 101}, "the name of a program has at most 100 letters"),
        ({"command": "node server.js"}, "['node', 'server.js'], not 'node server.js'"),
        ({"command": []}, "command must be a list of arguments, got []"),
        ({"command": ["/bin/true", 5]}, "command has texts and paths, got 5"),
        ({"command": ["/bin/true", "a\0"]}, "command cannot have a NUL"),
        (
            {"command": ["/bin/true", "\ud800"]},
            "command must be text that the file system's encoding can say, got '\\ud800'",
        ),
        ({"command": [""]}, "command names no program"),
        ({"command": ["no-such-program"]}, "there is no program 'no-such-program' in PATH"),
        ({"command": ["/etc/no-such"]}, "there is no program '/etc/no-such'"),
        ({"command": ["/etc"]}, "'/etc' is no file"),
        ({"command": ["/etc/passwd"]}, "'/etc/passwd' is not executable (chmod +x)"),
        ({"instances": 0}, "instances must be 1 to 1024, got 0"),
        ({"instances": 2.0}, "instances must be 0 to 1024, got 2.0"),
        ({"port": 70000}, "port must be 1 to 65535, got 70000"),
        ({"port": 65535, "instances": 2}, "2 instances from port 65535 on end beyond port 65535"),
        ({"port": True}, "port must be 1 to 65535, got True"),
        ({"port_variable": "A=B"}, "port_variable must be the name of a variable, got 'A=B'"),
        ({"env": {"A": 1}}, "env must map text to text, got 'A': 1"),
        ({"env": {"A": "{port}"}}, "'{port}' names {port}, but the program has no port="),
        ({"command": ["/bin/true", "{port}"]}, "names {port}, but the program has no port="),
        ({"cwd": "/no/such/folder"}, "there is no folder '/no/such/folder', its cwd"),
        ({"cwd": "/\ud800"}, "cwd must be text that the file system's encoding can say"),
        ({"cwd": "/a\0b"}, "cwd cannot have a NUL, got '/a\\x00b'"),
        ({"cwd": f"/{'x' * 300}"}, "its cwd"),
        ({"cwd": 5}, "cwd must be the path of a folder, got 5"),
        ({"user": "no-such-user"}, "there is no user 'no-such-user'"),
        ({"user": 0}, "user must be the name of a user, got 0"),
        ({"health": "ftp://127.0.0.1/"}, "it is neither http:// nor tcp://"),
        ({"health": "tcp://127.0.0.1"}, "it names no port"),
        ({"health": "http://:80/"}, "it names no host"),
        ({"health": "http://127.0.0.1:99999/"}, "health must be 'http://"),
        (
            {"health": "http://127.0.0.1:{port}/"},
            "health names {port}, but the program has no port",
        ),
        ({"health": []}, "health must be a list of arguments, got []"),
        ({"health_interval": 0}, "health_interval must be more than 0 seconds, got 0"),
        ({"health_timeout": "1"}, "health_timeout must be more than 0 seconds, got '1'"),
        ({"health_failures": 0}, "health_failures must be 1 or more, got 0"),
        ({"start_timeout": -1}, "start_timeout must be more than 0 seconds, got -1"),
        ({"shutdown": -1}, "shutdown must be 0 or more seconds, got -1"),
        ({"stop_signal": "TERM"}, "stop_signal must be the name of a signal such as 'SIGTERM'"),
        ({"max_memory": 1000}, "max_memory must be 1048576 bytes or more, got 1000"),
        ({"max_cpus": 0}, "max_cpus must be more than 0, got 0"),
        ({"restart": "always"}, "restart must be a Restart, got 'always'"),
        ({"backoff": 5}, "backoff must be a Backoff, got 5"),
        ({"budget": 5}, "budget must be a Budget, got 5"),
        ({"backoff": Backoff(), "budget": Budget()}, "a backoff each or a budget together"),
        ({"instance": 4}, "program() has no option 'instance'; did you mean 'instances'?"),
    ],
)
def test_what_can_never_work_is_refused_by_its_name_and_value(
    given: dict[str, Any], complaint: str
) -> None:
    options = {"name": "api", "command": _TRUE} | given
    with pytest.raises(InvalidSpec) as refused:
        program(**options)
    assert complaint in str(refused.value)


def test_a_program_in_a_relative_path_is_looked_for_in_its_folder(tmp_path: Path) -> None:
    script = tmp_path / "serve"
    script.write_text("#!/bin/true\n")
    script.chmod(0o755)
    assert program("api", ["./serve"], cwd=tmp_path).program.cwd == str(tmp_path)
    with pytest.raises(InvalidSpec, match="there is no program"):
        program("api", ["./other"], cwd=tmp_path)


def test_a_name_is_looked_for_in_the_path_of_the_program(tmp_path: Path) -> None:
    tool = tmp_path / "serve-it"
    tool.symlink_to("/bin/true")
    program("api", ["serve-it"], env={"PATH": str(tmp_path)})
    with pytest.raises(InvalidSpec, match="there is no program 'serve-it' in PATH"):
        program("api", ["serve-it"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose a user")
def test_a_program_has_the_groups_and_the_home_of_its_user() -> None:
    account = program("api", _TRUE, user="nobody").program.account
    assert account is not None
    assert account.variables["USER"] == "nobody"
    assert account.group in account.groups


def test_a_port_used_twice_is_refused_before_anything_starts() -> None:
    api = program("api", _TRUE, instances=4, port=3000)
    with pytest.raises(
        InvalidSpec, match="port 3003 is used twice: by program 'api' and by program 'web'"
    ):
        Topology(children=[api, supervisor("inner", [program("web", _TRUE, port=3003)])])
    with pytest.raises(
        InvalidSpec,
        match=r"port 3001 is used twice: by listener 127\.0\.0\.1:3001 and by program 'api'",
    ):
        Topology(
            nodes=[nodes("web")],
            children=[api],
            listeners=[listen("shop:app", "127.0.0.1:3001")],
        )
    Topology(children=[api, program("web", _TRUE, port=3004)])


def test_a_name_that_a_group_or_another_program_has_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="program 'web' has the name of another"):
        Topology(nodes=[nodes("web")], children=[program("web", _TRUE)])
    with pytest.raises(InvalidSpec, match="program 'web' has the name of another"):
        Topology(
            children=[program("web", _TRUE), supervisor("inner", [program("web", _TRUE)])],
        )


@pytest.mark.within(20)
async def test_a_program_that_is_started_later_is_checked_against_those_that_run() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    async with System(Topology(children=[program("api", sleep, port=3000)])) as system:
        with pytest.raises(InvalidSpec, match="port 3000 is used twice"):
            await system.start(program("web", sleep, port=2999, instances=2))
        with pytest.raises(InvalidSpec, match="there is a program of this name already"):
            await system.start(supervisor("inner", [program("api", sleep)]))
        await system.start(program("web", sleep, port=2999))
        with pytest.raises(InvalidSpec, match="port 3000 is used twice"):
            await system.scale("web", 2)
