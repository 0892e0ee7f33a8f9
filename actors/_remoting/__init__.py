"""An actor of another node, as seen from here: link, protocol, remote actor, receiver, credit.

Nothing here starts or ends a node.
"""

__all__: list[str] = []
