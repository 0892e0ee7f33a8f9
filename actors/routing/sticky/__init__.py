"""Where a connection's key comes from: parsers of first bytes. None of them reads a socket."""

__all__: list[str] = []
