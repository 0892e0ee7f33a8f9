"""The pages of the documentation, read for what can be run: their fenced blocks, as programs.

A python block may use what the python blocks above it on the page define, as if all of them had been
pasted into one file. A text block right below it says what it prints; without one it prints nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_FENCE: Final = "```"
_ENTRY: Final = re.compile(r"^(?:async )?def (main|test_\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the line of the page its text begins on, its title."""

    language: str
    text: str
    line: int
    title: str = ""


@dataclass(frozen=True)
class Program:
    """One python block, to be run.

    Attributes:
        source: the page up to the end of this block, with everything blanked that is not python,
            so that a traceback names the lines of the page.
        line: where the block begins.
        prints: what the page says that it prints.
        entries: the functions of the block that are to be run: `main`, and tests.
    """

    source: str
    line: int
    prints: str
    entries: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of *page* that name a language."""
    found: list[Block] = []
    language, title, begin, inside = "", "", 0, False
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.startswith(_FENCE):
            continue
        if inside and language:
            text = "".join(lines[begin : number - 1])
            found.append(Block(language, text, begin + 1, title.strip(' "')))
        language, _, title = line.strip("`\n ").partition(" title=")
        inside, begin = not inside, number
    assert not inside, f"{page.name}: the block that begins on line {begin} has no end"
    return found


def programs(page: Path) -> list[Program]:
    """Return the python blocks of *page* in order, each with those above it."""
    found: list[Program] = []
    source = ""
    of_page = blocks(page)
    for block, after in zip(of_page, [*of_page, None][1:], strict=True):
        if block.language != "python":
            continue
        source += "\n" * (block.line - 1 - source.count("\n")) + block.text
        prints = after.text if after is not None and _is_output(block, after) else ""
        found.append(Program(source, block.line, prints, tuple(_ENTRY.findall(block.text))))
    return found


def _is_output(block: Block, after: Block) -> bool:
    """Whether only the two fences and an empty line are between them."""
    return after.language == "text" and after.line == block.line + block.text.count("\n") + 3
