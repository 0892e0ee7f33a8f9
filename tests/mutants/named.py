"""Mutants by name: mistakes that somebody could make, each with the tests that have to notice it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

__all__ = ["NAMED"]

_CREDIT: Final = ("tests/remoting/test_credit.py",)
_ACKS: Final = ("tests/routing/test_acknowledgements.py", "tests/routing/test_router.py")
_DISPATCH: Final = ("tests/routing/test_dispatch.py", "tests/routing/test_router.py")
_HAND_OFF: Final = ("tests/soak/test_hand_off.py", "-m", "soak", "-k", "taken_by_a_node")
_RECEIVER: Final = "actors/_remoting/receiver.py"
_CREDIT_RETURN: Final = "actors/_remoting/credit_return.py"
_REMOTE_ACTOR: Final = "actors/_remoting/remote_actor.py"
_BATCHER: Final = "actors/routing/serving/acknowledgements.py"
_TABLE: Final = "actors/routing/balancer/dispatch.py"

NAMED: Final = [
    # -- credit ---------------------------------------------------------------------------
    Mutant(
        "a sender gets more places than the mailbox has",
        _REMOTE_ACTOR,
        "min(self.credit + messages, self.ref.mailbox)",
        "self.credit + messages",
        _CREDIT,
    ),
    Mutant(
        "every 40th message gives no place back",
        _CREDIT_RETURN,
        "        self.taken += 1\n",
        "        _flush.seen = getattr(_flush, 'seen', 0) + 1\n"
        "        if _flush.seen % 40 == 0:\n            return\n        self.taken += 1\n",
        _CREDIT,
    ),
    Mutant(
        "the third place of a turn is not given back",
        _CREDIT_RETURN,
        "given_back = [taken, size] if size else [taken]\n",
        "given_back = [min(taken, 2), size] if size else [min(taken, 2)]\n",
        _CREDIT,
    ),
    Mutant(
        "a message gives two places back",
        _CREDIT_RETURN,
        "        self.taken -= taken\n",
        "        self.taken -= taken\n        taken *= 2\n",
        _CREDIT,
    ),
    Mutant(
        "a big message gives no bytes back",
        _CREDIT_RETURN,
        "        self.bytes += size\n",
        "        pass\n",
        _CREDIT,
    ),
    Mutant(
        "a tell that nobody handles gives no place back",
        _RECEIVER,
        "        credit.on_dropped()\n",
        "",
        _CREDIT,
    ),
    Mutant(
        "an ask keeps its place",
        _REMOTE_ACTOR,
        "            self.credit += 1\n            if self.wait_queue.waiting:",
        "            if self.wait_queue.waiting:",
        _CREDIT,
    ),
    # -- a link that is reset -------------------------------------------------------------
    Mutant(
        "up to three lost tells are not reported when a link is reset",
        _REMOTE_ACTOR,
        "        if unacknowledged > 0:",
        "        if unacknowledged > 3:",
        _CREDIT,
    ),
    Mutant(
        "one lost tell too few is reported when a link is reset",
        _REMOTE_ACTOR,
        "lost_tells(self.ref, unacknowledged, why.why)",
        "lost_tells(self.ref, unacknowledged - 1, why.why)",
        _CREDIT,
    ),
    Mutant(
        "a node that died keeps the places of what it had not taken",
        _REMOTE_ACTOR,
        "self.ref.mailbox - self.credit, self.ref.mailbox\n",
        "self.ref.mailbox - self.credit, self.credit\n",
        _CREDIT,
    ),
    # -- acknowledgements of connections --------------------------------------------------
    Mutant(
        "a node does not send every 40th acknowledgement",
        _BATCHER,
        "        self._acknowledged.append(number)\n",
        "        if number % 40:\n            self._acknowledged.append(number)\n",
        _ACKS,
    ),
    Mutant(
        "the router overlooks every 40th acknowledgement",
        _TABLE,
        "        for number in acknowledged:\n            self._acknowledged(member, number)\n",
        "        for number in acknowledged:\n"
        "            if number % 40:\n                self._acknowledged(member, number)\n",
        _DISPATCH,
    ),
    # -- connections of a dead node -------------------------------------------------------
    Mutant(
        "what a dead node had not acknowledged is forgotten",
        _TABLE,
        "            self._requeue(lost, name)\n",
        "",
        _DISPATCH,
    ),
    Mutant(
        "what a dead node had not acknowledged is closed",
        _TABLE,
        "            if connection.tries < _MOST_TRIES:",
        "            if connection.tries < 1:",
        _DISPATCH,
    ),
    Mutant(
        "what a dead node had not acknowledged is closed, under fire",
        _TABLE,
        "            if connection.tries < _MOST_TRIES:",
        "            if connection.tries < 1:",
        _HAND_OFF,
    ),
    Mutant(
        "what waits for a node that is removed stays with it",
        _TABLE,
        "        self._unassign(member, everything=True)\n        if dead:\n",
        "        if dead:\n",
        _DISPATCH,
    ),
    Mutant(
        "what a living node has not acknowledged goes to others",
        _TABLE,
        "        if dead:\n            lost =",
        "        if not dead or dead:\n            lost =",
        _DISPATCH,
    ),
]
