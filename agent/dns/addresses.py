"""Which of its addresses a node or an instance shows for a type of question (DNS contract 9)."""

from __future__ import annotations

from collections.abc import Mapping

from dns.rdatatype import RdataType

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
