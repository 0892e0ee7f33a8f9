"""`actors run` and `actors serve`: the foreground process, its control socket and what it answers."""

__all__: list[str] = []
