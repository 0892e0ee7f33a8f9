"""What happens to a look at the system that fails in one place: the other places are shown all the same."""

from __future__ import annotations

from contextlib import contextmanager
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from actors._base.errors import ActorsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["telling_failures"]


@contextmanager
def telling_failures(event: Callable[[str, dict[str, Any]], object], node: str) -> Iterator[None]:
    """Go on behind the block if it fails: *node* has just ended, or else it is the event `look_failed`."""
    try:
        yield
    except ActorsError:
        return  # it has just ended, or does not run yet
    except Exception as error:  # noqa: BLE001 - one node must not hide the others
        why = {"node": node, "error": f"{type(error).__name__}: {error}"}
        event("look_failed", {**why, "traceback": "".join(format_exception(error))})
