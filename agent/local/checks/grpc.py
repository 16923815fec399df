"""The gRPC check: does a server's health service say SERVING (agent contract 1.1)."""

from __future__ import annotations

import asyncio
import ssl

from agent.definitions import CheckDefinition
from agent.local.checks import grpc_words
from agent.local.checks.connecting import DialFailed, opened
from agent.local.checks.http2 import Http2, Http2Failed
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 10.0


async def probe_grpc(check: CheckDefinition, context: ssl.SSLContext | None) -> ProbeResult:
    """Ask the server of ``check.grpc`` about itself, or about the service after the slash."""
    target, _, service = check.grpc.partition("/")
    timeout_s = check.timeout_s or TIMEOUT_DEFAULT_S
    try:
        async with (
            asyncio.timeout(timeout_s),
            opened(target, context, check.tls_server_name) as stream,
        ):
            answer = await Http2(*stream).ask(
                _headers(check, target, timeout_s), grpc_words.request(service)
            )
            problem = grpc_words.failure(answer.headers)
            if problem:
                return ProbeResult(CRITICAL, problem)
            status = grpc_words.serving_status(answer.body)
    except TimeoutError:
        return ProbeResult(CRITICAL, "context deadline exceeded", timed_out=True)
    except DialFailed as error:
        reason = f'connection error: desc = "transport: error while dialing: {error}"'
        return ProbeResult(CRITICAL, grpc_words.unavailable(reason))
    except (Http2Failed, grpc_words.GrpcError) as error:
        return ProbeResult(CRITICAL, grpc_words.unavailable(str(error)))
    if status != grpc_words.SERVING:
        return ProbeResult(CRITICAL, "gRPC application didn't report service healthy")
    return ProbeResult(PASSING, f"gRPC check {check.grpc}: success")


def _headers(check: CheckDefinition, target: str, timeout_s: float) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "https" if check.grpc_use_tls else "http"),
        (":path", grpc_words.PATH),
        (":authority", check.tls_server_name or target),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-lictor"),
        ("te", "trailers"),
        # At most eight digits: longer times are said in seconds.
        ("grpc-timeout", f"{timeout_s * 1000:.0f}m" if timeout_s < 9e4 else f"{timeout_s:.0f}S"),
    ]
