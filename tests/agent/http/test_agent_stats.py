"""Statistics under Consul's names: a leader, a follower, a client."""

from __future__ import annotations

from agent.config.schema import AgentConfig
from agent.http.agent_stats import Facts, sections

FACTS = Facts(
    arch="x",
    system="linux",
    python="3",
    processors=2,
    goroutines=9,
    servers=3,
    datacenters=2,
    checks_by_ttl=1,
    acl_enabled=True,
)
OWN = {
    "local": {"checks": "4", "services": "2"},
    "gossip": {"members_alive": "3", "members_failed": "1", "members_left": "1", "keys": "0"},
    "gossip_wan": {"members_alive": "2", "members_failed": "1", "coordinate_resets": "3"},
    "raft": {
        "role": "leader", "applied_index": "7", "last_index": "9", "term": "2",
        "leader_address": "a:1", "last_contact_s": "0.0", "steps": "5",
    },
}  # fmt: skip
SERVER = AgentConfig(node_name="n", server=True, bootstrap=True)


def test_a_leader() -> None:
    found = sections(SERVER, OWN, FACTS)
    assert found["agent"] == {
        "check_monitors": "3", "check_ttls": "1", "checks": "4", "services": "2",
    }  # fmt: skip
    consul = found["consul"]
    assert (consul["acl"], consul["bootstrap"], consul["leader"]) == ("enabled", "true", "true")
    raft = found["raft"]
    assert (raft["state"], raft["last_contact"], raft["num_peers"]) == ("Leader", "0", "2")
    assert (raft["applied_index"], raft["last_log_index"], raft["steps"]) == ("7", "9", "5")
    assert found["serf_lan"]["members"] == "5"
    assert found["serf_wan"]["members"] == "3"
    assert found["serf_wan"]["coordinate_resets"] == "3"
    assert consul["known_datacenters"] == "2"


def test_a_server_outside_of_the_pool_of_servers() -> None:
    own = {name: each for name, each in OWN.items() if name != "gossip_wan"}
    assert "serf_wan" not in sections(SERVER, own, FACTS)


def test_a_follower_says_how_long_ago_it_heard() -> None:
    own = OWN | {"raft": OWN["raft"] | {"role": "follower", "last_contact_s": "0.0123"}}
    found = sections(SERVER, own, FACTS)
    assert found["raft"]["state"] == "Follower"
    assert found["raft"]["last_contact"] == "12.3ms"
    assert found["consul"]["leader"] == "false"


def test_a_client_has_no_part_in_raft() -> None:
    own = {name: each for name, each in OWN.items() if name != "raft"}
    found = sections(AgentConfig(node_name="n"), own, FACTS)
    assert found["consul"] == {"acl": "enabled", "known_servers": "3", "server": "false"}
    assert not {"raft", "serf_wan"} & set(found)
    assert found["serf_lan"]["failed"] == "1"
