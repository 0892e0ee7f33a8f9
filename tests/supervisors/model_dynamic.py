"""What dynamic supervisors must do, said plainly: as `model`, but for children with nothing in common."""

from __future__ import annotations

from typing import Any

from tests.supervisors.model import Static
from tests.supervisors.plain import INF, SETTLED, Leaf, Life, Plain, Row, Spec, Sup, comes_back


class Dynamic(Sup):
    def open(self) -> Life:
        yield from ()

    def serve(self) -> Life:
        yield (lambda: self.verdict), INF

    def close(self) -> Life:
        asked = [row for row in self.rows.values() if row.run and row.state != "STARTING"]
        for row in list(self.rows.values()):
            if row.run is None:
                self.settle(row, "SHUTDOWN")
            elif row.state == "RUNNING" and not self.over():
                row.state = "STOPPING"
                row.run.stop() if row.spec.grace > 0 else row.run.kill()
        until = self.world.now + max((row.spec.grace for row in asked), default=0)
        yield (lambda: self.over() or not any(row.run for row in asked)), until
        for row in asked:
            if row.run and not self.over():
                row.run.kill()
        yield (lambda: self.over() or not any(row.run for row in asked)), INF

    def heard(self, run: Any) -> None:
        row = self.rows.get(run.spec.name)
        if row and row.run is run and row.state == "RUNNING":
            self.fell(row)
        elif row and row.run is run and row.state == "STOPPING":
            self.settle(row, run.exit)

    def fell(self, row: Row) -> None:
        how, free = row.run.exit, self.host(row) != "up"
        self.ended(row)
        if comes_back(row.spec.restart, how) and not self.verdict:
            row.state, row.halt = "RESTARTING", False
            self.world.spawn(self.revive(row, how, free))
        else:
            self.settle(row, how)

    def revive(self, row: Row, how: str, free: bool) -> Life:
        while True:
            price = self.price(row, how, free)
            if isinstance(price, str):
                return self.settle(row, price)
            if end := (yield from self.wait_for_turn(row, price)):
                return self.settle(row, end)
            outcome = yield from self.attempt(row, 1)
            if outcome == "READY" and row.run.exit:
                self.fell(row)
            elif outcome in ("IGNORED", "HALTED"):
                self.settle(row, SETTLED[outcome])
            if outcome != "FAILED":
                return None
            how, free = "CRASHED", False

    def wait_for_turn(self, row: Row, delay: float) -> Life:
        row.due = self.world.now + delay if delay else None
        row.state = "BACKING_OFF" if delay else "RESTARTING"
        yield (lambda: row.halt or self.verdict), row.due or self.world.now
        if self.host(row) == "down" and not row.halt and not self.verdict:
            row.state, row.due = "WAITING_NODE", None
            yield (lambda: row.halt or self.verdict or self.host(row) != "down"), INF
        lost = "NODE_DOWN" if self.host(row) == "lost" else ""
        return "SHUTDOWN" if row.halt or self.verdict else lost

    def call(self, verb: str, spec: Spec, answer: list[str]) -> None:
        row = self.rows.get(spec.name)
        if verb in ("restart_child", "delete_child"):
            answer.append("NotSupported")
        elif self.verdict:
            answer.append("SupervisorStopped")
        elif verb == "stop_child":
            if row:
                self.world.spawn(self.stop_child(row, answer))
            else:
                answer.append("NotFound")
        elif row:
            held = row.run and not row.restarting
            answer.append("AlreadyStarted" if held else "AlreadyPresent")
        elif self.spec.room is not None and len(self.rows) >= self.spec.room:
            answer.append("MaxChildren")
        else:
            row = self.rows[spec.name] = Row(spec)
            self.world.spawn(self.start_child(row, answer))

    def start_child(self, row: Row, answer: list[str]) -> Life:
        answer.append((yield from self.begin(row)))
        if row.run and row.run.exit:
            self.fell(row)

    def stop_child(self, row: Row, answer: list[str]) -> Life:
        row.halt = True
        if row.run and row.state == "RUNNING":
            yield from self.take_out(row)
        yield (lambda: not row.living), INF
        answer.append("None")


def plain_world() -> Plain:
    """Return a world in which supervisors of both sorts can be made."""
    world = Plain()
    world.make = (Leaf, Static, Dynamic)
    return world
