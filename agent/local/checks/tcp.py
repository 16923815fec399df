"""The TCP check: can a connection be opened. It is closed at once, nothing is sent.

With ``tcp_use_tls`` the handshake has to succeed too.
"""

from __future__ import annotations

import asyncio
import ssl

from agent.definitions import CheckDefinition
from agent.local.checks.connecting import DialFailed, connect, opened
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 10.0


async def probe_tcp(check: CheckDefinition, context: ssl.SSLContext | None = None) -> ProbeResult:
    """Connect to ``check.tcp``; with a ``context`` by TLS."""
    try:
        async with asyncio.timeout(check.timeout_s or TIMEOUT_DEFAULT_S):
            if context is None:
                (await connect(check.tcp)).close()
            else:
                async with opened(check.tcp, context, check.tls_server_name):
                    pass
    except DialFailed as error:
        return ProbeResult(CRITICAL, str(error))
    except TimeoutError:
        return ProbeResult(CRITICAL, f"dial tcp {check.tcp}: i/o timeout", timed_out=True)
    return ProbeResult(PASSING, f"TCP connect {check.tcp}: Success")
