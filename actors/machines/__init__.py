"""One system on many machines: an engine places agents, agents start nodes, leases say who has ended.

Nothing of this package is imported by a system whose nodes are all on one machine.
"""

__all__: list[str] = []
