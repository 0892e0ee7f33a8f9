"""Runs cells in a real Jupyter kernel, by nbclient."""

from __future__ import annotations

import re
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

__all__ = ["Notebook"]

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class Notebook:
    """A notebook, made of cells that are run one after the other in one kernel."""

    def __init__(self, *cells: str) -> None:
        made: Any = nbformat.v4
        book = made.new_notebook(cells=[made.new_code_cell(cell) for cell in cells])
        client = NotebookClient(book, timeout=120, allow_errors=True, kernel_name="python3")
        client.execute()
        self.said: list[str] = [_text(cell) for cell in book.cells]
        """What each cell has shown: its output, or the last lines of its error."""


def _text(cell: nbformat.NotebookNode) -> str:
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text if output.name == "stdout" else "")
        elif output.output_type == "error":
            parts.append(_COLOURS.sub("", f"{output.ename}: {output.evalue}"))
        else:
            parts.append(output.data["text/plain"])
    return "".join(parts).strip()
