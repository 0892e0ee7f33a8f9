"""The version of this package; looked up when it is asked for, because that takes a while."""

__all__ = ["installed_version"]


def installed_version() -> str:
    """Return the version, or "from a checkout" where the package is not installed."""
    from importlib import metadata  # noqa: PLC0415 - see above

    try:
        return metadata.version("actors-framework")
    except metadata.PackageNotFoundError:
        return "from a checkout"
