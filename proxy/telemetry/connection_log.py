"""What is told of a connection without requests once it is over: one line as of a request (contract
D.15), with ``proto`` tcp. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.connection import Inbound, Outbound
from proxy.source import AppAddress, Endpoint, MeshState
from proxy.telemetry.connections import TCP
from proxy.telemetry.entry import (
    CLIENT_GONE,
    DENIED,
    IN,
    LOCAL_RESET,
    NO_CONNECTION,
    NO_HOST,
    OUT,
    TOO_OLD,
    UPSTREAM_RESET,
    Entry,
    Notes,
)

#: Flags of an access log by why a connection ended; one that ended in order has none.
_FLAGS: Mapping[str, str] = {
    "intention_denied": DENIED,
    "intention_changed": LOCAL_RESET,
    "certificate_revoked": LOCAL_RESET,
    "local_connect_failure": NO_CONNECTION,
    "upstream_connect_failure": NO_CONNECTION,
    "bad_san": NO_CONNECTION,
    "no_healthy_endpoint": NO_HOST,
    "max_connection_age": TOO_OLD,
    "drain_timeout": LOCAL_RESET,
    "shutdown": LOCAL_RESET,
    "peer_gone": CLIENT_GONE,
    "connection_reset": UPSTREAM_RESET,
    "tls_truncated": UPSTREAM_RESET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a connection was, besides what its core knows."""

    ending: str
    lived_s: float
    tries: int
    target: AppAddress | Endpoint | None
    tls: str
    peer_address: str
    #: Bytes from downstream and from upstream.
    moved: tuple[int, int]


def entry(core: Inbound | Outbound, ended: Ended, state: MeshState, at: float) -> Entry | None:
    """What is told; ``at`` is when it ended, Unix time. None for somebody who never had a name:
    the proxy's own log tells of those, and health checks come every second."""
    notes = Notes(tries=ended.tries, endpoint=_place(ended.target), tls=ended.tls)
    notes.rx_bytes, notes.tx_bytes = ended.moved
    if isinstance(core, Inbound):
        if core.peer is None:
            return None
        if core.decision is not None:
            notes.decision = "allow" if core.decision.allowed else "deny"
            notes.rule = core.decision.reason
    else:
        notes.upstream, notes.target = core.upstream, core.expected.name
    if flag := _FLAGS.get(ended.ending):
        notes.flag(flag)
    return Entry(
        at=at - ended.lived_s,
        direction=IN if isinstance(core, Inbound) else OUT,
        service=state.own.name if state.own else "",
        datacenter=state.datacenter,
        peer=core.peer.identity.uri if core.peer else "",
        peer_address=ended.peer_address,
        protocol=TCP,
        duration_s=ended.lived_s,
        notes=notes,
    )


def _place(target: AppAddress | Endpoint | None) -> str:
    if target is None:
        return ""
    path = target.socket_path if isinstance(target, AppAddress) else ""
    return path or f"{target.address}:{target.port}"
