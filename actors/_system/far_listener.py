"""What a listener may not have whose nodes are on other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors._base.errors import InvalidSpec
from actors.routing import InheritedSocket, Sticky

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
    if isinstance(spec.policy, Sticky) and spec.policy.across == "pass":
        raise InvalidSpec(
            f"{what}: that machines pass connections on to each other is not built: "
            f'Sticky({spec.policy.key}, across="serve") serves each where it came'
        )
    module, _, name = spec.path.partition(":")
    if module == "__main__":
        raise InvalidSpec(
            f"{what}: {name!r} is in the file that was started, which stays on its machine: put it in a "
            "module that the other ones have, too"
        )
