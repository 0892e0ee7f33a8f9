"""Which values can be sent: scalars, classes with a schema, exceptions, arrays, types that users register."""

__all__: list[str] = []
