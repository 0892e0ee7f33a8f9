"""How the connections of a listener are distributed over its nodes: the `policy` of `listen`.

Under `LeastConnections` (the default) and `RoundRobin` the nodes accept from one socket, in turn. Under
`Sticky` the parent accepts and chooses a node for each connection, as it does under a `Policy` of your
own, a pure function over `Snapshot` of the nodes. Under `ReusePort` the kernel chooses; its documentation
lists what that costs::

    actors.listen(handle, "0.0.0.0:8000", policy=actors.policies.ReusePort())
"""

from actors.routing import (
    LeastConnections,
    Policy,
    ReusePort,
    RoundRobin,
    Snapshot,
    Sticky,
)

__all__ = [
    "LeastConnections",
    "Policy",
    "ReusePort",
    "RoundRobin",
    "Snapshot",
    "Sticky",
]
