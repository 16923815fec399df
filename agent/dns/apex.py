"""What every name of a zone is answered alike: SOA, NS and AXFR (DNS contract 3 and 3.1)."""

from __future__ import annotations

import random
import re

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from agent.dns import health, records
from agent.dns.facts import Facts
from agent.dns.names import Zone
from agent.dns.outline import Item, Outline, SoaAt
from agent.dns.rules import Rules
from raftstore.queries import HealthService
from raftstore.records import CONSUL_SERVICE, ServiceName

#: Servers named in an NS answer (DNS contract 3.1).
NAME_SERVERS_MAX = 3
_PLAIN_NODE_NAME = re.compile(r"[A-Za-z0-9-]+\Z")


def apex(qtype: int, zone: Zone, rules: Rules, facts: Facts, rng: random.Random) -> Outline:
    """SOA, NS and AXFR are answered alike for every name of the zone."""
    if qtype == RdataType.AXFR:
        return Outline(rcode=Rcode.NOTIMP, zone=zone)
    servers = _name_servers(zone, rules, facts, rng)
    if qtype == RdataType.NS:
        return Outline(zone=zone, items=tuple(servers))
    return Outline(
        zone=zone,
        soa_at=SoaAt.ANSWER,
        authority=tuple(record for item in servers for record in item.records),
        additional=tuple(record for item in servers for record in item.needs),
    )


def _name_servers(zone: Zone, rules: Rules, facts: Facts, rng: random.Random) -> list[Item]:
    """Up to three random passing servers, with their addresses."""
    entries = facts.get(HealthService(service=ServiceName(CONSUL_SERVICE)))
    found: list[Item] = []
    for entry in health.fit(entries, only_passing=True):
        name, packed = entry.node.name, records.address_bytes(entry.node.address)
        target = records.name_wire(f"{name}.node.{rules.datacenter}".lower() + f".{zone.text}")
        if packed is None or target is None or not _PLAIN_NODE_NAME.match(name):
            continue
        own = records.ns(zone.wire, rules.node_ttl_s, target)
        found.append(Item((own,), (records.address(target, rules.node_ttl_s, packed),)))
    return rng.sample(found, min(NAME_SERVERS_MAX, len(found)))
