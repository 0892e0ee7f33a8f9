"""What static supervisors must do, said plainly: laws 12, 15 to 23, OTP's rules. See `plain`, too."""

from __future__ import annotations

from typing import Any

from tests.supervisors.plain import INF, SETTLED, Life, Row, Spec, Sup, comes_back

ONE = "ONE_FOR_ONE"
PENDING = ("RESTARTING", "BACKING_OFF", "WAITING_NODE")


class Static(Sup):
    def open(self) -> Life:
        for row in list(self.rows.values()):
            if self.verdict:
                return
            row.living = True
            if self.host(row) == "lost":
                self.settle(row, "NODE_DOWN")
                self.stop("CRASHED")
            elif self.host(row) == "down" or (self.pending() and self.spec.strategy != ONE):
                row.state = "RESTARTING"
            elif (yield from self.begin(row)) == "ChildNotStarted":
                self.stop("CRASHED")

    def serve(self) -> Life:
        while not self.verdict:
            if self.inbox:
                verb, what, answer = self.inbox.pop(0)
                yield from getattr(self, verb)(what, answer)
            elif row := self.next():
                yield from self.bring_up(row)
            else:
                due = min((row.due for row in self.rows.values() if row.due), default=INF)
                yield (lambda: self.verdict or self.inbox or self.next()), due

    def close(self) -> Life:
        for row in reversed(list(self.rows.values())):
            if self.over():
                return
            yield from self.take_out(row)

    def pending(self) -> list[Row]:
        return [row for row in self.rows.values() if row.state in PENDING]

    def next(self) -> Row | None:
        for row in self.pending():
            ripe = row.due <= self.world.now if row.due else self.host(row) != "down"
            if row.state != "RESTARTING" and ripe:
                row.state, row.due = "RESTARTING", None
        turn = self.pending() if self.spec.strategy == ONE else self.pending()[:1]
        return next((row for row in turn if row.state == "RESTARTING"), None)

    def bring_up(self, row: Row) -> Life:
        if self.host(row) == "lost":
            self.finish(row, "NODE_DOWN")
        elif self.host(row) == "down":
            row.state = "WAITING_NODE"
        else:
            yield (lambda: False), self.world.now
            if not self.verdict and not self.inbox:
                yield from self.restart(row)

    def restart(self, row: Row) -> Life:
        if (outcome := (yield from self.attempt(row, 1))) == "FAILED":
            yield from self.fall(row, "CRASHED", free=False)
        elif outcome != "READY":
            self.settle(row, SETTLED[outcome])

    def heard(self, run: Any) -> None:
        run.free = self.host(run) != "up"
        self.inbox.append(("end", run, None))

    def end(self, run: Any, _: None) -> Life:
        row = self.rows.get(run.spec.name)
        if row and row.run is run:
            self.ended(row)
            if comes_back(row.spec.restart, run.exit):
                yield from self.fall(row, run.exit, free=run.free)
            else:
                self.finish(row, run.exit)

    def fall(self, row: Row, how: str, free: bool) -> Life:
        price = self.price(row, how, free)
        if isinstance(price, str):
            return self.finish(row, price)
        self.pend(row, price)
        order = list(self.rows.values())
        after = {ONE: len(order), "ONE_FOR_ALL": 0, "REST_FOR_ONE": order.index(row)}
        for other in reversed(order[after[self.spec.strategy] :]):
            if other.run and not self.verdict:
                own = other.run.exit
                how = yield from self.bring_down(other)
                if own and not comes_back(other.spec.restart, own):
                    self.finish(other, own)
                elif how and other.spec.restart == "TEMPORARY":
                    self.settle(other, how)
                elif how:
                    self.pend(other)

    def pend(self, row: Row, delay: float = 0.0) -> None:
        row.state = "BACKING_OFF" if delay else "RESTARTING"
        row.due = self.world.now + delay if delay else None

    def finish(self, row: Row, how: str) -> None:
        self.settle(row, how)
        more = any(r.spec.significant and (r.run or r.state in PENDING) for r in self.rows.values())
        ends_it = ["ANY_SIGNIFICANT"] if more else ["ANY_SIGNIFICANT", "ALL_SIGNIFICANT"]
        if row.spec.significant and self.spec.auto in ends_it:
            self.stop()

    def call(self, verb: str, spec: Spec, answer: list[str]) -> None:
        row = self.rows.get(spec.name)
        if self.verdict:
            answer.append("SupervisorStopped")
        elif verb == "stop_child" and row is None:
            answer.append("NotFound")
        elif verb == "delete_child":
            answer.append(refusal := self.refusal(row) or "None")
            if refusal == "None":
                del self.rows[spec.name]
        else:
            if row and verb == "stop_child":
                row.halt = True
            self.inbox.append((verb, spec, answer))

    def refusal(self, row: Row | None) -> str:
        if row is None:
            return "NotFound"
        if row.restarting or row.state in PENDING:
            return "ChildRestarting"
        return "ChildRunning" if row.state in ("STARTING", "RUNNING", "STOPPING") else ""

    def start_child(self, spec: Spec, answer: list[str]) -> Life:
        if row := self.rows.get(spec.name):
            held = row.run and not row.restarting
            answer.append("AlreadyStarted" if held else "AlreadyPresent")
            return
        row = self.rows[spec.name] = Row(spec)
        answer.append((yield from self.begin(row)))
        if answer[0] in ("ChildNotStarted", "SupervisorStopped"):
            self.rows.pop(spec.name, None)

    def stop_child(self, spec: Spec, answer: list[str]) -> Life:
        if row := self.rows.get(spec.name):
            yield from self.take_out(row)
        answer.append("None")

    def restart_child(self, spec: Spec, answer: list[str]) -> Life:
        refusal = self.refusal(self.rows.get(spec.name))
        answer.append(refusal or (yield from self.begin(self.rows[spec.name])))
