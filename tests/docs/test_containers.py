"""The Dockerfile of the container guide starts a command that there is, in the form that hears signals."""

from __future__ import annotations

import ast
import json
from typing import Final

from actors.cli._parser import parser
from tests.docs.pages import ROOT, blocks

PAGE: Final = ROOT / "docs" / "guides" / "containers.md"
DOCKERFILE: Final = next(block.text for block in blocks(PAGE) if block.language == "dockerfile")


def command(instruction: str) -> list[str]:
    """Return the words of an instruction in the form that starts no shell."""
    (line,) = [line for line in DOCKERFILE.splitlines() if line.startswith(f"{instruction} ")]
    words: list[str] = json.loads(line.removeprefix("HEALTHCHECK ").removeprefix("CMD "))
    return words


def test_the_command_is_one_of_ours_with_options_that_there_are() -> None:
    program, *arguments = command("CMD")
    options = parser().parse_args(arguments)
    assert program == "actors"
    assert (options.command, options.shutdown) == ("serve", 5.0)


def test_the_health_check_is_a_program_that_asks_where_the_command_answers() -> None:
    python, flag, program = command("HEALTHCHECK")
    assert (python, flag) == ("python", "-c")
    ast.parse(program)
    admin = command("CMD")[command("CMD").index("--admin") + 1]
    assert f"http://{admin}/readyz" in program


def test_the_user_is_a_number_and_the_socket_has_a_folder() -> None:
    assert "USER 10001\n" in DOCKERFILE
    assert "ENV XDG_RUNTIME_DIR=/run\n" in DOCKERFILE
    assert "--tmpfs /run:uid=10001,mode=0700" in PAGE.read_text(encoding="utf-8")
