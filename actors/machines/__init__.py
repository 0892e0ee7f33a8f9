"""One system on many machines: an engine places agents, agents start nodes, leases say who has ended.

Nothing of this package is imported by a system whose nodes are all on one machine.
"""

from actors.machines.engine import Engine, Gone, Join, Placed, Reach, Want

__all__ = ["Engine", "Gone", "Join", "Placed", "Reach", "Want"]
