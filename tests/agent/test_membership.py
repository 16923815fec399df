"""Tags come from other hosts: what they say is read with care."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backend import RaftConfiguration, RaftServer
from agent.backend.bootstrap import Candidate
from agent.backend.servers import ServerAddress
from agent.leader.autopilot import Seen, Standing
from agent.membership import (
    candidates,
    described_configuration,
    gossip_config,
    seen_servers,
    server_addresses,
)
from gossip import GossipConfig, Member, MemberStatus
from tests.agent.config.hosts import load_values

SERVER = Member(
    name="s1",
    address="10.0.0.1",
    port=8301,
    tags={"role": "consul", "dc": "dc1", "id": "id-1", "port": "8300", "expect": "3"},
    status=MemberStatus.ALIVE,
    protocol_min=1,
    protocol_max=5,
    protocol_current=2,
    delegate_min=2,
    delegate_max=5,
    delegate_current=4,
)


def with_tags(**tags: str) -> Member:
    return replace(SERVER, tags={**SERVER.tags, **tags})


def test_a_server_is_where_its_tags_say() -> None:
    assert server_addresses([SERVER], "dc1") == [ServerAddress("id-1", "s1", "10.0.0.1", 8300)]
    assert candidates([SERVER], "dc1") == (
        Candidate(node_id="id-1", address="10.0.0.1:8300", expect=3),
    )


@pytest.mark.parametrize(
    "member",
    [
        replace(SERVER, status=MemberStatus.FAILED),
        replace(SERVER, status=MemberStatus.LEFT),
        with_tags(role="node"),
        with_tags(dc="dc2"),
        with_tags(port=""),
        with_tags(port="0"),
        with_tags(port="65536"),
        with_tags(port="²³"),
        with_tags(port="9" * 5000),
    ],
)
def test_who_is_no_server_of_ours_is_not_called(member: Member) -> None:
    assert server_addresses([member], "dc1") == []
    assert candidates([member], "dc1") == ()


@given(st.dictionaries(st.sampled_from(["role", "dc", "id", "port", "expect"]), st.text()))
def test_no_tags_raise(tags: dict[str, str]) -> None:
    member = replace(SERVER, tags={**SERVER.tags, **tags})
    assert len(server_addresses([member], "dc1")) == len(candidates([member], "dc1"))
    assert len(seen_servers([member], "dc1")) <= 1


def test_servers_are_remembered_whatever_became_of_them() -> None:
    gone = replace(
        SERVER, name="s2", status=MemberStatus.FAILED, tags={**SERVER.tags, "id": "id-2"}
    )
    assert seen_servers([SERVER, gone, with_tags(role="node", id="id-3")], "dc1") == (
        Seen(node_id="id-1", name="s1", address="10.0.0.1:8300", standing=Standing.ALIVE),
        Seen(node_id="id-2", name="s2", address="10.0.0.1:8300", standing=Standing.FAILED),
    )


def test_a_server_under_a_new_name_is_as_lively_as_the_livelier_of_the_two() -> None:
    old = replace(SERVER, name="old", status=MemberStatus.LEFT)
    for order in ([old, SERVER], [SERVER, old]):
        (found,) = seen_servers(order, "dc1")
        assert (found.name, found.standing) == ("s1", Standing.ALIVE)


def test_servers_of_the_raft_configuration_get_the_names_that_gossip_knows() -> None:
    servers = (
        RaftServer("id-1", "10.0.0.1:8300", leader=True, voter=True),
        RaftServer("id-2", "10.0.0.2:8300", leader=False, voter=False),
    )
    shown = described_configuration(RaftConfiguration(servers, 7), [SERVER])
    assert shown["Index"] == 0
    assert [(s["Node"], s["Leader"], s["Voter"]) for s in shown["Servers"]] == [
        ("s1", True, True),
        ("(unknown)", False, False),
    ]


def test_what_the_configuration_says_of_gossip_arrives_there(tmp_path: Path) -> None:
    given = {
        "identity_reclaim_time": "3s",
        "dead_node_reclaim_time": "4s",
        "push_pull_strict": True,
        "unique_node_ids": False,
        "stall_min_time": "0s",
        "quarantine_time": "7s",
    }
    made = gossip_config(load_values({"gossip_lan": given}, tmp_path).config)
    assert (made.identity_reclaim_s, made.dead_node_reclaim_s) == (3.0, 4.0)
    assert (made.push_pull_strict, made.unique_identities) == (True, False)
    assert (made.stall_min_s, made.quarantine_s) == (0.0, 7.0)
    plain = gossip_config(load_values({}, tmp_path).config)
    library = GossipConfig.lan("x")
    for name in ("identity_reclaim_s", "stall_min_s", "quarantine_s", "unique_identities"):
        assert getattr(plain, name) == getattr(library, name)
