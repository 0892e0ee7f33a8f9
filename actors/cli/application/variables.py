"""``${NAME}`` and ``${NAME:-default}`` in the text of an application file.

Rule 1: only values have variables, not keys; a default is taken where the variable is not set or is empty.
Rule 2: ``$$`` is a dollar sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from actors._system.application import BadField, FromVariable, Path

__all__ = ["MissingVariable", "expanded"]

_VARIABLE: Final = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}|)")


class MissingVariable(BadField):
    """A variable is not set, and has no default."""


def expanded(value: Any, environ: Mapping[str, str], path: Path = ()) -> Any:
    """Return *value* with its variables replaced, in lists and tables too.

    Raises:
        BadField: a variable is not set and has no default, or a dollar sign begins neither.
    """
    if isinstance(value, dict):
        return {key: expanded(item, environ, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [expanded(item, environ, (*path, number)) for number, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replacement(match: re.Match[str]) -> str:
        name = match["name"]
        if match[0] == "$$":
            return "$"
        if name is None:
            raise BadField(path, f"a variable is ${{NAME}}, and $$ a dollar sign; got {value!r}")
        found = environ.get(name) or match["default"]
        if found is None:
            told = "is empty" if name in environ else "is not set"
            raise MissingVariable(
                path, f"the variable {name} {told}; ${{{name}:-something}} has a default"
            )
        return found

    return FromVariable(_VARIABLE.sub(replacement, value))
