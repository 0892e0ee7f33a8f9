"""The reference has every public name, each with a docstring and with an example that runs."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from tests.docs.pages import ROOT, blocks

MODULES: Final = (
    "actors",
    "actors.channels",
    "actors.dashboard",
    "actors.errors",
    "actors.faults",
    "actors.joblib",
    "actors.keys",
    "actors.policies",
    "actors.pytest_plugin",
    "actors.socketio",
    "actors.testing",
)
REFERENCE: Final = ROOT / "docs" / "reference"

_DIRECTIVE: Final = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def found(name: str) -> Any:
    """Return what the full name of a directive names."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


@cache
def pages() -> dict[str, Path]:
    """Return the page of each name that the reference shows."""
    return {
        name: page
        for page in sorted(REFERENCE.glob("*.md"))
        for name in _DIRECTIVE.findall(page.read_text(encoding="utf-8"))
    }


def public_names() -> list[str]:
    """Return the names to be shown: one for each object, the first by which a program can import it."""
    names: dict[int, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType):
                names.setdefault(id(value), f"{module_name}.{name}")
    return sorted(names.values())


def shown_as(name: str) -> str | None:
    """Return the name under which the reference shows what *name* is."""
    value = found(name)
    return next((shown for shown in pages() if found(shown) is value), None)


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_is_in_the_reference_with_an_example_on_its_page(name: str) -> None:
    shown = shown_as(name)

    assert shown is not None, f"add `::: {name}` to a page of docs/reference"
    page = pages()[shown]
    short = name.rpartition(".")[2]
    code = "\n".join(block.text for block in blocks(page) if block.language == "python")
    assert re.search(rf"\b{short}\b", code), f"no python block of {page.name} uses {short}"


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_and_its_public_methods_have_docstrings(name: str) -> None:
    value = found(name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return  # a value or an alias, whose docstring stands below it in its file
    own: list[Any] = [value]
    if inspect.isclass(value):
        parts = [part for key, part in vars(value).items() if not key.startswith("_")]
        own += [part for part in parts if inspect.isfunction(part) or isinstance(part, property)]

    silent = [part for part in own if not inspect.getdoc(part)]

    assert silent == []


@pytest.mark.parametrize("name", sorted(pages()))
def test_every_name_of_the_reference_is_there(name: str) -> None:
    assert found(name) is not None
