"""Who belongs into which gossip pool, under which name, and who is missing in the other. Pure.

A datacenter's agents are one pool, the servers of all datacenters another. There a server's name is
`node.datacenter`. Both keep out who does not belong: once two pools have become one, the members
of each stay in the other's tables for days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.local.node import WAN_JOIN_PORT, join_host_port
from gossip import Member, MemberStatus

SERVER = "consul"
_HERE = frozenset({MemberStatus.ALIVE, MemberStatus.LEAVING})


def wan_name(node: str, datacenter: str) -> str:
    """A server's name among those of all datacenters."""
    return f"{node}.{datacenter}"


def bare_name(name: str, datacenter: str) -> str:
    """The name that it has in its own datacenter."""
    return name.removesuffix(f".{datacenter}")


def lan_objection(datacenter: str, name: str, tags: Mapping[str, str]) -> str:
    """Why a member may not be in the pool of ``datacenter``, in the reference's words.

    One that names no datacenter is no agent; it disturbs nobody.
    """
    theirs = tags.get("dc", datacenter)
    return "" if theirs == datacenter else f"Member '{name}' part of wrong datacenter '{theirs}'"


def wan_objection(name: str, tags: Mapping[str, str]) -> str:
    """Why a member may not be in the pool of servers."""
    if tags.get("role") != SERVER or not tags.get("dc"):
        return f"Member '{name}' is not a server"
    datacenter = tags["dc"]
    if not bare_name(name, datacenter) or bare_name(name, datacenter) == name:
        # Otherwise a server could take the name of one elsewhere.
        return f"Member '{name}' has no name of its datacenter '{datacenter}'"
    return ""


def number(text: str) -> int:
    """A tag as a port; 0 for anything that is none (tags come from outside)."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        return 0
    found = int(text)
    return found if found <= 65535 else 0


def is_server(member: Member, datacenter: str | None = None) -> bool:
    """Whether it says that it is a server (of this datacenter) that takes calls."""
    tags = member.tags
    return (
        tags.get("role") == SERVER
        and bool(number(tags.get("port", "")))
        and (tags.get("dc") == datacenter if datacenter is not None else bool(tags.get("dc")))
    )


def to_be_joined(
    lan: Iterable[Member], wan: Iterable[Member], datacenter: str, *, default_port: int
) -> tuple[str, ...]:
    """Where the servers of our datacenter are that the pool of servers does not know yet.

    So an operator joins one server of each datacenter, and the others follow.
    """
    known = {member.name for member in wan if member.status in _HERE}
    return tuple(
        join_host_port(member.address, number(member.tags.get(WAN_JOIN_PORT, "")) or default_port)
        for member in lan
        if member.status is MemberStatus.ALIVE
        and is_server(member, datacenter)
        and wan_name(member.name, datacenter) not in known
    )
