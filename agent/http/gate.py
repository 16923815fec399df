"""Asks for each request whether it is within the bounds on requests, and answers for it if not.

One way for both the long and the prompt answers: whoever is refused gets a 429 that says when to
come back. What a cluster in trouble is looked after with is let in whatever the load.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Mapping

from agent.backend.rpc.admission import site
from agent.config.schema import HttpRules
from agent.http.call import Call
from agent.http.params import Params
from agent.http.reply import TEXT_TYPE, Reply, header
from agent.http.routes import Class, Endpoint, Route
from agent.quotas import Quotas, RequestLimits

log = logging.getLogger("lictor.agent.http")

#: Paths that are never refused: who leads, and the tools of operators.
_EXEMPT = ("/v1/status/", "/v1/operator/", "/v1/explain/", "/v1/agent/metrics", "/v1/agent/leave")
_WORDS = b"rate limit exceeded, try again later or against a different server"
_BLOCKED_WORDS = b"Endpoint is blocked by agent configuration"
_WRITER_WORDS = b"Access is restricted"
#: Of a request of which only the target may name a token.
NO_HEADERS: Mapping[str, str] = {}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_RPC_WORDS = b"RPC rate limit exceeded"


class Gate:
    """The bounds on requests at the door of the HTTP servers."""

    __slots__ = ("_blocked", "_everyones", "_quotas", "_writers")

    def __init__(self, quotas: Quotas, rules: HttpRules, everyones: Quotas | None = None) -> None:
        """``everyones``: bounds that config entries set on every agent alike."""
        self._quotas = quotas
        self._everyones = everyones or Quotas(RequestLimits())
        self._blocked = rules.block_endpoints
        self._writers = tuple(ipaddress.ip_network(each) for each in rules.allow_write_http_from)

    @property
    def open(self) -> bool:
        """Whether nobody is asked anything."""
        bounded = self._quotas.active or self._everyones.active
        return not (bounded or self._blocked or self._writers)

    def refusal(self, route: Route, endpoint: Endpoint, call: Call, address: str) -> Reply | None:
        """The answer to a request that may not be made; None when it may go on."""
        if self._blocked and f"{route.path}{call.rest}".startswith(self._blocked):
            return Reply(_BLOCKED_WORDS, TEXT_TYPE, 403)
        if self._writers and call.method not in _READING and not self._may_write(address):
            return Reply(_WRITER_WORDS, TEXT_TYPE, 403)
        return self._one_too_many(route, endpoint, call, address)

    def _may_write(self, address: str) -> bool:
        """Whether the operator lets this address write; a local socket has none and may."""
        try:
            peer = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
        except ValueError:
            return not address
        mapped = peer.ipv4_mapped if peer.version == 6 else None
        return any((mapped or peer) in network for network in self._writers)

    def _one_too_many(
        self, route: Route, endpoint: Endpoint, call: Call, address: str
    ) -> Reply | None:
        if route.path.startswith(_EXEMPT):
            return None
        return self._over(self._quotas, endpoint, call, address) or self._over(
            self._everyones, endpoint, call, address
        )

    @staticmethod
    def _over(quotas: Quotas, endpoint: Endpoint, call: Call, address: str) -> Reply | None:
        if not quotas.active:
            return None
        kind = endpoint.kind
        too_many = quotas.ask(
            write=kind in {Class.WRITE, Class.LOCAL_WRITE},
            token=call.secret,
            client=site(address.rpartition(":")[0].strip("[]")),
            now=time.monotonic(),
            local=kind in {Class.LOCAL_READ, Class.LOCAL_WRITE},
        )
        if too_many is None:
            return None
        if too_many.news:
            log.warning(
                "too many requests bound=%r address=%s refused=%s",
                too_many.kind, address, too_many.refused,
            )  # fmt: skip
        if not too_many.refused:
            return None
        words = _RPC_WORDS if too_many.kind == "rpc" else _WORDS
        return Reply(words, TEXT_TYPE, 429, (header("Retry-After", str(too_many.retry_s)),))


def token_of(headers: Mapping[str, str], params: Params) -> str:
    """The token of a request, "" for none (http-api contract 1.4)."""
    given = params.get("token") or headers.get("X-Consul-Token", "")
    if given:
        return _as_text(given)
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    words = rest.split()
    return _as_text(words[0]) if scheme.lower() == "bearer" and words else ""


def _as_text(given: str) -> str:
    """Bytes of a header that are no UTF-8 come as surrogates, which nothing can store or send: no
    token is written so, but the request must be answered."""
    if given.isascii():
        return given
    return given.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
