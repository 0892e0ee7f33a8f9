"""`actors import` and `actors unit`: files of other process managers, and units for systemd."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from actors._system.application import checked_tables
from tests.cli.running_command import run_here

OX = """
version = 1
[defaults]
env = { MODE = "x" }
restart_policy = "on_failure"
[[apps]]
name = "api"
command = "sleep 1"
instances = 2
instance_var = "SLOT"
depends_on = ["db"]
health_cmd = "true"
max_memory_mb = 64
watch = true
[apps.profiles.prod]
instances = 4
[[apps]]
name = "db"
command = "sleep 2"
[[apps]]
name = "old"
command = "sleep 3"
disabled = true
"""
PM2 = {
    "apps": [
        {
            "name": "api",
            "script": "server.js",
            "args": "--fast",
            "instances": "max",
            "env": {"A": 1},
            "env_production": {"A": "$5"},
            "max_memory_restart": "300M",
            "kill_timeout": 3000,
            "watch": True,
        }
    ]
}


def imported(folder: Path, name: str, text: str) -> tuple[dict[str, object], list[str]]:
    (folder / name).write_text(text)
    code, out, err = run_here(folder, "import", str(folder / name), "--output", "-")
    assert code == 0, err
    tables = tomllib.loads(out)
    profiles = tables.pop("profiles", {})
    checked_tables(tables)
    for profile in profiles.values():
        assert profile.keys() == {"programs"}
    return {**tables["programs"], "profiles": profiles}, err.splitlines()


def test_a_procfile_becomes_programs_with_ports(tmp_path: Path) -> None:
    text = "web: A=1 sleep $PORT\n# no\nworker: sleep 1 | cat\nrelease: migrate\n"
    found, notes = imported(tmp_path, "Procfile", text)
    assert found["web"] == {"command": ["sleep", "{port}"], "env": {"A": "1"}, "port": 5000}
    assert found["worker"] == {"command": ["sh", "-c", "sleep 1 | cat"], "port": 5100}
    assert [note.partition(":")[0] for note in notes] == ["worker", "release"]


def test_a_foreign_file_may_begin_with_the_mark_of_some_editors(tmp_path: Path) -> None:
    found, _ = imported(tmp_path, "Procfile", "\ufeffweb: sleep 1\n")
    assert found["web"] == {"command": ["sleep", "1"], "port": 5000}


def test_an_oxfile_keeps_order_profiles_and_limits_and_says_what_is_left_out(
    tmp_path: Path,
) -> None:
    found, notes = imported(tmp_path, "oxfile.toml", OX)
    assert list(found) == ["db", "api", "profiles"]
    assert found["api"] == {
        "command": ["sleep", "1"],
        "restart": "transient",
        "instances": 2,
        "health": ["true"],
        "max_memory": "64 MiB",
        "env": {"MODE": "x", "SLOT": "{slot}"},
    }
    assert found["profiles"] == {"prod": {"programs": {"api": {"instances": 4}}}}
    assert notes == [
        "api: watch = True could not be carried over",
        "old: it is disabled, and left out",
    ]


def test_an_ecosystem_file_of_pm2_is_carried_over(tmp_path: Path) -> None:
    found, notes = imported(tmp_path, "ecosystem.config.json", json.dumps(PM2))
    assert found["api"] == {
        "command": ["node", "server.js", "--fast"],
        "env": {"A": "1"},
        "max_memory": "300 MiB",
        "shutdown": 3.0,
    }
    assert found["profiles"] == {"production": {"programs": {"api": {"env": {"A": "$$5"}}}}}
    assert notes == [
        "api: watch = True could not be carried over",
        "api: instances = 'max' depends on the machine: 1 was written",
    ]


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("Procfile", "no colon here", "line 1 is not NAME: COMMAND"),
        ("oxfile.toml", "[apps", "is no oxfile"),
        ("oxfile.toml", "[x]", "is no oxfile"),
        ("a.json", "[{}]", "is no pm2"),
        ("ecosystem.config.js", "module.exports = {}", "JSON.stringify"),
    ],
)
def test_what_cannot_be_read_is_one_error(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    code, _, err = run_here(tmp_path, "import", str(tmp_path / name), "--output", "-")
    assert code == 2
    assert said in err


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: sleep 1")
    output = tmp_path / "actors.toml"
    arguments = ("import", str(tmp_path / "Procfile"), "-o", str(output))
    assert run_here(tmp_path, *arguments)[0] == 0
    code, _, err = run_here(tmp_path, *arguments)
    assert (code, "is there already" in err) == (2, True)


UNIT = """
[nodes.web]
kind = "thread"
[listeners.http]
handler = "m:h"
address = "127.0.0.1:8000"
[profiles.prod.nodes.web]
shutdown = 10
"""


def test_units_run_the_file_and_pass_the_sockets_by_the_names_of_the_listeners(
    tmp_path: Path,
) -> None:
    file = tmp_path / "actors.toml"
    file.write_text(UNIT)
    (tmp_path / "units").mkdir()
    arguments = ("unit", str(file), "--profile", "prod", "--name", "shop", "--socket")
    code, _, err = run_here(tmp_path, *arguments, "-o", str(tmp_path / "units"))
    assert code == 0, err

    def unit(name: str) -> configparser.ConfigParser:
        parsed = configparser.ConfigParser(interpolation=None)
        parsed.optionxform = str  # type: ignore[assignment,method-assign] # as configparser documents
        parsed.read(tmp_path / "units" / name)
        return parsed

    service, http = unit("shop.service")["Service"], unit("shop-http.socket")["Socket"]
    assert service["ExecStart"] == f"{sys.executable} -m actors run {file} --profile prod"
    assert (service["Type"], service["WatchdogSec"]) == ("notify", "30")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["TimeoutStopSec"] == "70"
    assert (http["ListenStream"], http["FileDescriptorName"]) == ("127.0.0.1:8000", "http")
    if shutil.which("systemd-analyze"):
        units = [str(path) for path in (tmp_path / "units").iterdir()]
        checked = subprocess.run(
            ["systemd-analyze", "verify", *units],  # noqa: S607 - Debian's
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr


def test_a_name_that_no_unit_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "actors.toml").write_text(UNIT)
    code, _, err = run_here(tmp_path, "unit", str(tmp_path / "actors.toml"), "--name", "a/b")
    assert (code, "--name has letters" in err) == (2, True)


SERVED = """
[nodes.web]
kind = "thread"
[listeners.shop]
app = "m:a"
address = "0.0.0.0:8000"
[listeners.local]
app = "m:a"
address = "unix:/run/shop.sock"
[listeners.any]
app = "m:a"
address = "127.0.0.1:0"
[programs.api]
command = ["sleep", "1"]
port = 3000
instances = 2
"""


def test_nginx_is_told_the_listeners_and_the_instances_of_programs(tmp_path: Path) -> None:
    (tmp_path / "actors.toml").write_text(SERVED)
    code, out, _ = run_here(tmp_path, "export", "nginx", str(tmp_path / "actors.toml"))
    assert code == 0
    servers = [line.strip() for line in out.splitlines() if "server " in line or "upstream" in line]
    assert servers == [
        "upstream shop {",
        "server 127.0.0.1:8000;",
        "upstream local {",
        "server unix:/run/shop.sock;",
        "upstream api {",
        "server 127.0.0.1:3000;",
        "server 127.0.0.1:3001;",
    ]
    if nginx := shutil.which("nginx"):
        conf = tmp_path / "nginx.conf"
        conf.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{out}}}\n")
        run = subprocess.run([nginx, "-t", "-c", conf], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


def test_a_file_that_serves_nothing_has_nothing_for_nginx(tmp_path: Path) -> None:
    (tmp_path / "actors.toml").write_text("[nodes.web]\nkind = 'thread'\n")
    assert run_here(tmp_path, "export", "nginx", str(tmp_path / "actors.toml"))[0] == 2
