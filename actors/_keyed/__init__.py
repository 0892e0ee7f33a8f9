"""Keyed actors: an address book that starts the actor of a key when it is first used."""

from actors._keyed.blocking_book import BlockingKeyed, BlockingKeyedRef
from actors._keyed.book import Keyed, KeyedRef
from actors._keyed.client import Holder, KeyedOffice
from actors._keyed.clients import KeyedClients, LinkOffice, keyed_extra, keyed_ref_extra
from actors._keyed.facts import KeyedFacts
from actors._keyed.idle_watch import IdleWatch
from actors._keyed.key import Key, check_key, key_bytes, key_text

__all__ = [
    "BlockingKeyed",
    "BlockingKeyedRef",
    "Holder",
    "IdleWatch",
    "Key",
    "Keyed",
    "KeyedClients",
    "KeyedFacts",
    "KeyedOffice",
    "KeyedRef",
    "LinkOffice",
    "check_key",
    "key_bytes",
    "key_text",
    "keyed_extra",
    "keyed_ref_extra",
]
