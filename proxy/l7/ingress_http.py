"""Requests from outside the mesh: cleaned, led to the service of their host, and handed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from proxy.http1 import forward
from proxy.http1.body import Framing
from proxy.http1.forward import NO_CHANGES, About, HeaderChanges
from proxy.http1.head import Headers, Request, Response
from proxy.l7.ingress import IngressListener, IngressService
from proxy.l7.messages import Answer, Body
from proxy.l7.pipe import Pipe
from proxy.l7.relaying import Replay
from proxy.l7.retries import Failure
from proxy.l7.short_exchange import Plan
from proxy.telemetry.entry import Notes

#: What only the mesh says about a caller; nobody outside may.
NOT_FROM_OUTSIDE = frozenset({"x-forwarded-client-cert", "x-lictor-mirror"})


class Onward(Protocol):
    """Carries out the requests of one connection to one service."""

    async def handle(self, request: Request, body: Body, answer: Answer) -> None: ...

    def plan(self, request: Request, notes: Notes, replay: Replay) -> Plan | None: ...

    def forget(self) -> None:
        """What was planned and left is no more."""
        ...


class IngressHttp:
    """Serves the requests of one connection from outside."""

    def __init__(
        self,
        listener: Callable[[], IngressListener],
        onward: Callable[[str], Onward | None],
        source_ip: str,
    ) -> None:
        """``onward`` gives the way to a service, None where it is not known."""
        self._listener = listener
        self._onward = onward
        self._source_ip = source_ip
        #: Who planned a request last.
        self._planned: Onward | None = None

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Find the service by the host and hand the request on."""
        planned, self._planned = self._planned, None
        service = self._listener().service_of(request.get("host") or "")
        onward = None if service is None else self._onward(service.name)
        if planned is not None and planned is not onward:
            planned.forget()  # another service now: nothing of it is about this request
        if service is None:
            await answer.whole(404, "no service for this host")
            return
        if onward is None:
            await answer.whole(503, "no such service is known here")
            return
        if service.response_headers != NO_CHANGES:
            about = About(self._source_ip, service.name)
            answer = _Changed(answer, service.response_headers, request, about)
        await onward.handle(self._cleaned(request, service), body, answer)

    def plan(self, request: Request, notes: Notes, replay: Replay) -> Plan | None:
        """The short way of a request that needs no waiting; else None."""
        service = self._listener().service_of(request.get("host") or "")
        onward = None if service is None else self._onward(service.name)
        if service is None or onward is None:
            return None
        self._planned = onward
        plan = onward.plan(self._cleaned(request, service), notes, replay)
        if plan is None or service.response_headers == NO_CHANGES:
            return plan
        about = About(self._source_ip, service.name)
        return _ChangedPlan(plan, service.response_headers, request, about)

    def _cleaned(self, request: Request, service: IngressService) -> Request:
        """The request as the mesh sees it."""
        secured = self._listener().tls is not None
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
            headers.append(("X-Forwarded-Proto", "https" if secured else "http"))
        if service.request_headers != NO_CHANGES:
            about = About(self._source_ip, service.name)
            headers = forward.changed(headers, service.request_headers, request, about)
        return Request(request.method, request.target, request.minor, tuple(headers))


class _ChangedPlan:
    """A plan whose answer's headers are changed on their way out."""

    def __init__(self, plan: Plan, changes: HeaderChanges, request: Request, about: About) -> None:
        self._plan = plan
        self._changes = changes
        self._request = request
        self._about = about
        self.pipe: Pipe = plan.pipe
        self.raw = plan.raw
        self.timeout_s = plan.timeout_s

    def answered(self, head: Response) -> bool:
        """As the plan."""
        return self._plan.answered(head)

    def headers(self, head: Response) -> Sequence[tuple[str, str]]:
        """The plan's, changed."""
        headers = self._plan.headers(head)
        headers = forward.onward(head) if headers is None else headers
        return forward.changed(headers, self._changes, self._request, self._about)

    def failed(self, failure: Failure) -> tuple[int, str] | None:
        """As the plan: a service's changes are not about answers of our own."""
        return self._plan.failed(failure)

    def over(self, *, whole: bool, by_client: bool = False) -> None:
        """As the plan."""
        self._plan.over(whole=whole, by_client=by_client)

    def leave(self) -> None:
        """As the plan."""
        self._plan.leave()


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
