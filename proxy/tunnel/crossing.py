"""One stream of a tunnel on its way to a connection of its own, and there (`moving` has the words).

Decides nothing: the tunnel's core says when a direction has left the tunnel. The stream's half
stays what its session knows; what it reads and writes is the `mover`'s from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxy.certificate import PeerCertificate
from proxy.relay import PlainStream, Stream, TlsStream
from proxy.tunnel.mover import Mover

if TYPE_CHECKING:
    from proxy.tunnel.stream import TunnelStream


class Keeper(Protocol):
    """Who has all of them."""

    def begun(self) -> None:
        """A stream goes over its connection."""
        ...

    def gone(self, crossing: Crossing) -> None:
        """It is over."""
        ...


class Crossing:
    """The owner of a stream's own connection."""

    __slots__ = (
        "_app",
        "_block_bytes",
        "_counted",
        "_half",
        "_keeper",
        "_mover",
        "_own",
        "peer",
        "stopped",
    )

    def __init__(
        self,
        half: TunnelStream,
        own: TlsStream,
        keeper: Keeper,
        peer: PeerCertificate,
        *,
        block_bytes: int,
    ) -> None:
        self._half = half
        self._app: PlainStream | None = None
        self._own = own
        self._mover: Mover | None = None
        self._block_bytes = block_bytes
        self._counted = (0, 0)
        self._keeper = keeper
        #: Who is at the other end of the connection.
        self.peer = peer
        self.stopped = False
        own.owner = self
        half.crossing = self

    @property
    def begun(self) -> bool:
        """Whether a direction goes over the connection, or will."""
        return self._mover is not None

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes from the application and from the connection so far."""
        mover = self._mover
        return (mover.from_app, mover.from_wire) if mover is not None else (0, 0)

    @property
    def over(self) -> bool:
        """Whether both directions have ended in order."""
        return self._app is not None and self._app.is_over and self._half.is_over

    def begin(self) -> bool:
        """Send what is still to be sent there, once all that was written is sent in the tunnel.
        False: this is no stream that can be moved."""
        half, app = self._half, self._half.peer
        if not isinstance(app, PlainStream) or half.lost or app.lost or self.stopped:
            return False
        try:
            here = app.lend()
        except (OSError, ValueError):  # its connection is just closing
            return False
        self._app = app
        self._mover = Mover(self, here, self._own.lend(), self._own.keys, self._block_bytes)
        self._keeper.begun()
        half.move_out()
        return True

    # What the core reported.

    def moved_out(self) -> None:
        """All that was written is on its way."""
        if self._mover is not None:
            self._mover.start_out()

    def moved_in(self) -> None:
        """The peer's last bytes in the tunnel have come."""
        if self._mover is None and not self.begin():
            self._half.abort()
            return
        assert self._mover is not None
        assert self._app is not None
        self._app.when_written(self._mover.start_in)

    # What the threads report.

    def moved_all(self, *, from_app: bool) -> None:
        """One direction is over."""
        if self.stopped or self._app is None:
            return
        self._count()
        if from_app:
            self._app.was_over()
        else:
            self._half.ended()

    def broke(self, reason: str) -> None:
        """A connection broke."""
        if not self.stopped:
            self._half.lose(reason)

    # Ending.

    def cut(self, reason: str) -> None:
        """End the stream, or leave it in its tunnel where it has not begun to move."""
        if self.begun:
            self._half.lose(reason)
        else:
            self.stop()

    def stop(self, *, in_order: bool = False) -> None:
        """End it; in order where all is sent, else with a reset."""
        if self.stopped:
            return
        self.stopped = True
        self._count()
        if self._mover is not None:
            self._mover.stop()
        if in_order:
            self._own.ends_whole()
            self._own.transport.close()
        else:
            self._own.abort()
        self._half.crossing = None
        self._keeper.gone(self)

    def _count(self) -> None:
        if self._mover is not None and self._app is not None:
            seen, self._counted = self._counted, self.moved
            self._app.rx_bytes += self._counted[0] - seen[0]
            self._half.rx_bytes += self._counted[1] - seen[1]

    def explain(self) -> dict[str, Any]:
        """For people: the peer, and how much has moved."""
        app, peer = self.moved
        return {
            "peer": self.peer.identity.uri,
            "address": self._own.peer_address,
            "begun": self.begun,
            "bytes_from_app": app,
            "bytes_from_peer": peer,
        }

    # What the connection reports as long as the loop looks at it.

    def stream_opened(self, stream: Stream) -> None: ...

    def stream_secured(self, stream: Stream, der: bytes | None) -> None: ...

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None: ...

    def stream_over(self, stream: Stream) -> None:
        self.stream_lost(stream, "closed")

    def stream_lost(self, stream: Stream, reason: str) -> None:
        if not self.stopped:
            self.cut(reason)
