"""What a page says that a command prints, compared with what it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tests.docs.pages import Block

GAP: Final = "…"
"""Stands for anything: alone on a line for any lines, in a line for any text."""

_NUMBER: Final = re.compile(r"\d[\dT:.Z-]*")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def plain(line: str) -> str:
    """Return *line* without what differs from run to run: numbers, and the widths of columns."""
    return " ".join(_NUMBER.sub("N", _COLOUR.sub("", line)).split())


def shows(page: list[str], printed: list[str]) -> bool:
    """Whether *printed* is what the page shows, where a gap stands for anything."""
    whole = "".join(f"{plain(line)}\n" for line in printed)
    parts = []
    for line in map(plain, page):
        any_lines = line == GAP
        parts.append(r"(?:.*\n)*" if any_lines else re.escape(line).replace(GAP, ".*") + "\n")
    return re.fullmatch("".join(parts), whole) is not None


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Give each command of a block, and what the page says it prints."""
    line, said = "", list[str]()
    for text in [*block.text.splitlines(), "$ "]:
        if not text.startswith("$ "):
            said.append(text)
            continue
        if line:
            yield line, said
        line, said = text.removeprefix("$ "), []
