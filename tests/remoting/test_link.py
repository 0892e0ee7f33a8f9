"""A link and what arrives over it that nobody here wants."""

import os
from typing import Any

import pytest

from actors._remoting.link import Link
from actors._remoting.operation import Handlers


@pytest.mark.parametrize("message", [[20, "no such note", []], [20], ["of another shape", 1, 2, 3]])
def test_descriptors_that_nobody_here_wants_are_closed(message: list[Any]) -> None:
    link = Link.__new__(Link)
    link.serves = Handlers()  # nothing
    fds = list(os.pipe())
    with pytest.raises((KeyError, ValueError)):
        link._receive_fds(message, fds)
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
