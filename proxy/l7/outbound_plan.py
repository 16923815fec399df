"""A request to an upstream on the short way, and how ends of tries look to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.balance.hosts import Host
from proxy.http1.head import Response
from proxy.http2 import grpc
from proxy.l7.attempts import Flight
from proxy.l7.pipe import Pipe
from proxy.l7.relaying import Began
from proxy.l7.request_state import UpstreamState
from proxy.l7.retries import Failure, retry_after_s
from proxy.l7.routes import Choice, Target
from proxy.telemetry import entry
from proxy.telemetry.entry import Notes

if TYPE_CHECKING:
    from proxy.l7.outbound import OutboundHttp


class OutboundPlan:
    """A request to an upstream on the short way."""

    __slots__ = ("_flight", "_notes", "_outbound", "_state", "pipe", "raw", "timeout_s")

    def __init__(
        self, outbound: OutboundHttp, state: UpstreamState, flight: Flight, notes: Notes
    ) -> None:
        self._outbound = outbound
        self._state = state
        self._flight = flight
        self._notes = notes
        assert isinstance(flight.pipe, Pipe)
        self.pipe = flight.pipe
        self.raw, self.timeout_s = outbound.sent(state, flight.one)

    def answered(self, head: Response) -> bool:
        """The head of the answer has come; False when there is another try instead."""
        return self._outbound.answered(self._state, self._flight, head)

    def headers(self, head: Response) -> list[tuple[str, str]] | None:
        """The headers of the answer as the route wants them."""
        one = self._flight.one
        if not (one.choice.response_headers or one.hashes.cookies):
            return None
        return self._outbound.answer_headers(head, one)

    def failed(self, failure: Failure) -> tuple[int, str] | None:
        """No answer came."""
        return self._outbound.failed(self._state, self._flight, failure, self._notes)

    def over(self, *, whole: bool, by_client: bool = False) -> None:
        """The request has ended."""
        if by_client:
            self._flight.failed = False
        self._outbound.short_over(self._state, self._flight, whole=whole)

    def leave(self) -> None:
        """The long way goes on."""
        self._outbound.short_over(self._state, self._flight, whole=False)


def note(notes: Notes, choice: Choice, target: Target, host: Host, tries: int) -> None:
    """Where a request goes."""
    notes.route = choice.route
    notes.target, notes.endpoint, notes.tries = target.id, f"{host.address}:{host.port}", tries
    before, named, _ = target.id.partition(f"{target.service}.")
    notes.subset = before.rstrip(".") if named else ""


def judged(began: Began) -> tuple[bool, Failure]:
    """Whether an answer speaks against its host, and how it looks as an end of a try."""
    head = began.head
    failure = Failure(
        status=head.status,
        grpc=grpc.number(began.grpc_status),
        retry_after_s=retry_after_s(head),
    )
    return head.status >= 500 or head.status == 429, failure


def told(notes: Notes, failure: Failure) -> tuple[int, str]:
    """What a client is told when no host gave an answer."""
    if failure.timed_out:
        notes.flag(entry.TIMEOUT)
        return 504, "upstream request timeout"
    if failure.status:
        return failure.status, "upstream failed"
    if failure.sent:
        notes.flag(entry.UPSTREAM_RESET)
        return 502, "upstream connection broke off"
    notes.flag(entry.NO_CONNECTION)
    return 503, "no connection to any upstream host"
