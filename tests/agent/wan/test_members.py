"""Names of the two pools, who may be in which, and who is missing."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from agent.wan.members import (
    bare_name,
    is_server,
    lan_objection,
    number,
    to_be_joined,
    wan_name,
    wan_objection,
)
from gossip import Member, MemberStatus

TAGS = {"role": "consul", "dc": "east", "port": "8300", "wan_join_port": "8402"}


def member(
    name: str,
    address: str = "10.0.0.1",
    status: MemberStatus = MemberStatus.ALIVE,
    **tags: str,
) -> Member:
    return Member(
        name=name,
        address=address,
        port=8301,
        tags={key: value for key, value in (TAGS | tags).items() if value},
        status=status,
        protocol_min=1,
        protocol_max=5,
        protocol_current=2,
        delegate_min=2,
        delegate_max=5,
        delegate_current=5,
    )


@given(st.text(min_size=1), st.from_regex(r"[a-z0-9_-]+", fullmatch=True))
def test_a_name_comes_back(node: str, datacenter: str) -> None:
    name = wan_name(node, datacenter)
    assert bare_name(name, datacenter) == node
    assert wan_objection(name, {"role": "consul", "dc": datacenter}) == ""


def test_only_servers_are_let_in_and_only_under_a_name_of_their_datacenter() -> None:
    assert wan_objection("n1.east", {"role": "node", "dc": "east"}) == (
        "Member 'n1.east' is not a server"
    )
    assert "is not a server" in wan_objection("n1.east", {"role": "consul"})
    for name in ("n1", "n1.west", ".east", "east"):
        assert "has no name of its datacenter 'east'" in wan_objection(name, TAGS)


def test_an_agent_of_another_datacenter_is_kept_out() -> None:
    assert lan_objection("east", "n1", {"dc": "east"}) == ""
    assert lan_objection("east", "n1", {}) == ""
    assert lan_objection("east", "n1", {"dc": "west"}) == (
        "Member 'n1' part of wrong datacenter 'west'"
    )


def test_servers_that_the_pool_does_not_know_are_joined_at_their_own_port() -> None:
    lan = [
        member("s1"),
        member("s2", "10.0.0.2"),
        member("s3", "10.0.0.3", wan_join_port="70000"),
        member("s4", "fd00::4", wan_join_port=""),
        member("dead", status=MemberStatus.FAILED),
        member("client", role="node"),
        member("elsewhere", dc="west"),
        member("deaf", port="0"),
    ]
    known = [member("s1.east"), member("s2.east", status=MemberStatus.FAILED)]
    assert to_be_joined(lan, known, "east", default_port=8302) == (
        "10.0.0.2:8402",
        "10.0.0.3:8302",
        "[fd00::4]:8302",
    )
    everybody = [dataclasses.replace(each, name=f"{each.name}.east") for each in lan]
    assert to_be_joined(lan, everybody, "east", default_port=8302) == ()


@given(st.text() | st.integers().map(str))
def test_a_tag_is_a_port_or_nothing(text: str) -> None:
    assert 0 <= number(text) <= 65535
    assert is_server(member("x", port=text or "0")) is bool(number(text))
