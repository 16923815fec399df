"""One stream of a tunnel on its way to a connection of its own, and there (`moving` has the words).

Decides nothing: the tunnel's core says when a direction has left the tunnel. The stream's half
stays what its session knows; what it reads and writes is the `mover`'s from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.relay import PlainStream, Stream, TlsStream
from proxy.tunnel.mover import Mover

if TYPE_CHECKING:
    from proxy.tunnel.stream import TunnelStream


class Crossing:
    """The owner of a stream's own connection."""

    __slots__ = (
        "_app",
        "_block_bytes",
        "_counted",
        "_forget",
        "_half",
        "_mover",
        "_own",
        "stopped",
    )

    def __init__(
        self,
        half: TunnelStream,
        own: TlsStream,
        *,
        block_bytes: int,
        forget: Callable[[Crossing], None],
    ) -> None:
        self._half = half
        self._app: PlainStream | None = None
        self._own = own
        self._mover: Mover | None = None
        self._block_bytes = block_bytes
        self._counted = (0, 0)
        self._forget = forget
        self.stopped = False
        own.owner = self
        half.crossing = self

    @property
    def begun(self) -> bool:
        """Whether a direction goes over the connection, or will."""
        return self._mover is not None

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

    def stop(self, *, in_order: bool = False) -> None:
        """End it; in order where all is sent, else with a reset."""
        if self.stopped:
            return
        self.stopped = True
        self._count()
        if self._mover is not None:
            self._mover.stop()
        if in_order:
            self._own.transport.close()
        else:
            self._own.abort()
        self._half.crossing = None
        self._forget(self)

    def _count(self) -> None:
        if self._mover is not None and self._app is not None:
            seen, self._counted = self._counted, (self._mover.from_app, self._mover.from_wire)
            self._app.rx_bytes += self._counted[0] - seen[0]
            self._half.rx_bytes += self._counted[1] - seen[1]

    # What the connection reports as long as the loop looks at it.

    def stream_opened(self, stream: Stream) -> None: ...

    def stream_secured(self, stream: Stream, der: bytes | None) -> None: ...

    def stream_insecure(self, stream: Stream, reason: str, detail: str) -> None: ...

    def stream_over(self, stream: Stream) -> None:
        self.stream_lost(stream, "closed")

    def stream_lost(self, stream: Stream, reason: str) -> None:
        if self.stopped:
            return
        if self.begun:
            self._half.lose(reason)
        else:
            self.stop()
