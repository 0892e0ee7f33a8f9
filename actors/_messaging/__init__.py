"""How a message is addressed, queued and answered: ref, mailbox, ask, stream, pool, topic, deadlocks.

Nothing here runs an actor or knows on which node one is.
"""

__all__: list[str] = []
