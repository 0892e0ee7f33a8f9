"""Whether an actor that was looked up is of the class that its asker expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_origin

from actors.nodes import class_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_class"]


def check_class(what: str, path: str, expected: Any, find: Callable[[], type | None]) -> None:
    """Refuse an actor of another class; a subclass of the *expected* one is fine.

    Args:
        what: the actor or pool, for the error.
        path: its class as "module:qualname"; "" for a pool of functions.
        expected: a class, perhaps with type parameters.
        find: returns that class, if this process has it.

    Raises:
        TypeError: naming both classes, or that *expected* is no class.
    """
    cls = get_origin(expected) or expected
    if not isinstance(cls, type):
        raise TypeError(f"lookup of {what}: cls must be a class of actors, got {expected!r}")
    wanted = class_path(cls)
    if path == wanted:
        return
    if not path:
        raise TypeError(f"{what} runs functions, it has no members of {wanted}")
    found = find()
    if found is None:
        raise TypeError(
            f"{what} is of {path}, which is not imported here: whether that is a {wanted} is unknown"
        )
    if not issubclass(found, cls):
        raise TypeError(f"{what} is of {path}, not of {wanted}")
