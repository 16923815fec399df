"""One stream of a tunnel as a half of a relayed connection: the same calls as a socket's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.tunnel.channel import Channel
from proxy.tunnel.frames import REFUSED_STREAM

if TYPE_CHECKING:
    from proxy.relay import Owner, Stream
    from proxy.tunnel.crossing import Crossing
    from proxy.tunnel.link import Link

#: Answers to a stream: it stands; the intention denies; the application cannot be reached.
STANDS, DENIED, UNREACHABLE = 200, 403, 503


class TunnelStream:
    """A half whose bytes are frames of a shared connection."""

    __slots__ = (
        "_channel",
        "_held",
        "_link",
        "_over",
        "_relaying",
        "_stopped",
        "_thrown_away",
        "crossing",
        "lost",
        "owner",
        "peer",
        "refusal",
        "rx_bytes",
    )

    def __init__(self, link: Link, channel: Channel, owner: Owner) -> None:
        self.owner = owner
        self.peer: Stream | None = None
        self.rx_bytes = 0
        self.lost = False
        #: What to answer when this is finished before it relays.
        self.refusal = UNREACHABLE
        #: Its way to a connection of its own, once there is one.
        self.crossing: Crossing | None = None
        self._link = link
        self._channel = channel
        self._held: list[bytes] = []
        self._over = False
        self._relaying = False
        self._stopped = False
        self._thrown_away = False
        channel.handle = self

    @property
    def peer_address(self) -> str:
        """Where the other sidecar is."""
        return self._link.peer_address

    @property
    def version(self) -> str:
        """The version of TLS below the tunnel."""
        return self._link.version

    @property
    def link(self) -> Link:
        """The connection that it is part of."""
        return self._link

    # What the session asks for.

    def relay_to(self, peer: Stream) -> None:
        """From now on what comes goes to ``peer``; what came before goes first."""
        self.peer = peer
        self._relaying = True
        link = self._link
        if not link.core.is_client:
            link.core.answer(self._channel, STANDS)
        link.core.read_on(self._channel, link.now())
        link.schedule()
        if self._held:
            held, self._held = self._held, []
            peer.send_all(held)
        if self._over:
            self.owner.stream_over(self)

    def send(self, data: bytes) -> None:
        """Write to this half's peer."""
        link = self._link
        if not link.core.write(self._channel, data):
            self._stop()
        link.schedule()

    def send_all(self, chunks: list[bytes]) -> None:
        """Write several chunks."""
        for chunk in chunks:
            self.send(chunk)

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            if self.peer is not None:
                self.peer.pause_reading()

    def send_eof(self) -> None:
        """Tell the peer that we send no more."""
        self._link.happened(self._link.core.end(self._channel))
        self._link.schedule()

    def finish(self) -> None:
        """End in order: flush, say so, and throw away input until the peer has ended as well."""
        self._relaying = False
        self._thrown_away = True
        self._held.clear()
        if self.lost:
            return
        crossing = self.crossing
        if crossing is not None:
            begun = crossing.begun
            crossing.stop(in_order=crossing.over)
            if begun:
                self.lose("closed")
                return
        link = self._link
        if not link.core.is_client:
            link.core.answer(self._channel, self.refusal)
        link.core.read_on(self._channel, link.now())
        self.send_eof()

    def abort(self) -> None:
        """Reset the stream."""
        self.lose("closed")

    def refuse(self) -> None:
        """Take no notice of it: the peer may try elsewhere."""
        self._link.core.reset(self._channel, REFUSED_STREAM)
        self._link.schedule()

    def pause_reading(self) -> None:
        """The other half cannot take more: the window stays where it is."""
        self._channel.reads = False

    def resume_reading(self) -> None:
        """Read on."""
        link = self._link
        link.core.read_on(self._channel, link.now())
        if link.core.out:
            link.schedule()

    # What the link reports.

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self.rx_bytes += len(data)
        if self._relaying:
            self.peer.send(data)  # type: ignore[union-attr]
        elif not self._thrown_away:
            self._held.append(data)

    def ended(self) -> None:
        """The peer sends no more."""
        self._over = True
        if self._relaying:
            self.owner.stream_over(self)

    def writable(self) -> None:
        """All that waited is sent."""
        if self._stopped:
            self._stopped = False
            if self.peer is not None:
                self.peer.resume_reading()

    def was_answered(self, status: int) -> None:
        """The other end stands, or said no; then it ends as well, which is what counts."""
        if status != STANDS:
            self._link.refusals[status] += 1

    def was_closed(self, code: int) -> None:
        """The stream is gone."""
        self.lose("connection_reset" if code else "closed")

    def lose(self, reason: str) -> None:
        """It is gone, here and on a connection of its own."""
        if self.lost:
            return
        self.lost = True
        if self.crossing is not None:
            self.crossing.stop()
        self._link.core.reset(self._channel)
        self._link.schedule()
        self._link.tell_later(self, reason)

    # Of a stream that moves to a connection of its own.

    @property
    def relays(self) -> bool:
        """Whether both ends stand."""
        return self._relaying and not self.lost

    @property
    def is_over(self) -> bool:
        """Whether the peer sends no more."""
        return self._over

    def move_out(self) -> None:
        """Send no more here than what was written."""
        self._link.happened(self._link.core.move_out(self._channel))
        self._link.schedule()

    def moved_out(self) -> None:
        """All that was written is sent."""
        if self.crossing is not None:
            self.crossing.moved_out()

    def moved_in(self) -> None:
        """What comes from now on comes there."""
        if self.crossing is not None:
            self.crossing.moved_in()
        else:
            self.abort()
