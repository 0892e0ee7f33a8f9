"""Which values travel: scalars, classes with a schema, exceptions, arrays, what users register."""

__all__: list[str] = []
