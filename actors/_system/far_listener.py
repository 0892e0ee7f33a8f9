"""What a listener may not have whose nodes are on other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors._base.errors import InvalidSpec
from actors.routing import InheritedSocket, learns, passes_on

if TYPE_CHECKING:
    from actors.routing import Listener

__all__ = ["check_far_listener"]


def check_far_listener(spec: Listener) -> None:
    """Refuse a listener that other machines cannot have.

    Raises:
        InvalidSpec: naming what they do not have.
    """
    what = f"Topology: listen({spec.address!r}, nodes={spec.nodes!r})"
    if isinstance(spec.where, InheritedSocket):
        raise InvalidSpec(
            f"{what}: its nodes are on other machines, which have no socket that this process has inherited"
        )
    if passes_on(spec) and learns(spec.policy):
        raise InvalidSpec(
            f"{what}: which keys an application has made is not told to other machines: "
            f'{spec.policy} with learn=0 and sticky_id(), or across="serve"'
        )
    module, _, name = spec.path.partition(":")
    if module == "__main__":
        raise InvalidSpec(
            f"{what}: {name!r} is in the file that was started, which stays on its machine: put it in a "
            "module that the other ones have, too"
        )
