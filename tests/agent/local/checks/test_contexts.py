"""Checks over TLS: whom they believe, and whether they show the agent's certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from agent.certificates import TlsConfig
from agent.definitions import CheckDefinition
from agent.local.checks.contexts import Contexts
from agent.local.checks.tcp import probe_tcp
from tests.certificates import TestCA


@pytest.fixture
def authority(tmp_path) -> TestCA:
    return TestCA(tmp_path)


@contextlib.asynccontextmanager
async def listening(authority: TestCA, *, demanding: bool = False):
    issued = authority.issue("app.test", dns=("app.test",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.load_cert_chain(issued.cert, issued.key)
    # TLS 1.3 tells a client of a missing certificate only after the handshake.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if demanding:
        context.verify_mode = ssl.CERT_REQUIRED

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def check(target: str, **fields) -> CheckDefinition:
    return CheckDefinition(
        tcp=target, tcp_use_tls=True, tls_server_name="app.test", interval_s=1.0, **fields
    )


async def status(definition: CheckDefinition, contexts: Contexts) -> tuple[str, str]:
    result = await probe_tcp(definition, await contexts.of(definition))
    return result.status, result.output


def agents_own(authority: TestCA) -> TlsConfig:
    issued = authority.issue("agent")
    return TlsConfig(
        ca_file=str(authority.file), cert_file=str(issued.cert), key_file=str(issued.key)
    )


async def test_an_unknown_authority_is_critical_unless_it_does_not_matter(authority) -> None:
    contexts = Contexts(None)
    async with listening(authority) as target:
        seen = await status(check(target), contexts)
        assert seen[0] == "critical" and seen[1].startswith("x509: ")
        assert await status(check(target, tls_skip_verify=True), contexts) == (
            "passing",
            f"TCP connect {target}: Success",
        )


async def test_the_agents_own_files_count_where_they_are_to(authority) -> None:
    contexts = Contexts(None)
    async with listening(authority, demanding=True) as target:
        assert (await status(check(target, tls_skip_verify=True), contexts))[0] == "critical"
        contexts.configure(agents_own(authority))
        assert (await status(check(target), contexts))[0] == "passing"
        contexts.configure(None)
        assert (await status(check(target), contexts))[0] == "critical"


async def test_settings_are_made_once_until_they_change(authority) -> None:
    contexts = Contexts(agents_own(authority))
    first = await contexts.of(check("a:1"))
    assert await contexts.of(check("b:1")) is first
    assert await contexts.of(check("b:1"), "h2") is not first
    contexts.configure(agents_own(authority))
    assert await contexts.of(check("a:1")) is not first


async def test_a_name_that_is_not_the_servers_is_critical(authority) -> None:
    contexts = Contexts(agents_own(authority))
    async with listening(authority) as target:
        wrong = CheckDefinition(tcp=target, tcp_use_tls=True, tls_server_name="other.test")
        assert (await status(wrong, contexts))[0] == "critical"
