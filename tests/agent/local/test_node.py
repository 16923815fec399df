"""How a host presents itself to others."""

from __future__ import annotations

from agent.config.schema import AgentConfig
from agent.local.node import (
    catalog_node,
    gossip_tags,
    join_host_port,
    own_http,
    reconnect_timeout_of,
    sidecar_address,
)


def test_servers_say_their_role_port_and_expectation() -> None:
    config = AgentConfig(node_name="s1", server=True, bootstrap_expect=3, port_server=8300)
    tags = gossip_tags(config, "id-1")
    assert (tags["role"], tags["port"], tags["expect"], tags["id"]) == (
        "consul",
        "8300",
        "3",
        "id-1",
    )


def test_client_agents_say_no_more_than_they_are() -> None:
    tags = gossip_tags(AgentConfig(node_name="c1"), "id-2")
    assert tags["role"] == "node"
    assert "port" not in tags
    assert "expect" not in tags


def test_the_catalog_record_carries_tagged_addresses_and_metadata() -> None:
    config = AgentConfig(
        node_name="c1",
        advertise_addr="127.0.0.9",
        node_meta={"rack": "r1"},
        tagged_addresses={"wan": "198.51.100.1"},
    )
    node = catalog_node(config, "id-3")
    assert node.tagged_addresses == {
        "lan": "127.0.0.9",
        "lan_ipv4": "127.0.0.9",
        "wan": "198.51.100.1",
        "wan_ipv4": "127.0.0.9",
    }
    assert node.meta == {"consul-network-segment": "", "rack": "r1"}


def test_ipv6_addresses_get_brackets() -> None:
    assert join_host_port("::1", 8300) == "[::1]:8300"
    assert join_host_port("127.0.0.1", 8300) == "127.0.0.1:8300"


def test_sidecars_listen_where_the_agent_is_bound() -> None:
    def address(**changes: object) -> str:
        return sidecar_address(AgentConfig(node_name="n", **changes))  # type: ignore[arg-type]

    assert address(bind_addr="127.0.0.9") == "127.0.0.9"
    assert address(bind_addr="0.0.0.0") == ""
    assert address(bind_addr="127.0.0.1", dev_mode=True) == ""
    assert address(bind_addr="127.0.0.9", connect_builtin_proxy="off") == ""


def test_sidecars_find_the_agent_where_it_listens() -> None:
    everywhere = AgentConfig(node_name="a", client_addrs=("0.0.0.0", "10.0.0.1"), port_http=85)
    assert own_http(everywhere) == "127.0.0.1:85"
    assert own_http(AgentConfig(node_name="a", client_addrs=("::1",))) == "[::1]:8500"


def test_a_client_may_ask_to_be_forgotten_sooner() -> None:
    tags = gossip_tags(AgentConfig(node_name="c1", advertise_reconnect_timeout_s=5400.0), "id")
    assert tags["rc_tm"] == "1h30m0s"
    assert reconnect_timeout_of(tags) == 5400.0
    assert reconnect_timeout_of({}) is None
    assert reconnect_timeout_of({"rc_tm": "soon"}) is None
    assert reconnect_timeout_of({"rc_tm": "-1h"}) == 0.0
