"""The version of this package; looked up when it is asked for, because that takes a while."""

__all__ = ["installed_version", "which_twins"]


def installed_version() -> str:
    """Return the version, or "from a checkout" where the package is not installed."""
    from importlib import metadata  # noqa: PLC0415 - see above

    try:
        return metadata.version("actors-framework")
    except metadata.PackageNotFoundError:
        return "from a checkout"


def which_twins() -> str:
    """Return whether this process runs the C extensions, or why it does without."""
    from actors._extensions import not_loaded  # noqa: PLC0415 - see above

    why = not_loaded()
    return f"Python code only: {why}" if why else "C extensions"
