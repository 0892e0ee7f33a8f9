"""`python -m benchmarks._sticky`: the CPU time that a sticky policy adds to a connection, over all processes.

Two figures: beyond the default policy, under which each node accepts for itself, and beyond a policy of the
user's, under which the parent accepts and hands over without looking for a key.
"""

from benchmarks._handoff import LEAST, microseconds
from benchmarks.ours._figures import figure


def main() -> None:
    """Measure the three ways one after the other."""
    used = {
        policy: microseconds(policy, handler="asgi")[1]
        for policy in ("least-connections", "own", "sticky=cookie:sid")
    }
    sticky = used["sticky=cookie:sid"]
    for called, policy in (("least-connections", "least-connections"), ("a hand-over", "own")):
        figure("CPU us a connection", f"sticky, beyond {called}", max(sticky - used[policy], LEAST))


if __name__ == "__main__":
    main()
