"""Requests in clear for one path of the application: health checks, metrics (contract D.10).

Nobody's identity is known here, so nothing but the path that was exposed gets through, from the
addresses that may ask.
"""

from __future__ import annotations

import ipaddress

from proxy import paths
from proxy.errors import AmbiguousPath
from proxy.http1 import forward
from proxy.http1.head import Request
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Answer, Body
from proxy.l7.pool import Connections
from proxy.l7.relaying import Began, Outgoing, Replay, ask, give
from proxy.source import AppAddress, ExposedPath


class ExposedHttp:
    """Serves the requests of one connection to an exposed path."""

    def __init__(
        self,
        path: str,
        to: AppAddress,
        pool: Connections,
        limits: HttpLimits,
        *,
        connect_timeout_s: float,
        request_timeout_s: float,
    ) -> None:
        self._path = path
        self._to = to
        self._pool = pool
        self._limits = limits
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Pass on what is for the path, and nothing else."""
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath as error:
            await answer.whole(400, str(error))
            return
        if not path.startswith(self._path):
            await answer.whole(404, "not exposed")
            return
        query = request.target.partition("?")
        headers = [(n, v) for n, v in forward.onward(request) if n.lower() != "expect"]
        out, replay = Outgoing(request.method, path + query[1] + query[2], headers), Replay(body)
        try:
            pipe = await self._pool.dial(self._to, None, self._connect_timeout_s)
        except (OSError, TimeoutError):
            await answer.whole(503, "no connection to the application")
            return
        try:
            began = await ask(pipe, out, request, replay, self._limits, self._request_timeout_s)
            if isinstance(began, Began) and began.head.status != 101:
                await give(pipe, began, answer, forward.onward(began.head), self._limits)
            else:
                late = not isinstance(began, Began) and began.timed_out
                await answer.whole(504 if late else 502, "the application did not answer")
        finally:
            pipe.abort()


def may_ask(exposed: ExposedPath, address: str, own: str) -> bool:
    """Whether somebody at this address may ask for an exposed path; ``own`` is the one of ours that
    was asked at. Who connects to an address of this host from this host comes from the same."""
    if not exposed.here_only:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return found.is_loopback or address == own
