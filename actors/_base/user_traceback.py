"""What an error that came from a node says to the user: the traceback over there, without our own frames."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from actors.transport import RemoteTraceback

__all__ = ["is_ours", "users_part"]

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"
_FRAME: Final = re.compile(r'^ *File "([^"]+)"')
_BETWEEN: Final = re.compile(r"\n\n(?=The above exception|During handling)")


def users_part(error: BaseException) -> str:
    """Return where *error* was raised on its node, or nothing if no code of the user had to do with it."""
    texts: list[str] = []
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        if isinstance(cause, RemoteTraceback):
            texts.append(cause.text)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    # Each text holds those of its causes: the first is the whole.
    blocks = _BETWEEN.split(texts[0].rstrip("\n")) if texts else []
    kept = [block for block in map(_trimmed, blocks) if block]
    return "\n\n".join(kept)


def _trimmed(block: str) -> str:
    """Return one traceback without frames that are not the user's, or nothing if none is."""
    kept: list[str] = []
    frames = 0
    ours = False
    for line in block.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            ours = is_ours(frame[1])
            frames += not ours
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) if frames else ""


def is_ours(file: str) -> bool:
    """Return whether *file* is of this framework, of the import machinery, or no file at all."""
    return file.startswith((_PACKAGE, "<")) or file.endswith("/importlib/__init__.py")
