"""Commands that ask a running system over its control socket and print what it answers."""

__all__: list[str] = []
