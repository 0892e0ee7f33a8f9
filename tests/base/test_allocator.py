"""Big blocks in a process of the system's own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from actors._base.allocator import keep_big_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(int(sys.argv[2])):
        blocks = [bytes(size) for size in eval(sys.argv[1])]
        for number, block in enumerate(blocks):
            blocks[number] = block.replace(b"\\0", b"x")
        del blocks, block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_big_blocks()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="as glibc does it")
@pytest.mark.parametrize(
    "sizes, times",
    [("(65_536, 100_000, 65_536)", "100"), ("[1_000_000] * 50", "2"), ("[20_000_000] * 2", "2")],
    ids=["a few messages", "a mailbox full of them", "big ones"],
)
def test_blocks_that_are_made_again_and_again_take_no_page_faults(sizes: str, times: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, sizes, times], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 200  # of 5,000 pages and more


def test_what_makes_malloc_keep_them_takes_no_memory() -> None:
    program = "import resource; from actors._base.allocator import keep_big_blocks\n"
    program += "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    program += "before = peak(); keep_big_blocks(); print(peak() - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1024  # KiB
