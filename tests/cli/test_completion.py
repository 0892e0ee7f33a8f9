"""`actors completion`: what a real bash offers after its script was read."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from actors.cli import completion
from tests.cli.running_command import PATIENCE, Running, environment, error_of, run_here

_OFFER = """
actors() {{ {python} -m actors "$@"; }}
eval "$(actors completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$(({count} - 1))
COMP_LINE={line}
COMP_POINT=${{#COMP_LINE}}
function=$(complete -p actors)
function=${{function#* -F }}
${{function%% *}} actors "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(runtime: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of *words*, the beginning of a word of `actors WORDS`."""
    line = ["actors", *words]
    script = _OFFER.format(
        python=shlex.quote(sys.executable),
        words=shlex.join(line),
        count=len(line),
        line=shlex.quote(" ".join(line)),
    )
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env=environment(runtime),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_offers_commands_options_and_choices(runtime: Path) -> None:
    assert {"run", "serve", "ps", "completion"} <= set(offered(runtime, ""))
    assert offered(runtime, "rel") == ["reload"]
    assert offered(runtime, "serve", "--certf") == ["--certfile"]
    assert offered(runtime, "top", "--sort", "ra") == ["rate"]


def test_bash_offers_the_nodes_of_the_running_system(system: Running) -> None:
    assert {"web/0", "web/1"} <= set(offered(system.runtime, "kill", ""))
    assert offered(system.runtime, "reload", "web/1") == ["web/1"]


def test_without_a_system_no_node_is_offered(runtime: Path) -> None:
    assert offered(runtime, "stack", "web") == []


def test_a_shell_that_has_no_script_is_refused_by_name(runtime: Path) -> None:
    code, out, err = run_here(runtime, "completion", "ksh")

    assert (code, out) == (2, "")
    assert error_of(err, "actors completion").startswith("no shell 'ksh'; there are bash, zsh")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_scripts_that_ask_for_nodes_too(runtime: Path, shell: str) -> None:
    code, out, err = run_here(runtime, "completion", shell)

    assert (code, err) == (0, "")
    assert "actors ps" in out


def test_without_shtab_the_error_names_the_extra(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "shtab", None)

    code, out, err = run_here(runtime, "completion", "bash")

    assert (code, out) == (1, "")
    assert "pip install 'actors-framework[completion]'" in error_of(err, "actors completion")
