"""Help, version, and commands and options that do not exist."""

import os
import subprocess
import sys

import pytest

from actors._extensions import not_loaded
from actors.cli import main
from actors.cli._parser import COMMANDS


@pytest.mark.parametrize(
    "arguments,message",
    [
        (
            ["rnu"],
            (
                f"actors: error: there is no command 'rnu'; the commands are {', '.join(COMMANDS)}; "
                "did you mean 'run'?"
            ),
        ),
        (
            ["zzzzz"],
            f"actors: error: there is no command 'zzzzz'; the commands are {', '.join(COMMANDS)}",
        ),
        ([], "actors: error: the following arguments are required: COMMAND (see `actors --help`)"),
        (
            ["serve"],
            "actors serve: error: the following arguments are required: APP (see `actors serve --help`)",
        ),
        (
            ["run", "a:b", "--nods", "web=2"],
            (
                "actors run: error: `actors run` does not take '--nods web=2' "
                "(see `actors run --help`)"
            ),
        ),
        (
            ["top", "--rows", "x"],
            "actors top: error: argument --rows: invalid int value: 'x' (see `actors top --help`)",
        ),
    ],
)
def test_what_it_does_not_know_is_named_in_one_line_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{message}\n")


def test_help_names_every_command_and_what_the_exit_codes_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    words = (
        "run",
        "serve",
        "ps",
        "tree",
        "top",
        "events",
        "stack",
        "spawn",
        "scale",
        "stop",
        "kill",
    )
    for word in (*words, "exit codes:", "130"):
        assert word in text
    assert main(["serve", "--help"]) == 0
    assert "--sticky KEY" in capsys.readouterr().out


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("actors-framework ")


@pytest.mark.parametrize(
    "switch,said", [("0", "Python code only: ACTORS_SPEEDUPS is 0"), ("1", "C extensions")]
)
def test_the_version_says_whether_c_extensions_run(switch: str, said: str) -> None:
    if switch == "1" and not_loaded():
        pytest.skip(not_loaded())
    command = [sys.executable, "-m", "actors", "--version"]
    environment = os.environ | {"ACTORS_SPEEDUPS": switch}

    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert run.stdout.splitlines()[1:] == [said]


def test_importing_actors_does_not_import_the_command_line() -> None:
    code = "import sys, actors; print([m for m in sys.modules if m in ('argparse', 'actors.cli')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
