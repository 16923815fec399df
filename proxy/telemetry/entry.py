"""What is known of one request: noted on its way, fixed when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

IN, OUT = "inbound", "outbound"
#: In clear, at an exposed path: no part of the mesh.
EXPOSED = "exposed"

#: Flags of an access log (contract D.15), by what happened.
NO_HOST, NO_CONNECTION, OVERFLOW, RETRIES, TIMEOUT = "UH", "UF", "UO", "URX", "UT"
CLIENT_GONE, DENIED, RATE_LIMITED, BAD_REQUEST = "DC", "RBAC", "RL", "DPE"
UPSTREAM_RESET, LOCAL_RESET = "UC", "LR"
#: Nothing came for too long; its connection was older than it may be.
IDLE, TOO_OLD = "SI", "DT"


@dataclass(frozen=True, slots=True)
class Again:
    """A try after others: seconds since the request began, how long it took, what came of it (0:
    no answer)."""

    after_s: float
    took_s: float
    endpoint: str
    code: int


@dataclass(slots=True)
class Notes:
    """Filled in by whoever handles the request; "" and 0 are not known."""

    upstream: str = ""
    subset: str = ""
    target: str = ""
    endpoint: str = ""
    tries: int = 0
    flags: dict[str, None] = field(default_factory=dict)
    decision: str = ""
    rule: str = ""
    precedence: int = 0
    reference: str = ""
    #: Which of the routes of its service it took, from 0; -1 where there are none.
    route: int = -1
    #: The version of TLS toward the mesh.
    tls: str = ""
    rx_bytes: int = 0
    tx_bytes: int = 0
    answered_at: float = 0.0
    began_at: float = 0.0
    again: tuple[Again, ...] = ()
    #: By which clock.
    clock: Callable[[], float] = field(default=lambda: 0.0, repr=False)

    def answered(self) -> None:
        """The head of the answer goes out now."""
        self.answered_at = self.clock()

    def tried_again(self, since: float, code: int) -> None:
        """A try after others is over, which began ``since`` then by the clock of this request."""
        after_s, took_s = since - self.began_at, self.clock() - since
        self.again = (*self.again, Again(after_s, took_s, self.endpoint, code))

    def client_gone(self) -> None:
        """The client's side has ended; unless we ended it, by a word that is noted already."""
        if LOCAL_RESET not in self.flags and TOO_OLD not in self.flags:
            self.flag(CLIENT_GONE)

    def flag(self, word: str) -> None:
        """Something happened."""
        self.flags[word] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request that is over. Times in seconds; ``at`` is Unix time, ``path`` as it came."""

    at: float
    direction: str
    service: str
    datacenter: str = ""
    peer: str = ""
    peer_address: str = ""
    protocol: str = "http"
    #: The version of TLS that the client spoke, "" in clear.
    tls: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    code: int = 0
    grpc_status: str = ""
    duration_s: float = 0.0
    first_byte_s: float = 0.0
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    sampled: bool = False
    user_agent: str = ""
    notes: Notes = field(default_factory=Notes)
