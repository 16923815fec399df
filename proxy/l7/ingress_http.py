"""Requests from outside the mesh: cleaned, led to the service of their host, and handed on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from proxy.http1 import forward
from proxy.http1.body import Framing
from proxy.http1.forward import NO_CHANGES, About, HeaderChanges
from proxy.http1.head import Headers, Request, Response
from proxy.l7.ingress import IngressListener
from proxy.l7.messages import Answer, Body
from proxy.telemetry.entry import Notes

#: What only the mesh says about a caller; nobody outside may.
NOT_FROM_OUTSIDE = frozenset({"x-forwarded-client-cert", "x-lictor-mirror"})
#: Carries out a request to the service of this name.
Onward = Callable[[str, Request, Body, Answer], Awaitable[None]]


class IngressHttp:
    """Serves the requests of one connection from outside."""

    def __init__(
        self, listener: Callable[[], IngressListener], onward: Onward, source_ip: str
    ) -> None:
        self._listener = listener
        self._onward = onward
        self._source_ip = source_ip

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Find the service by the host and hand the request on."""
        listener = self._listener()
        service = listener.service_of(request.get("host") or "")
        if service is None:
            await answer.whole(404, "no service for this host")
            return
        about = About(self._source_ip, service.name)
        headers = [
            (name, value)
            for name, value in request.headers
            if name.lower() not in NOT_FROM_OUTSIDE and name.lower() != "x-forwarded-for"
        ]
        before = request.get("x-forwarded-for")
        came = ", ".join(each for each in (before, self._source_ip) if each)
        if came:
            headers.append(("X-Forwarded-For", came))
        if request.get("x-forwarded-proto") is None:
            headers.append(("X-Forwarded-Proto", "https" if listener.tls is not None else "http"))
        if service.request_headers != NO_CHANGES:
            headers = forward.changed(headers, service.request_headers, request, about)
        told = replace(request, headers=tuple(headers))
        if service.response_headers != NO_CHANGES:
            answer = _Changed(answer, service.response_headers, request, about)
        await self._onward(service.name, told, body, answer)


class _Changed:
    """An answer whose headers are changed on their way out."""

    def __init__(
        self, answer: Answer, changes: HeaderChanges, request: Request, about: About
    ) -> None:
        self._answer = answer
        self._changes = changes
        self._request = request
        self._about = about
        self.notes: Notes = answer.notes

    @property
    def keep(self) -> bool:
        return self._answer.keep

    @keep.setter
    def keep(self, value: bool) -> None:
        self._answer.keep = value

    @property
    def begun(self) -> bool:
        return self._answer.begun

    @begun.setter
    def begun(self, value: bool) -> None:
        self._answer.begun = value

    @property
    def status(self) -> int:
        return self._answer.status

    @status.setter
    def status(self, value: int) -> None:
        self._answer.status = value

    @property
    def grpc_status(self) -> str:
        return self._answer.grpc_status

    @grpc_status.setter
    def grpc_status(self, value: str) -> None:
        self._answer.grpc_status = value

    async def begin(self, head: Response, headers: Any, framing: Framing) -> None:
        """Send the head."""
        changed = forward.changed(headers, self._changes, self._request, self._about)
        await self._answer.begin(head, changed, framing)

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._answer.send(data)

    async def end(self, trailers: Headers = ()) -> None:
        """The body is complete."""
        await self._answer.end(trailers)

    async def whole(self, status: int, text: str, headers: Any = ()) -> None:
        """A short answer of our own, which a service's changes are not about."""
        await self._answer.whole(status, text, headers)
