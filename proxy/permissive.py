"""What of a connection's beginning counts where mutual TLS is not demanded (contract D.2, rule 6).

Pure. Whoever speaks TLS is a member of the mesh and is authorised as ever. A connection in clear
goes to the application, but only if it was meant for the application's own port before the kernel
led it here: it is what the application would have got without a sidecar. Nobody is authorised then.
"""

from __future__ import annotations

import enum

from proxy.client_hello import HANDSHAKE

#: Whoever says nothing for so long waits for the application to speak first, as databases do.
SILENT_S = 1.0


class Way(enum.Enum):
    """Where a connection goes on."""

    TLS = "tls"
    CLEAR = "clear"
    WAIT = "wait"


def way(first: bytes, *, meant_port: int, app_port: int, late: bool = False) -> Way:
    """By its first bytes, and the port that it was made to before it was led here; 0: nobody led
    it. ``late``: no more is waited for."""
    if not meant_port or meant_port != app_port:
        return Way.TLS
    if first:
        return Way.TLS if first[0] == HANDSHAKE else Way.CLEAR
    return Way.CLEAR if late else Way.WAIT
