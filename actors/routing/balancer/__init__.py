"""The parent's side: accept, peek, choose a node by the policy, hand the connection over."""

__all__: list[str] = []
