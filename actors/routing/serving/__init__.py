"""The node's side: what a connection becomes once it has been handed over."""

__all__: list[str] = []
