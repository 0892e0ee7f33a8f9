"""How the connections of a listener are shared out: the `policy` of `listen`.

`LeastConnections` (the default), `RoundRobin` and `Sticky` choose a node for each connection, in the
parent. Under `ReusePort` and `SharedListener` the kernel chooses: cheaper, and with a price that each
states. A `Policy` of your own is a pure function over `Snapshot` of the nodes::

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
