"""The HTTP/2 check: does a server answer a PING frame (agent contract 1.1)."""

from __future__ import annotations

import asyncio
import ssl

from agent.definitions import CheckDefinition
from agent.local.checks.connecting import DialFailed, opened
from agent.local.checks.http2 import Http2, Http2Failed
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 10.0
#: What TLS has to agree on.
PROTOCOL = "h2"


async def probe_h2ping(check: CheckDefinition, context: ssl.SSLContext | None) -> ProbeResult:
    """Ping the server of ``check.h2ping``; without a ``context`` in clear text."""
    target, dialled = check.h2ping, False
    try:
        async with (
            asyncio.timeout(check.timeout_s or TIMEOUT_DEFAULT_S),
            opened(target, context, check.tls_server_name) as stream,
        ):
            if context is not None:
                _refuse_other_protocol(stream[1])
            dialled = True
            await Http2(*stream).ping()
    except DialFailed as error:
        return ProbeResult(CRITICAL, f"Failed to dial to {target}: {error}")
    except Http2Failed as error:
        return ProbeResult(CRITICAL, f"HTTP2 ping failed: {error}")
    except TimeoutError:
        if dialled:
            text = "HTTP2 ping failed: context deadline exceeded"
        else:
            text = f"Failed to dial to {target}: dial tcp {target}: i/o timeout"
        return ProbeResult(CRITICAL, text, timed_out=True)
    return ProbeResult(PASSING, "HTTP2 ping was successful")


def _refuse_other_protocol(writer: asyncio.StreamWriter) -> None:
    spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol() or ""
    if spoken != PROTOCOL:
        raise DialFailed(f'http2: unexpected ALPN protocol "{spoken}"; want "{PROTOCOL}"')
