"""How the connections of a listener are distributed over its nodes: the `policy` of `listen`.

`LeastConnections` (the default), `RoundRobin` and `Sticky` choose a node for each connection, in the
parent. Under `ReusePort` and `SharedListener` the kernel chooses, which is cheaper; the documentation of
each lists its drawbacks. A `Policy` of your own is a pure function over `Snapshot` of the nodes::

    actors.listen(handle, "0.0.0.0:8000", policy=actors.policies.ReusePort())
"""

from actors.routing import (
    LeastConnections,
    Policy,
    ReusePort,
    RoundRobin,
    SharedListener,
    Snapshot,
    Sticky,
)

__all__ = [
    "LeastConnections",
    "Policy",
    "ReusePort",
    "RoundRobin",
    "SharedListener",
    "Snapshot",
    "Sticky",
]
