"""How docstrings become Markdown for the reference: examples are fenced, names in backticks are links.

In a docstring an example is an indented block below a line that ends with two colons.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Final

import griffe

REFERENCE: Final = Path(__file__).parent / "reference"

_DIRECTIVE: Final = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
_EXAMPLE: Final = re.compile(r"^( *)(.*)::\n((?:\n|\1 +.*(?:\n|$))+)", re.MULTILINE)
_NAME: Final = re.compile(r"(?<![`\w\[])`([A-Za-z_][\w.]*)(\(\))?`(?!`)")


def documented() -> list[str]:
    """Return the full names of all objects that the pages of the reference show."""
    pages = sorted(REFERENCE.glob("*.md"))
    return [name for page in pages for name in _DIRECTIVE.findall(page.read_text(encoding="utf-8"))]


def links() -> dict[str, str]:
    """Return the anchor of each name that a docstring may call by a short name, such as `Ref.ask`."""
    found: dict[str, str] = {}
    for full in documented():
        module, _, name = full.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        for short in (name, f"{module.removeprefix('actors').lstrip('.')}.{name}", full):
            found.setdefault(short.lstrip("."), full)
        if isinstance(value, type):
            for part, member in vars(value).items():
                if not part.startswith("_") and getattr(member, "__doc__", None):
                    found.setdefault(f"{name}.{part}", f"{full}.{part}")
                    found.setdefault(f"{full}.{part}", f"{full}.{part}")
    return found


def fence_examples(text: str) -> str:
    """Return *text* with its indented examples as fenced blocks."""

    def fenced(found: re.Match[str]) -> str:
        indent, before, example = found.groups()
        lines = example.strip("\n").splitlines()
        depth = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        body = "\n".join(f"{indent}{line[depth:]}".rstrip() for line in lines)
        return f"{indent}{before}:\n\n{indent}```python\n{body}\n{indent}```\n\n"

    return _EXAMPLE.sub(fenced, text)


class Docstrings(griffe.Extension):
    """Prepares each docstring of the package."""

    def __init__(self) -> None:
        super().__init__()
        self._links = links()

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace the text of the docstring of *obj*."""
        if obj.docstring is not None:
            own = obj.path
            text = fence_examples(obj.docstring.value)
            obj.docstring.value = _NAME.sub(lambda found: self._link(found, own), text)

    def _link(self, found: re.Match[str], own: str) -> str:
        target = self._links.get(found[1])
        if target is None or own.endswith(f".{found[1]}"):
            return found[0]
        return f"[{found[0]}][{target}]"
