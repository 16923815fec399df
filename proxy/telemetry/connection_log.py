"""What is told of a connection without requests once it is over: one line as of a request (contract
D.15), with ``proto`` tcp. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.connection import Inbound
from proxy.session import Session
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
from proxy.telemetry.observer import Observer

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


def entry(session: Session, lived_s: float, state: MeshState, at: float) -> Entry:
    """What is told; ``at`` is when it ended, Unix time."""
    core, target, decision = session.core, session.target, session.decision
    inbound = isinstance(core, Inbound)
    notes = Notes(tries=session.tries, endpoint=_place(target), tls=session.tls)
    notes.rx_bytes, notes.tx_bytes = session.moved
    if not isinstance(core, Inbound):
        notes.upstream = core.upstream
        notes.target = core.expected.name
    if decision is not None:
        notes.decision = "allow" if decision.allowed else "deny"
        notes.rule = decision.reason
    if flag := _FLAGS.get(session.ending):
        notes.flag(flag)
    return Entry(
        at=at - lived_s,
        direction=IN if inbound else OUT,
        service=state.own.name if state.own else "",
        datacenter=state.datacenter,
        peer=core.peer.identity.uri if core.peer else "",
        peer_address=session.peer_address,
        protocol=TCP,
        duration_s=lived_s,
        notes=notes,
    )


def _place(target: AppAddress | Endpoint | None) -> str:
    if target is None:
        return ""
    path = target.socket_path if isinstance(target, AppAddress) else ""
    return path or f"{target.address}:{target.port}"


class ConnectionLog:
    """Tells whoever is told of requests; nobody is asked where nobody listens."""

    def __init__(self, observer: Observer, state: Callable[[], MeshState]) -> None:
        self._observer = observer
        self._state = state

    def tell(self, session: Session, lived_s: float) -> None:
        """It is over."""
        observer = self._observer
        if not (observer.sinks or observer.taps):
            return
        # Of somebody without a name the log of the proxy tells: health checks come every second.
        if not isinstance(session.core, Inbound) or session.core.peer is not None:
            observer.tell(entry(session, lived_s, self._state(), observer.wall()))
