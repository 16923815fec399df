"""`/v1/agent/`: the agent itself, its gossip pool and its life (http-api contract 7)."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from agent import CONSUL_VERSION, VERSION
from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import Need
from agent.config.schema import AgentConfig
from agent.distance import to_json
from agent.errors import RequestError
from agent.filters import compile_filter
from agent.host_facts import host_facts
from agent.http import filter_fields, render
from agent.http.agent_stats import Facts, sections
from agent.http.call import Call, done
from agent.http.context import GossipMember, GossipPool
from agent.http.params import parse_bool
from agent.http.parse import several
from agent.http.reply import Reply
from agent.late import loaded
from agent.local.node import join_host_port
from agent.wan.members import bare_name
from gossip.coordinates import Coordinate
from raftstore.records import Json

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_SECRETS = frozenset({"encrypt", "gossip_keys", "token", "tokens", "ca_config", "header"})
#: Configuration is shown no deeper than this.
_DEBUG_DEPTH = 8
#: What a port that is not open is called.
NO_PORT = -1


def parameter(call: Call) -> str:
    """The path's parameter, decoded a second time as agent endpoints do (contract 1.1)."""
    if "%" not in call.rest:
        return call.rest
    for at, char in enumerate(call.rest):
        pair = call.rest[at + 1 : at + 3]
        if char == "%" and not (
            len(pair) == 2 and all(c in "0123456789abcdefABCDEF" for c in pair)
        ):
            bad = call.rest[at : at + 3]
            raise RequestError(
                500,
                f'failure in unescaping path param "{call.rest}": invalid URL escape "{bad}"',
            )
    return unquote(call.rest, errors="replace")


async def self_(call: Call) -> Reply:
    """Who this agent is and how it does."""
    context = call.context
    config = context.config
    me = context.gossip.local_member()
    return call.json(
        {
            "Config": {
                "Datacenter": config.datacenter,
                "PrimaryDatacenter": config.datacenter,
                "NodeName": config.node_name,
                # An id that was made at the first start stands in the member, not in the files.
                "NodeID": config.node_id or me.tags.get("id", ""),
                "Revision": VERSION,
                "Server": config.server,
                "Version": CONSUL_VERSION,
            },
            "DebugConfig": _debug_config(config)
            | {"SerfAdvertiseAddrLAN": f"tcp://{join_host_port(me.address, me.port)}"},
            "Coord": to_json(context.gossip.coordinate() or Coordinate()),
            "Member": render.member(me),
            "Stats": _stats(call),
            "Meta": {"consul-network-segment": "", **config.node_meta},
            # Nobody's Envoys are served: proxies get their configuration from this HTTP API.
            "xDS": {
                "SupportedProxies": {"envoy": []},
                "Ports": {"Plaintext": NO_PORT, "TLS": NO_PORT},
            },
        }
    )


def _stats(call: Call) -> Json:
    context = call.context
    checks = context.local.checks().values()
    members = context.gossip.members()
    facts = Facts(
        arch=platform.machine(),
        system=platform.system().lower(),
        python=platform.python_version(),
        processors=os.cpu_count() or 1,
        goroutines=len(asyncio.all_tasks()),
        datacenters=1 if context.wan is None else len(context.wan.datacenters()),
        servers=sum(member.tags.get("role") == "consul" for member in members),
        checks_by_ttl=sum(check.type == "ttl" for check in checks),
        acl_enabled=context.config.acl.enabled,
    )
    return {
        name: dict(each) for name, each in sections(context.config, context.stats(), facts).items()
    }


def _debug_config(config: AgentConfig) -> dict[str, Json]:
    return {_camel(name): found for name, found in _fields(config, 0)}


def _fields(value: Any, depth: int) -> Iterator[tuple[str, Json]]:
    for item in dataclasses.fields(value):
        hidden = item.name in _SECRETS
        yield item.name, "hidden" if hidden else _debug(getattr(value, item.name), depth + 1)


def _debug(value: Any, depth: int = 0) -> Json:
    """The configuration as JSON, secrets hidden, names in Consul's spelling."""
    if depth > _DEBUG_DEPTH:
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_camel(name): found for name, found in _fields(value, depth)}
    if isinstance(value, Mapping):
        return {str(key): _debug(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_debug(item, depth + 1) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


#: What Consul's servers say where `ports.serf_wan` is -1.
NO_WAN_POOL = "WAN Federation is disabled"


async def members(call: Call) -> Reply:
    """The members of the gossip pool; with ``wan`` the servers of all datacenters.

    As in the reference, an agent that is not in that pool knows nobody there.
    """
    wan = bool(call.params.get("wan"))
    # "_all" is what Consul's own command line asks for when nobody names a segment.
    if call.params.get("segment") not in {None, "", "_all"}:
        if wan:
            raise RequestError(400, "Cannot provide a segment with wan=true")
        raise RequestError(500, "Network segments are not supported in this version of Consul")
    context = call.context
    everybody: Sequence[GossipMember] = context.gossip.members()
    if wan:
        everybody = () if context.wan is None else context.wan.members()
    known = [member for member in everybody if _may_see(call, member)]
    call.consulted = True
    expression = call.params.get("filter")
    keep = compile_filter(expression, filter_fields.MEMBER) if expression else None
    shown = [render.member(member) for member in known]
    return call.json([each for each in shown if keep is None or keep(each)])


def _may_see(call: Call, member: GossipMember) -> bool:
    """Rules speak of nodes by the names that these have in their datacenter."""
    datacenter = member.tags.get("dc", "")
    return call.may("node", READ, bare_name(member.name, datacenter) if datacenter else member.name)


async def host(call: Call) -> Reply:
    """What this host is and what it has left."""
    folder = call.context.config.data_dir or "/"
    return call.json(await asyncio.to_thread(host_facts, folder))


async def version(call: Call) -> Reply:
    """What runs here."""
    return call.json(
        {
            "SHA": "",
            "BuildDate": "0001-01-01T00:00:00Z",
            "HumanVersion": CONSUL_VERSION,
            "FIPS": "",
        }
    )


async def metrics(call: Call) -> Reply:
    """Counters: the Prometheus text where it is enabled, else Consul's (empty) interval."""
    wants = "openmetrics" in call.headers.get("Accept", "")
    if call.params.get("format") == "prometheus" or wants:
        if call.context.config.prometheus_retention_time_s <= 0:
            reason = "Prometheus is not enabled since its retention time is not positive"
            raise RequestError(415, reason)
        await loaded("agent.exposition")
        return Reply(call.context.metrics_text().encode(), _PROMETHEUS)
    return call.json(interval(call))


def interval(call: Call) -> Json:
    """The present interval of ten seconds, in Consul's form."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(time.time() // 10 * 10))
    gauges = [
        {"Name": f"lictor.{section}.{name}", "Value": number, "Labels": {}}
        for section, values in call.context.stats().items()
        for name, value in values.items()
        if (number := _number(value)) is not None
    ]
    empty: dict[str, Json] = {"Points": [], "Counters": [], "Samples": []}
    return {"Timestamp": stamp, "Gauges": gauges, **empty}


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


async def reload(call: Call) -> Reply:
    """Read the configuration again."""
    await call.context.reload()
    return done()


async def leave(call: Call) -> Reply:
    """Leave the pool, answer once that is known there, and stop."""
    await call.context.leave()
    return done()


async def join(call: Call) -> Reply:
    """Join the pool through a peer."""
    address = parameter(call)
    if not address:
        raise RequestError(500, "Missing address to join")
    pool: GossipPool | None = call.context.gossip
    if call.params.get("wan"):
        pool = call.context.wan
    if pool is None:
        # Never the pool of this datacenter instead: a foreign ring would be merged into it.
        server = call.context.config.server
        raise RequestError(500, NO_WAN_POOL if server else "Must be a server to join WAN cluster")
    outcome = await pool.join([address])
    # To meet nobody but ourselves is no failure, as in the reference.
    if not outcome.joined and outcome.errors:
        reasons = [f"Failed to join {peer}: {reason}" for peer, reason in outcome.errors]
        raise RequestError(500, several(reasons))
    return done()


async def force_leave(call: Call) -> Reply:
    """Declare a failed member left; with ``prune`` forget it."""
    name, prune = parameter(call), "prune" in call.params
    context = call.context
    found = False
    if not call.params.get("wan"):
        # About ourselves there is nothing to say: we would contradict it.
        found = context.gossip.force_leave(name, prune=prune) or name == context.config.node_name
    if context.wan is not None:
        # A server is a member of both pools.
        found = context.wan.force_leave(name, prune=prune) or found
    if not found:
        raise RequestError(500, f"agent: No node found with name '{name}'")
    return done()


def enable_of(call: Call) -> bool:
    """The required ``enable`` of maintenance calls."""
    given = call.params.get("enable")
    if not given:
        raise RequestError(400, "Missing value for enable")
    wish = parse_bool(given)
    if wish is None:
        raise RequestError(400, f'Invalid value for enable: "{given}"')
    return wish


async def maintenance(call: Call) -> Reply:
    """Put the node into maintenance, or out of it."""
    enable = enable_of(call)
    call.require(Need("node", WRITE, call.context.config.node_name))
    await call.context.local.set_node_maintenance(enable, call.params.get("reason"))
    return done()
