"""What is left at the end of the interpreter is released without a word."""

from pathlib import Path

from tests.scripts import run

LEFT = """
    import os, sys, threading, time
    from actors.transport import Buffer, SegmentPool, SharedBuffer, endpoint_pair

    def keep_modules():
        modules = list(sys.modules.values())
        time.sleep(600)

    threading.Thread(target=keep_modules, daemon=True).start()
    while "modules" not in sys._current_frames()[threading.enumerate()[-1].ident].f_locals:
        time.sleep(0.01)

    # Modules that somebody still uses lose their names, the youngest first: those of `os` go late.
    pool = SegmentPool()
    lease = pool.lease(memoryview(bytes(100_000)), "peer")
    os.left = [endpoint_pair(), SharedBuffer(100), Buffer(100_000), pool, lease]
    print("at the end")
"""


def test_what_is_left_at_the_end_of_the_interpreter_is_released_silently(tmp_path: Path) -> None:
    assert run(tmp_path / "left.py", LEFT) == (0, "at the end\n", "")
