"""What the tests of programs under the command line run."""

import sys

from actors import Topology, program

_SAYS = """
import signal, sys, time
print('"one" of many')
print('warned', file=sys.stderr, flush=True)
sys.stdout.write('no newline')
sys.stdout.flush()
signal.pause()
"""
_LEAVES = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve('/bin/sleep', ['sleep', '600'], {})
    os._exit(0)
os.wait()
signal.pause()
"""
_FLOODS = """
import os, time
out = os.fdopen(1, 'wb', 0)
line = b'x' * 99 + b'\\n'
for _ in range(10 * int(os.environ['FLOOD_MB'])):
    out.write(line * 1000)
out.write(b'y' * 200_000 + b'\\n')
while True:  # lines may be dropped while their reader is behind
    out.write(b'done\\n')
    time.sleep(0.1)
"""


def script(source: str) -> list[str]:
    return [sys.executable, "-c", source]


good = Topology(
    children=[
        program("cache", ["/bin/sleep", "600"], max_cpus=1),
        program("api", script(_SAYS), instances=2, port=3000),
    ]
)
leaving = Topology(children=[program("daemon", script(_LEAVES))])
flooding = Topology(children=[program("flood", script(_FLOODS))])
doomed = Topology(children=[program("api", ["/bin/false"], health="tcp://127.0.0.1:9")])
