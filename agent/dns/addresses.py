"""Which of its addresses a node or an instance shows for a type of question (DNS contract 9), and
the names that stand for them."""

from __future__ import annotations

from collections.abc import Mapping

from dns.rdatatype import RdataType

from agent.dns import records
from agent.dns.names import Zone
from raftstore.records import Node, Service

_V4, _V6 = "lan_ipv4", "lan_ipv6"


def node_address(node: Node, qtype: int) -> str:
    """The text of the address; it may still be of the other family or a host name."""
    tagged = node.tagged_addresses
    if not tagged:
        return node.address
    return _choose(tagged, node.address, qtype)


def service_address(service: Service, qtype: int) -> str:
    """As ``node_address``; "" when the instance lives at its node's address."""
    if not service.tagged_addresses:
        return service.address
    plain = {name: tagged.address for name, tagged in service.tagged_addresses.items()}
    return _choose(plain, service.address, qtype)


def _choose(tagged: Mapping[str, str], default: str, qtype: int) -> str:
    if qtype == RdataType.A:
        return tagged.get(_V4) or default
    if qtype == RdataType.AAAA:
        return tagged.get(_V6) or default
    return tagged.get(_V6) or tagged.get(_V4) or default


def node_target(name: str, datacenter: str, zone: Zone) -> bytes | None:
    """``NODE.node.DC.ZONE``, None when the node's name does not fit into a name."""
    return records.name_wire(f"{name}.node.{datacenter}.{zone.text}")


def service_target(name: str, datacenter: str, zone: Zone) -> bytes | None:
    """``SERVICE.service.DC.ZONE``, None when the name does not fit into one."""
    return records.name_wire(f"{name}.service.{datacenter}.{zone.text}")
