"""What the guide gives to Kubernetes, Nomad and systemd is what `actors join` takes, and its example runs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.cli._parser import parse
from tests.docs.pages import ROOT
from tests.machines.joining import free_port

GUIDE = (ROOT / "docs/guides/machines.md").read_text()
_PATIENCE = 90.0


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def objects() -> dict[str, Any]:
    """The objects of the YAML, by kind and name."""
    (text,) = blocks("yaml")
    loaded = list(yaml.safe_load_all(text))
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in loaded}


def test_commands_of_the_manifests_are_commands_of_ours(objects: dict[str, Any]) -> None:
    for name, command in (("shop", "run"), ("gpu", "join")):
        (container,) = objects[f"StatefulSet/{name}"]["spec"]["template"]["spec"]["containers"]
        assert container["command"][0] == "actors"
        assert parse(container["command"][1:]).command == command


def test_an_agent_of_the_manifests_finds_its_parent_its_secret_and_its_name(
    objects: dict[str, Any],
) -> None:
    agents, parents = objects["StatefulSet/gpu"]["spec"], objects["Service/shop"]["spec"]
    pod = agents["template"]["spec"]
    (container,) = pod["containers"]
    options = parse(container["command"][1:])
    assert options.parent == f"shop:{parents['ports'][0]['port']}"
    assert parents["publishNotReadyAddresses"], "a parent is ready when its agents have come"
    (mount,) = container["volumeMounts"]
    assert options.secret_file == f"{mount['mountPath']}/secret"
    (volume,) = pod["volumes"]
    assert volume["name"] == mount["name"]
    assert volume["secret"]["secretName"] in GUIDE.partition("```yaml")[0]
    assert not volume["secret"]["defaultMode"] & 0o007, "others cannot read it"
    assert volume["secret"]["defaultMode"] & 0o040
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert options.name == "$(POD_NAME)"
    assert container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_probes_of_the_manifests_ask_what_an_agent_answers(objects: dict[str, Any]) -> None:
    (container,) = objects["StatefulSet/gpu"]["spec"]["template"]["spec"]["containers"]
    port = int(parse(container["command"][1:]).health)
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("readiness", "liveness")}
    assert probes == {
        "readiness": {"path": "/ready", "port": port},
        "liveness": {"path": "/live", "port": port},
    }


def test_stateful_sets_of_the_manifests_select_their_own_pods_and_have_their_services(
    objects: dict[str, Any],
) -> None:
    for name in ("shop", "gpu"):
        spec = objects[f"StatefulSet/{name}"]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        service = objects[f"Service/{spec['serviceName']}"]["spec"]
        assert service["selector"] == spec["selector"]["matchLabels"]
        assert service["clusterIP"] == "None"


def test_the_unit_starts_an_agent_and_starts_it_again_but_not_if_it_was_refused() -> None:
    (text,) = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign] # keys have capitals
    unit.read_string(text)
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).name == "actors"
    options = parse(words)
    assert options.command == "join"
    credential, _, _ = service["LoadCredential"].partition(":")
    assert options.secret_file == f"${{CREDENTIALS_DIRECTORY}}/{credential}"
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "78")


def test_the_job_of_nomad_starts_an_agent() -> None:
    (text,) = blocks("hcl")
    (words,) = re.findall(r"args += (\[.*\])", text)
    options = parse(json.loads(words))
    assert options.command == "join"
    (where,) = re.findall(r'destination = "(.*)"', text)
    assert options.secret_file == where
    assert not options.name, "Nomad gives a name to two programs at once"


class _Terminals:
    """What people type into terminals of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held = ExitStack()
        self._env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(folder),
        }

    def start(self, command: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._held.callback(_end, process)
        return process

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout if not done.returncode else f"{done.returncode}: {done.stderr}"

    def close(self) -> None:
        self._held.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[_Terminals]:
    made = _Terminals(tmp_path)
    yield made
    made.close()


def test_the_example_for_two_terminals_runs(terminals: _Terminals) -> None:
    secret, run, join = blocks("sh")[:3]
    (source,) = re.findall(r"<!-- far.py -->\n```text\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    port = free_port()
    (terminals.folder / "far.py").write_text(source.replace(":7000", f":{port}"))
    assert not terminals.run(secret)
    parent = terminals.start(run.strip())
    agents = [terminals.start(join.strip().replace(":7000", f":{port}")) for _ in range(2)]
    until = time.monotonic() + _PATIENCE
    while (answer := terminals.run("actors ask visits add 2").strip()) != "2":
        assert time.monotonic() < until, f"{answer}\n{(terminals.folder / 'log').read_text()}"
        assert parent.poll() is None, (terminals.folder / "log").read_text()
        time.sleep(0.2)
    shown = terminals.run("actors ps")
    assert [f"far@{slot}" in shown for slot in range(2)] == [True, True]
    agents[0].send_signal(signal.SIGINT)
    assert agents[0].wait(_PATIENCE) == 0
    parent.terminate()
    assert parent.wait(_PATIENCE) == 0
    agents[1].terminate()
    assert agents[1].wait(_PATIENCE) == 0
