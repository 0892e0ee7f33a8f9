"""The mailbox and the line of senders behind it, without a loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from actors._messaging.mailbox import Envelope, Mailbox, OwnMessage, WaitQueue
from actors._messaging.mailbox_options import Bounded
from actors._messaging.message_table import Handler, MessageKind


class HandWaiter:
    """A waiter that is awaited by a coroutine the test drives by hand."""

    def __init__(self) -> None:
        self._done = False
        self._error: BaseException | None = None

    def __await__(self) -> Any:
        while not self._done:
            yield self
        if self._error is not None:
            raise self._error

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def set_result(self, _value: Any, /) -> None:
        self._done = True

    def set_exception(self, error: BaseException, /) -> None:
        self._done, self._error = True, error


NOTE = Handler("note", lambda: None, MessageKind.CALL)


def message(n: int) -> Envelope:
    return Envelope(NOTE, (n,), {})


def numbers(mailbox: Mailbox) -> list[int]:
    return [envelope.args[0] for envelope in mailbox.clear()]


def waiting_sender(line: WaitQueue, n: int) -> Coroutine[Any, Any, None]:
    """Somebody who stands in line."""
    sender = line.wait_for_room(message(n), leaves=False)
    sender.send(None)
    return sender


def goes_on(sender: Coroutine[Any, Any, None]) -> bool:
    """Whether a sender need not wait any more."""
    try:
        sender.send(None)
    except StopIteration:
        return True
    return False


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox(Bounded(2), HandWaiter)


def test_messages_leave_in_the_order_they_came(mailbox: Mailbox) -> None:
    for n in range(2):
        mailbox.put(message(n))
    assert len(mailbox) == 2
    assert numbers(mailbox) == [0, 1]
    assert len(mailbox) == 0


def test_it_is_full_at_its_limit_and_while_somebody_is_in_line(mailbox: Mailbox) -> None:
    full = [mailbox.full]
    for n in range(2):
        mailbox.put(message(n))
        full.append(mailbox.full)
    sender = waiting_sender(mailbox.wait_queue, 2)
    mailbox.queue.clear()
    full.append(mailbox.full)
    sender.close()
    full.append(mailbox.full)
    assert full == [False, False, True, True, False]


def test_a_place_that_gets_free_goes_to_the_first_in_line(mailbox: Mailbox) -> None:
    for n in range(2):
        mailbox.put(message(n))
    first, second = waiting_sender(mailbox.wait_queue, 2), waiting_sender(mailbox.wait_queue, 3)
    mailbox.take()
    assert goes_on(first)
    assert not goes_on(second)
    assert numbers(mailbox) == [1, 2]
    second.close()


def test_control_passes_the_limit(mailbox: Mailbox) -> None:
    for n in range(5):
        mailbox.put(message(n))
    assert numbers(mailbox) == list(range(5))


def test_a_message_taken_back_makes_room(mailbox: Mailbox) -> None:
    wanted, unwanted = message(0), message(1)
    mailbox.put(wanted)
    mailbox.put(unwanted)
    sender = waiting_sender(mailbox.wait_queue, 2)
    assert mailbox.remove(unwanted)
    assert goes_on(sender)
    assert not mailbox.remove(unwanted)
    assert numbers(mailbox) == [0, 2]


def test_a_sender_that_gives_up_leaves_the_line(mailbox: Mailbox) -> None:
    for n in range(2):
        mailbox.put(message(n))
    first, second = waiting_sender(mailbox.wait_queue, 2), waiting_sender(mailbox.wait_queue, 3)
    first.close()
    mailbox.take()
    assert goes_on(second)
    assert numbers(mailbox) == [1, 3]


def test_everybody_in_line_can_be_turned_away(mailbox: Mailbox) -> None:
    senders = [waiting_sender(mailbox.wait_queue, n) for n in range(2)]
    mailbox.wait_queue.refuse_all(lambda envelope: LookupError(envelope.args[0]))
    for n, sender in enumerate(senders):
        with pytest.raises(LookupError, match=str(n)):
            sender.send(None)
    assert not mailbox.wait_queue.waiting


def test_a_message_wakes_the_actor_that_waits_for_one(mailbox: Mailbox) -> None:
    waker = mailbox.waker = HandWaiter()
    mailbox.put(message(0))
    mailbox.put(message(1))
    assert waker.done()
    assert mailbox.waker is None


def test_tells_in_short_form_come_out_as_envelopes(mailbox: Mailbox) -> None:
    mailbox.open().append((NOTE, (1,), {}, None))
    (envelope,) = mailbox.clear()
    assert envelope.message == ("note", (1,), {})
    assert envelope.reply is None


def test_what_is_deferred_takes_its_place_and_comes_back_before_the_rest() -> None:
    mailbox = Mailbox(Bounded(4), HandWaiter)
    for n in range(4):
        mailbox.put(message(n))
    first, second = Envelope.of(mailbox.take()), Envelope.of(mailbox.take())
    mailbox.defer(first)
    mailbox.defer(second)
    assert len(mailbox) == 4
    assert mailbox.full
    room = [mailbox.may_defer]
    mailbox.defer(Envelope.of(mailbox.take()))
    assert [*room, mailbox.may_defer] == [
        True,
        False,
    ]  # one place is left for what the others wait for
    mailbox.recall()
    assert numbers(mailbox) == [0, 1, 2, 3]
    assert mailbox.limit == 4


def test_a_deferred_message_that_is_withdrawn_makes_room() -> None:
    mailbox = Mailbox(Bounded(2), HandWaiter)
    deferred = message(1)
    mailbox.defer(deferred)
    mailbox.put(message(2))
    sender = waiting_sender(mailbox.wait_queue, 3)
    assert mailbox.remove(deferred)
    assert not mailbox.remove(deferred)
    assert goes_on(sender)
    assert numbers(mailbox) == [2, 3]


def test_a_later_incarnation_sees_what_was_deferred_but_not_what_the_last_one_sent_itself() -> None:
    mailbox = Mailbox(Bounded(4), HandWaiter)
    for own in (message(1), OwnMessage(NOTE, (2,), {}), message(3)):
        mailbox.defer(own)
    mailbox.put(message(4))
    mailbox.put_back()
    assert numbers(mailbox) == [1, 3, 4]
    assert mailbox.limit == 4
