"""`dns setup` prints what a program takes, and tells a working chain from a broken one."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import Iterator

import pytest

from agent.cli.dns import COMMANDS
from agent.cli.dns_snippets import PROGRAMS, Agent
from agent.cli.main import run
from agent.config.schema import AgentConfig
from agent.dns import DnsServer
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog

AGENT = Agent(domain="consul", host="127.0.0.1", port=8600)


def called(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run("lictor", ["dns", "setup", *words])
    return status, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_snippet_names_the_domain_and_the_agent(program: str) -> None:
    status, out, err = called(f"-for={program}", "-domain=example.", "-dns-addr=192.0.2.1:8601")
    assert status == 0
    assert "example" in out
    assert "192.0.2.1" in out
    assert "8601" in out
    assert "Write this into" in err


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("resolved", "DNS=[2001:db8::1]:8600"),
        ("dnsmasq", "server=/consul/2001:db8::1#8600"),
        ("unbound", "forward-addr: 2001:db8::1@8600"),
        ("bind", "2001:db8::1 port 8600;"),
        ("coredns", "forward . [2001:db8::1]:8600"),
        ("knot", "'2001:db8::1@8600'"),
    ],
)
def test_each_writes_an_address_its_own_way(program: str, text: str) -> None:
    assert text in called(f"-for={program}", "-dns-addr=[2001:db8::1]:8600")[1]


@pytest.mark.parametrize("words", [[], ["-for=hosts"], ["-for=bind", "-dns-addr=127.0.0.1"]])
def test_what_cannot_be_set_up_is_said(words: list[str]) -> None:
    status, out, err = called(*words)
    assert status == 1
    assert out == ""
    assert "-for" in err or "-dns-addr" in err


@contextlib.contextmanager
def served(*, domain_known: bool = True) -> Iterator[str]:
    """An agent's DNS face on a loop of its own; gives its address."""
    catalog = Catalog()
    if domain_known:
        node = Node(name=NodeName("s1"), address="10.0.0.1")
        service = Service(node=node.name, id=ServiceId("consul"), name=ServiceName("consul"))
        catalog.register(node, service)

    loop = asyncio.new_event_loop()
    server = DnsServer(AgentConfig(node_name="s1"), catalog)
    loop.run_until_complete(server.listen((("127.0.0.1", 0),)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    host, port = server.addresses[0]
    try:
        yield f"{host}:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_chain_that_works_and_one_that_does_not() -> None:
    with served() as agent, served() as forwarder, served(domain_known=False) as stranger:
        ask = ["-for=dnsmasq", "-check", f"-dns-addr={agent}"]
        status, out, _ = called(*ask, f"-resolver={forwarder}")
        assert status == 0
        assert "passes consul on to it" in out
        status, _, err = called(*ask, f"-resolver={stranger}")
        assert status == 1
        assert "NXDOMAIN" in err
        status, _, err = called("-for=dnsmasq", "-check", f"-dns-addr={stranger}")
        assert status == 1
        assert "does not answer" in err


def test_the_command_says_what_it_can_set_up() -> None:
    assert all(program in COMMANDS[("dns", "setup")].help for program in PROGRAMS)
