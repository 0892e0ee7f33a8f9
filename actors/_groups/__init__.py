"""Groups: actors under a name, with notices of who joins and leaves."""

from actors._groups.changes import MemberChange, MemberChanges
from actors._groups.groups import GroupOffice, Groups, LinkGroupOffice
from actors._groups.limits import MOST_OF_NODE, check_group, check_meta
from actors._groups.watch import MembersWatch

__all__ = [
    "MOST_OF_NODE",
    "GroupOffice",
    "Groups",
    "LinkGroupOffice",
    "MemberChange",
    "MemberChanges",
    "MembersWatch",
    "check_group",
    "check_meta",
]
