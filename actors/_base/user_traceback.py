"""The remote traceback of an error from a node, without the frames of this framework, for its user."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import re
from pathlib import Path
from typing import Final, TypeVar

import anyio

from actors.transport import RemoteTraceback, attach_text, drop_frames, keep_text, traceback_text

__all__ = ["is_ours", "only_user_frames", "user_frames", "user_part"]

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"
_BENEATH: Final = (
    *(
        f"{Path(file).parent}{os.sep}"
        for file in (anyio.__file__, asyncio.__file__, concurrent.futures.__file__)
    ),
    contextlib.__file__,
)
"""What this framework runs on: where only its frames are left beside ours, none is the user's."""
_FRAME: Final = re.compile(r'^ *File "([^"]+)"')
_GROUP: Final = re.compile(r"^ +\| ?")
"""What stands before each line of the traceback of an exception group."""
_QUOTES: Final = re.compile(r'^(?:[\w.]*RemoteTraceback: ?|""")$\n?', re.MULTILINE)
"""What stands around the text of a traceback that is the cause of another, to any depth."""
_BETWEEN: Final = re.compile(r"\n\n(?=The above exception|During handling)")
_CONNECTION: Final = re.compile(r"^(?:The above exception|During handling)[^\n]*\n\n")

E = TypeVar("E", bound=BaseException)


def user_part(error: BaseException) -> str:
    """Return the remote traceback of *error* without our frames; empty if no frame is the user's."""
    # Each text includes those of its causes, so the first is complete.
    texts = [link.text for link in _chain(error) if isinstance(link, RemoteTraceback)]
    return user_frames(texts[0]) if texts else ""


def only_user_frames(error: E) -> E:
    """Return *error* with the user's frames of all its causes as one text, the first cause, and no other frame.

    The causes stay. Without a frame of the user there is no text.
    """
    text = user_frames(traceback_text(error))
    drop_frames(error)
    for link in _chain(error):
        if isinstance(link.__cause__, RemoteTraceback):
            link.__cause__ = None
    if text:
        attach_text(error, f"{text}\n")
        # Whoever drops the frames of one of the causes later has no other text to add.
        for link in _chain(error):
            keep_text(link, f"{text}\n")
    return error


def _chain(error: BaseException) -> list[BaseException]:
    """Return *error* and its causes, from the last raised to the first."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is one for one in links):
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def user_frames(text: str) -> str:
    """Return the text of a traceback without our frames; empty if no frame is the user's."""
    parts = _BETWEEN.split(_QUOTES.sub("", text).rstrip("\n"))
    # The text of an error that went through several hands has that of its cause more than once.
    blocks: dict[str, str] = {}
    for block in filter(None, map(_trimmed, parts)):
        alone = _CONNECTION.sub("", block)
        # What stands between two tracebacks does not stand before the first.
        blocks.setdefault(alone, block if blocks else alone)
    return "\n\n".join(blocks.values())


def _trimmed(block: str) -> str:
    """Return one traceback without our frames; empty if no frame is the user's."""
    kept: list[str] = []
    frames = 0
    ours = False
    for line in block.splitlines():
        bare = _GROUP.sub("", line)
        frame = _FRAME.match(bare)
        if frame is not None:
            ours = is_ours(frame[1])
            frames += not (ours or frame[1].startswith(_BENEATH))
        elif not bare.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) if frames else ""


def is_ours(file: str) -> bool:
    """Return whether *file* belongs to this framework or to the import machinery, or is not a file."""
    return file.startswith((_PACKAGE, "<")) or file.endswith("/importlib/__init__.py")
