"""How this host presents itself: its gossip tags and its record in the catalog. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from agent import CONSUL_VERSION
from agent.config.schema import AgentConfig
from agent.durations import DurationError, format_ns, parse_s
from raftstore.records import Node, NodeId, NodeName

#: Addresses that mean all of them.
ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (compared, not bound)

#: How long a failed agent wants to be remembered, as Consul's agents say it.
RECONNECT_TAG = "rc_tm"


def reconnect_timeout_of(tags: Mapping[str, str]) -> float | None:
    """Seconds after which a failed agent with these tags may be forgotten, if it says so."""
    text = tags.get(RECONNECT_TAG, "")
    try:
        return max(0.0, parse_s(text)) if text else None
    except DurationError:
        return None


#: Says in the pool of one datacenter where a server's member of the other pool is.
WAN_JOIN_PORT = "wan_join_port"


def gossip_tags(config: AgentConfig, node_id: str) -> dict[str, str]:
    """The tags that Consul's agents read about each other (http-api contract, section 7)."""
    tags = {
        "dc": config.datacenter,
        "id": node_id,
        "build": CONSUL_VERSION,
        "vsn": "2",
        "vsn_min": "2",
        "vsn_max": "3",
        "segment": "",
        "role": "consul" if config.server else "node",
    }
    if config.advertise_reconnect_timeout_s:
        tags[RECONNECT_TAG] = format_ns(round(config.advertise_reconnect_timeout_s * 1e9))
    if config.server:
        tags |= {"port": str(config.port_server), "raft_vsn": "3", "acls": "0"}
        # Consul's servers tell these beside: states of the federation and intentions as entries are
        # known, and where the WAN pool would be joined.
        tags |= {"ft_fs": "1", "ft_si": "1"}
        if config.in_wan:
            tags[WAN_JOIN_PORT] = str(config.port_serf_wan)
        if config.bootstrap:
            tags["bootstrap"] = "1"
        if config.bootstrap_expect:
            tags["expect"] = str(config.bootstrap_expect)
    return tags


def catalog_node(config: AgentConfig, node_id: str) -> Node:
    """The node's record (agent contract 4.3)."""
    address = config.advertise_addr
    wan = config.advertise_addr_wan or address
    tagged = {"lan": address, f"lan_{_family(address)}": address}
    tagged |= {"wan": wan, f"wan_{_family(wan)}": wan}
    return Node(
        name=NodeName(config.node_name),
        id=NodeId(node_id),
        address=address,
        datacenter=config.datacenter,
        tagged_addresses=tagged | dict(config.tagged_addresses),
        meta={"consul-network-segment": "", **config.node_meta},
    )


def _family(address: str) -> str:
    return "ipv6" if ":" in address else "ipv4"


def sidecar_address(config: AgentConfig) -> str:
    """Where the sidecars that this agent runs listen for the mesh: "" is every address.

    An operator who binds the agent to one address means all of its cluster traffic. A development
    agent's sidecars listen everywhere, as the reference's do.
    """
    if config.connect_builtin_proxy != "auto" or config.bind_addr in ANY or config.dev_mode:
        return ""
    return config.bind_addr


def own_http(config: AgentConfig) -> str:
    """Where what runs on this host finds the agent's HTTP API."""
    host = next((each for each in config.http_addrs if "/" not in each), "127.0.0.1")
    return join_host_port("127.0.0.1" if host in ANY else host, config.port_http)


def own_api(config: AgentConfig) -> str:
    """Where this agent itself finds its HTTP API: a URL, "unix:///path", or "" where it is off."""
    if config.port_http > 0 and any("/" not in each for each in config.http_addrs):
        return f"http://{own_http(config)}"
    return next((each for each in config.http_addrs if each.startswith("unix://")), "")


def join_host_port(host: str, port: int) -> str:
    """ "host:port", with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
