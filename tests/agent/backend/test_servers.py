"""Which server is asked next."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agent.backend.servers import ServerAddress, Servers


def server(name: str, port: int = 8300) -> ServerAddress:
    return ServerAddress(f"id-{name}", name, "127.0.0.1", port)


def test_an_agent_stays_with_its_server() -> None:
    servers = Servers(random.Random(3))
    servers.update([server("a"), server("b"), server("c")])
    first = servers.preferred()
    servers.update([server("c"), server("b"), server("a"), server("d")])
    assert servers.preferred() == first


def test_a_failed_server_is_asked_last() -> None:
    servers = Servers(random.Random(3))
    servers.update([server("a"), server("b")])
    first = servers.preferred()
    assert first is not None
    servers.failed(first)
    assert servers.preferred() != first
    assert servers.all()[-1] == first


def test_a_new_address_of_a_known_server_is_taken_over_in_place() -> None:
    servers = Servers(random.Random(3))
    servers.update([server("a")])
    servers.update([server("a", port=9000)])
    assert servers.preferred() == server("a", port=9000)


def test_the_address_of_a_server_is_known_while_it_is_one() -> None:
    servers = Servers(random.Random(3))
    servers.update([server("a")])
    assert servers.has_host("127.0.0.1") and not servers.has_host("127.0.0.2")
    servers.update([])
    assert not servers.has_host("127.0.0.1")


@given(st.lists(st.sets(st.sampled_from("abcdef")), max_size=8), st.integers(0, 99))
def test_the_known_servers_are_those_gossip_shows(views: list[set[str]], seed: int) -> None:
    servers = Servers(random.Random(seed))
    for view in views:
        servers.update([server(n) for n in sorted(view)])
        assert {s.name for s in servers.all()} == view
