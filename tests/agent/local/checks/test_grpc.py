"""The gRPC check against a server that speaks the health protocol."""

from __future__ import annotations

import ssl

import pytest

from agent.definitions import CheckDefinition
from agent.local.checks.contexts import Contexts
from agent.local.checks.grpc import probe_grpc
from agent.local.checks.h2ping import PROTOCOL
from tests.agent.local.checks.http2_server import Answer, grpc_answer, http2_server
from tests.certificates import TestCA

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def check(target: str, **fields) -> CheckDefinition:
    return CheckDefinition(grpc=target, interval_s=1.0, **{"timeout_s": 5.0, **fields})


def saying(*messages: bytes):
    left = list(messages)

    def answer(headers: dict[str, str], body: bytes) -> Answer:
        return grpc_answer(left.pop(0))

    return answer


async def test_a_serving_server_passes_and_is_asked_in_grpcs_manner() -> None:
    asked = []

    def answer(headers: dict[str, str], body: bytes) -> Answer:
        asked.append((headers, body))
        return grpc_answer(SERVING)

    async with http2_server(answer) as target:
        result = await probe_grpc(check(f"{target}/web"), None)
    assert (result.status, result.output) == ("passing", f"gRPC check {target}/web: success")
    headers, body = asked[0]
    assert body == b"\x00\x00\x00\x00\x05\x0a\x03web"
    assert headers[":path"] == "/grpc.health.v1.Health/Check"
    assert headers["content-type"] == "application/grpc" and headers["te"] == "trailers"
    assert headers["grpc-timeout"] == "5000m" and headers[":authority"] == target


@pytest.mark.parametrize(
    ("message", "output"),
    [
        (NOT_SERVING, "gRPC application didn't report service healthy"),
        (b"\x0a\x01x", "gRPC application didn't report service healthy"),
        (b"\x0a\x05x", "rpc error: code = Unavailable desc = the answer is cut off"),
    ],
    ids=["not serving", "no status", "cut off"],
)
async def test_any_other_answer_is_critical(message: bytes, output: str) -> None:
    async with http2_server(saying(message)) as target:
        result = await probe_grpc(check(target), None)
    assert (result.status, result.output) == ("critical", output)


async def test_an_unknown_service_is_critical_in_gos_words() -> None:
    def answer(headers: dict[str, str], body: bytes) -> Answer:
        return grpc_answer(b"", "5", "unknown%20service")

    async with http2_server(answer) as target:
        result = await probe_grpc(check(f"{target}/nope"), None)
    assert result.output == "rpc error: code = NotFound desc = unknown service"
    assert result.status == "critical"


async def test_a_server_without_grpc_is_critical() -> None:
    async with http2_server() as target:
        result = await probe_grpc(check(target), None)
    assert "unexpected HTTP status code received from server: 404" in result.output


async def test_an_endless_answer_is_cut_off() -> None:
    def answer(headers: dict[str, str], body: bytes) -> Answer:
        return [(":status", "200")], b"x" * 1_000_000, []

    async with http2_server(answer) as target:
        result = await probe_grpc(check(target, timeout_s=1.0), None)
    assert result.status == "critical"


async def test_a_closed_port_is_unavailable() -> None:
    result = await probe_grpc(check("127.0.0.1:1"), None)
    assert result.status == "critical" and not result.timed_out
    assert result.output == (
        "rpc error: code = Unavailable desc = connection error: desc = "
        '"transport: error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"'
    )


async def test_a_mute_server_runs_into_the_timeout() -> None:
    async with http2_server(mute=True) as target:
        result = await probe_grpc(check(target, timeout_s=0.2), None)
    assert (result.output, result.timed_out) == ("context deadline exceeded", True)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"tls_skip_verify": True}, "passing"),
        ({}, "critical"),
    ],
    ids=["skipping verification", "verifying"],
)
async def test_tls_is_spoken(fields, status, tmp_path) -> None:
    issued = TestCA(tmp_path).issue("grpc.test", dns=("grpc.test",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.cert, issued.key)
    context.set_alpn_protocols(["h2"])
    async with http2_server(saying(SERVING), context=context) as target:
        wanted = check(target, grpc_use_tls=True, tls_server_name="grpc.test", **fields)
        result = await probe_grpc(wanted, await Contexts(None).of(wanted, PROTOCOL))
    assert result.status == status
    assert status == "passing" or "x509" in result.output
