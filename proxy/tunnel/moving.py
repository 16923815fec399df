"""Whether a stream of a tunnel goes on over a connection of its own, and what the ends say to it.

Pure. The end that opened the stream offers it (OFFER with a token) and dials a connection that
begins with the token. The other end, once it has both, says MOVED: what it sends from then on comes
there. So does the first end when it hears that. Either direction may have ended before; an offer
that nobody takes changes nothing.
"""

from __future__ import annotations

from proxy.tunnel import frames
from proxy.tunnel.channel import Channel
from proxy.tunnel.events import MovedIn, Offered
from proxy.tunnel.frames import TunnelViolation
from proxy.tunnel.limits import TunnelLimits


def is_due(channel: Channel, limits: TunnelLimits, now: float) -> bool:
    """Whether a stream has moved so much in so short a time that it is to be offered."""
    moved, since = channel.paced
    if channel.moved - moved < limits.own_bytes:
        return False
    channel.paced = (channel.moved, now)
    return not channel.offered and now - since <= limits.own_within_s


def came(channel: Channel, kind: int, payload: bytes, *, client: bool) -> Offered | MovedIn:
    """An OFFER or MOVED of the peer. Raises TunnelViolation."""
    if kind == frames.OFFER:
        if client or channel.offered or len(payload) != frames.TOKEN_BYTES:
            raise TunnelViolation(frames.PROTOCOL_ERROR, "an offer that is none")
        channel.offered = True
        return Offered(channel, payload)
    if payload or not channel.offered or channel.remote_over:
        raise TunnelViolation(frames.PROTOCOL_ERROR, "moved without an offer")
    channel.remote_over = channel.moves_in = True
    return MovedIn(channel)
