"""Compiled regular expressions: the text and the flags, compiled again by the receiver."""

import re
from typing import Any, Final

from actors.transport.types.adapters import Adapter, by_reference

__all__ = ["ADAPTERS"]


def _compile(pattern: Any, flags: Any) -> Any:
    return re.compile(pattern, flags & ~re.DEBUG)  # that flag only prints


ADAPTERS: Final[dict[type, Adapter]] = {
    re.Pattern: Adapter(lambda value: (value.pattern, value.flags), _compile, copy=by_reference),
}
