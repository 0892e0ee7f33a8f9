"""`sticky_id`: new ids that bring their clients back to the node that makes them."""

from __future__ import annotations

from actors._base.errors import NoSystem
from actors._system.system import access_of, current
from actors.routing import NotSticky, new_owned_id

__all__ = ["sticky_id"]


def sticky_id() -> str:
    """Make an id that belongs to this node: under the policy `Sticky` connections with it come here.

    For protocols that hand an id to the client in the body of a response, so that the router does not
    see it; the client then sends it as what the key of the listener is made of. A restarted node keeps
    the ids of the one before. With one node more about 1/n of them move.

    Returns:
        22 random letters, digits, `-` and `_`, made of 128 random bits; with n nodes one in n of those is left.

    Raises:
        NotSticky: the code that calls this does not run on a node that serves a listener with that policy.
    """
    try:
        access = access_of(current())
    except NoSystem as error:
        raise NotSticky("this code runs in no system") from error
    return new_owned_id(*access.sticky_slots())
