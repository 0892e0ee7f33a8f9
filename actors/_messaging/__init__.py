"""How a message is addressed, queued and answered: ref, envelope, mailbox, ask, stream, pool, topic.

Nothing here runs an actor or knows on which node one is.
"""

__all__: list[str] = []
