"""Writes TOML: tables of tables with their names, and in them one key a line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["as_toml", "toml_key"]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_TOML: Final = re.compile("\x7f")


def as_toml(tables: Mapping[str, Any]) -> str:
    """Return tables of tables as TOML; what is not a table comes first."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    parts = [_keys(plain)] if plain else []
    for name, content in tables.items():
        if isinstance(content, dict):
            parts += _table(toml_key(name), content, names=True)
    return "\n".join(parts)


def _table(name: str, content: Mapping[str, Any], *, names: bool) -> list[str]:
    """Return a table; if its keys are *names*, each of them is a table with a header of its own."""
    if not (names and content and all(isinstance(value, dict) for value in content.values())):
        return [f"[{name}]\n{_keys(content)}"]
    found: list[str] = []
    for key, inner in content.items():
        found += _table(f"{name}.{toml_key(key)}", inner, names=False)
    return found


def _keys(content: Mapping[str, Any]) -> str:
    return "".join(f"{toml_key(key)} = {_value(value)}\n" for key, value in content.items())


def toml_key(name: str) -> str:
    """Return a name as a key of TOML, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return _NOT_IN_TOML.sub(r"\\u007f", json.dumps(text, ensure_ascii=False))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return str(value)
