"""Messages between nodes: links, their protocol, remote actors, receivers and flow control by credit.

Nothing here starts or ends a node.
"""

__all__: list[str] = []
