"""Members as gossip shows them."""

from __future__ import annotations

from gossip import Member, MemberEvent, MemberEventKind, MemberStatus

KINDS = {
    MemberStatus.ALIVE: MemberEventKind.JOIN,
    MemberStatus.FAILED: MemberEventKind.FAILED,
    MemberStatus.LEFT: MemberEventKind.LEAVE,
}


def member(
    name: str,
    status: MemberStatus = MemberStatus.ALIVE,
    *,
    server: bool = False,
    id_: str | None = None,
    address: str = "10.0.0.1",
    **tags: str,
) -> Member:
    base = {"role": "node", "dc": "dc1", "id": f"id-{name}" if id_ is None else id_}
    if server:
        base |= {"role": "consul", "port": "8300", "build": "1.10.11:abc", "raft_vsn": "3"}
    return Member(
        name=name,
        address=address,
        port=8301,
        tags={**base, **tags},
        status=status,
        protocol_min=1,
        protocol_max=5,
        protocol_current=2,
        delegate_min=2,
        delegate_max=5,
        delegate_current=4,
    )


def event(changed: Member, kind: MemberEventKind | None = None) -> MemberEvent:
    return MemberEvent(kind=kind or KINDS[changed.status], member=changed)
