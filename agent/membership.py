"""What an agent tells others about itself through gossip, and reads from them.

Decides which members are servers of this datacenter, and which of them may form a cluster.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from agent.backend import RaftConfiguration
from agent.backend.bootstrap import Candidate
from agent.backend.servers import ServerAddress
from agent.config.schema import AgentConfig, GossipTiming
from agent.leader.autopilot import Seen, Standing
from agent.local.node import WAN_JOIN_PORT, gossip_tags, join_host_port, reconnect_timeout_of
from agent.wan.members import is_server, lan_objection, number, wan_name, wan_objection
from gossip import GossipConfig, Member, MemberStatus

#: How the files of the two pools begin, in the folder "serf" of the data directory.
LAN, WAN = "local", "remote"


def keyring_path(config: AgentConfig, pool: str = LAN) -> str:
    """Where the gossip keys of a pool are kept; "" when they are only kept in memory."""
    if config.disable_keyring_file or not config.data_dir:
        return ""
    return _file(config, f"{pool}.keyring")


def gossip_config(config: AgentConfig) -> GossipConfig:
    """How this agent takes part in the gossip of its datacenter."""
    return GossipConfig(
        name=config.node_name,
        bind_address=config.serf_lan_addr or config.bind_addr,
        bind_port=config.port_serf_lan,
        advertise_address=config.advertise_addr,
        advertise_port=config.port_serf_lan,
        tags=gossip_tags(config, config.node_id),
        keys=config.gossip_keys,
        reconnect_timeout_s=config.reconnect_timeout_s,
        reconnect_timeout_of=reconnect_timeout_of,
        admits=functools.partial(lan_objection, config.datacenter),
        networks=config.serf_lan_allowed_cidrs,
        **_pool(config, config.gossip_lan, config.gossip, LAN),
    )


def wan_gossip_config(config: AgentConfig) -> GossipConfig:
    """How this server takes part in the gossip of the servers of all datacenters."""
    tags = {
        name: value
        for name, value in gossip_tags(config, config.node_id).items()
        if name != WAN_JOIN_PORT
    }
    return GossipConfig(
        name=wan_name(config.node_name, config.datacenter),
        bind_address=config.serf_wan_addr or config.bind_addr,
        bind_port=config.port_serf_wan,
        advertise_address=config.advertise_addr_wan or config.advertise_addr,
        advertise_port=config.port_serf_wan,
        tags=tags,
        keys=config.gossip_wan_keys,
        reconnect_timeout_s=config.reconnect_timeout_wan_s,
        admits=wan_objection,
        networks=config.serf_wan_allowed_cidrs,
        **_pool(config, config.gossip_wan, config.gossip_between, WAN),
    )


def _file(config: AgentConfig, name: str) -> str:
    return str(PurePath(config.data_dir) / "serf" / name)


def _pool(
    config: AgentConfig, timing: GossipTiming, more: Mapping[str, object], pool: str
) -> dict[str, Any]:
    """What is told of both pools alike."""
    return dict(
        gossip_interval_s=timing.gossip_interval_s,
        gossip_nodes=timing.gossip_nodes,
        probe_interval_s=timing.probe_interval_s,
        probe_timeout_s=timing.probe_timeout_s,
        retransmit_mult=timing.retransmit_mult,
        suspicion_mult=timing.suspicion_mult,
        identity_reclaim_s=timing.identity_reclaim_s,
        dead_node_reclaim_s=timing.dead_node_reclaim_s,
        push_pull_strict=timing.push_pull_strict,
        unique_identities=timing.unique_node_ids,
        stall_min_s=timing.stall_min_s,
        quarantine_s=timing.quarantine_s,
        keyring_path=keyring_path(config, pool),
        encrypt_verify_incoming=config.encrypt_verify_incoming,
        encrypt_verify_outgoing=config.encrypt_verify_outgoing,
        rejoin_path=_file(config, f"{pool}.snapshot") if config.data_dir else "",
        rejoin_after_leave=config.rejoin_after_leave,
        **more,
        coordinates=config.coordinates_enabled,
    )


def alive_servers(members: Iterable[Member], datacenter: str) -> list[Member]:
    """The members that say they are servers of this datacenter, with a port that can be one."""
    return [
        member
        for member in members
        if member.status is MemberStatus.ALIVE and is_server(member, datacenter)
    ]


def server_addresses(members: Iterable[Member], datacenter: str) -> list[ServerAddress]:
    """Where the servers take calls."""
    return [
        ServerAddress(m.tags.get("id", ""), m.name, m.address, number(m.tags["port"]))
        for m in alive_servers(members, datacenter)
    ]


def candidates(members: Iterable[Member], datacenter: str) -> tuple[Candidate, ...]:
    """The servers as partners for a first election; `expect` is 0 for one that names none."""
    return tuple(
        Candidate(
            node_id=member.tags.get("id", ""),
            address=join_host_port(member.address, number(member.tags["port"])),
            expect=number(member.tags.get("expect", "")),
        )
        for member in alive_servers(members, datacenter)
    )


_STANDINGS = {
    MemberStatus.ALIVE: Standing.ALIVE,
    MemberStatus.LEAVING: Standing.LEAVING,
    MemberStatus.FAILED: Standing.FAILED,
    MemberStatus.LEFT: Standing.LEFT,
}
_LIVELIEST = tuple(_STANDINGS.values())


def seen_servers(members: Iterable[Member], datacenter: str) -> tuple[Seen, ...]:
    """All servers of this datacenter that gossip remembers, whatever became of them.

    A server that came back under another name is listed twice: the livelier one counts.
    """
    found: dict[str, Seen] = {}
    for member in members:
        tags, standing = member.tags, _STANDINGS.get(member.status)
        node_id, port = tags.get("id", ""), number(tags.get("port", ""))
        if standing is None or not node_id or not port:
            continue
        if tags.get("role") != "consul" or tags.get("dc") != datacenter:
            continue
        before = found.get(node_id)
        if before is not None and _rank(before.standing) <= _rank(standing):
            continue
        found[node_id] = Seen(
            node_id=node_id,
            name=member.name,
            address=join_host_port(member.address, port),
            standing=standing,
            version=tags.get("build", "").partition(":")[0],
            non_voter="nonvoter" in tags or "read_replica" in tags,
        )
    return tuple(found.values())


def described_configuration(
    found: RaftConfiguration, members: Iterable[Member]
) -> dict[str, object]:
    """The Raft configuration as operators see it, with the names that gossip knows.

    ``Index`` is 0, as Consul has answered since its Raft library hands out the latest configuration
    without asking the log for it; clients' tests look at it.
    """
    names = {member.tags.get("id", ""): member.name for member in members}
    servers = [
        {
            "ID": server.node_id,
            "Node": names.get(server.node_id, "(unknown)"),
            "Address": server.address,
            "Leader": server.leader,
            "ProtocolVersion": "3",
            "Voter": server.voter,
        }
        for server in found.servers
    ]
    return {"Servers": servers, "Index": 0}


def _rank(standing: Standing) -> int:
    return _LIVELIEST.index(standing)
