"""The numbers of the messages that links carry; each message is a list that begins with one.

What belongs to the traffic between actors goes in the DATA lane, in the order it was sent. What
controls them (credit, cancellation, kill, calls between the nodes' actor hosts) goes in the CONTROL
lane, which is always written first.

    TELL    uid method args kwargs deadline *headers
    ASK     uid request method args kwargs deadline *headers
    STREAM  uid request method args kwargs deadline *headers
    REPLY   request value                         END     request
    ITEM    request value                         PROBE   uid request number path
    ERROR   request error                         PULL    request items          (control)
    CREDIT  uid messages bytes        (control)   CANCEL  request                (control)
    WATCH   request uid                           GONE    request exit
    UNWATCH request                   (control)   READY   uid request
    STOP    uid grace drain                       KILL    uid                    (control)
    CALL    request op args           (control)   ANSWER  request value          (control)
    FAILED  request error             (control)   NOTE    op args                (control)
    PUBLISH topic missed value                    BACK    leases                 (control)
    RETIRED arenas                    (control)   UNMAPPED arenas               (control)
    WITHDRAW uid request

deadline is a time of `time.monotonic`, which all processes of a machine share, or between machines one of
the parent's CLOCK_BOOTTIME (`far_deadlines`); None is none. A TELL or ASK
without keywords and deadline ends after its args. The headers are the chain of calls that the message
belongs to, a [uid, name] for each actor that waits, its context variables, each behind its number, how many
bytes it counts for in the mailbox, and its priority there; most messages have none. A CREDIT without bytes
gives none back.

A PUBLISH without a value only says how many values were dropped because the link was congested.

A message in the DATA lane of more than 256 KiB lets others pass, except those with the same second field: for
one actor, in answer to one request, of one topic. WITHDRAW is a CANCEL that comes behind such a message.

UNMAPPED names segments whose descriptor the receiver had no number free for: they have to be sent again
before they are used.

A PROBE asks about the wait for the reply to a request, or for room (request 0), and is sent behind
that request: path is who waits, a [uid, name] each.
"""

from __future__ import annotations

from typing import Final

TELL: Final = 1
ASK: Final = 2
STREAM: Final = 3
REPLY: Final = 4
ERROR: Final = 5
ITEM: Final = 6
END: Final = 7
PULL: Final = 8
CANCEL: Final = 9
CREDIT: Final = 10
WATCH: Final = 11
GONE: Final = 12
UNWATCH: Final = 13
STOP: Final = 14
KILL: Final = 15
READY: Final = 16
CALL: Final = 17
ANSWER: Final = 18
FAILED: Final = 19
NOTE: Final = 20
PUBLISH: Final = 21
BACK: Final = 22
RETIRED: Final = 23
PROBE: Final = 24
UNMAPPED: Final = 25
WITHDRAW: Final = 26
CLIENT: Final = "client~"
"""How the addresses of clients begin: programs that are connected to the system, and no node of it."""
WAITING: Final = frozenset({TELL, ASK, STREAM, PUBLISH})
"""What is refused while too many big messages wait: its senders wait, too, or drop it."""
