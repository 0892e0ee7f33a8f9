"""How a node is watched while it runs: heartbeat, stacks, samples, stats."""

__all__: list[str] = []
