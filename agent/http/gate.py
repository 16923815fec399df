"""Asks for each request whether it is within the bounds on requests, and answers for it if not.

One way for both the long and the prompt answers: whoever is refused gets a 429 that says when to
come back. What a cluster in trouble is looked after with is let in whatever the load.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from agent.backend.rpc.admission import site
from agent.http.params import Params
from agent.http.reply import TEXT_TYPE, Reply, header
from agent.http.routes import Class, Endpoint, Route
from agent.quotas import Quotas

log = logging.getLogger("lictor.agent.http")

#: Paths that are never refused: who leads, and the tools of operators.
_EXEMPT = ("/v1/status/", "/v1/operator/", "/v1/explain/", "/v1/agent/metrics", "/v1/agent/leave")
_WORDS = b"rate limit exceeded, try again later or against a different server"
_RPC_WORDS = b"RPC rate limit exceeded"


class Gate:
    """The bounds on requests at the door of the HTTP servers."""

    __slots__ = ("_quotas",)

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    @property
    def open(self) -> bool:
        """Whether nobody is asked anything."""
        return not self._quotas.active

    def refusal(
        self, route: Route, endpoint: Endpoint, headers: Mapping[str, str], params: Params,
        address: str,
    ) -> Reply | None:  # fmt: skip
        """The answer to a request that is one too many; None when it may go on."""
        if not self._quotas.active or route.path.startswith(_EXEMPT):
            return None
        kind = endpoint.kind
        too_many = self._quotas.ask(
            write=kind in {Class.WRITE, Class.LOCAL_WRITE},
            token=token_of(headers, params),
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
        return given
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    words = rest.split()
    return words[0] if scheme.lower() == "bearer" and words else ""
