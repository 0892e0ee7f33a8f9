"""Big blocks in a process of the system's own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource
from actors._base.allocator import keep_big_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        blocks = [bytes(size) for size in (65_536, 100_000, 65_536)]
        for number, block in enumerate(blocks):
            blocks[number] = block.replace(b"\\0", b"x")
        del blocks, block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_big_blocks()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="as glibc does it")
def test_a_block_that_is_made_again_and_again_takes_no_page_faults() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100  # of some 10,000 pages
