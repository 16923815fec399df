"""DNS under fuzzing: any packet to an agent, over UDP and TCP; any packet from a recursor."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import dns.message
import dns.rdatatype
import dns.rrset

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns.recursion import Verdict, judge
from agent.dns.reply_reading import Unreadable, read_reply
from agent.dns.resolver import Later, Resolver
from agent.dns.wire import Question, read_question
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog
from tests.golden.dns_scenarios import FOLDER

CLIENT = "127.0.0.1"
PLAIN_UDP_BYTES = 512


def _catalog() -> Catalog:
    made = Catalog()
    for number in range(40):
        node = Node(
            name=NodeName(f"node-{number}"), address=f"10.0.0.{number}", meta={"a=b": "`" * number}
        )
        for name, address in (("web", ""), ("ext", "web.service.consul"), ("six", "2001:db8::1")):
            service = Service(
                node=node.name, id=ServiceId(name), name=ServiceName(name), address=address
            )
            made.register(node, service)
    made.define_query({"Name": "q", "Service": {"Service": "web", "Near": "_ip"}})
    return made


CATALOG = _catalog()
WITHOUT_RECURSORS = AgentConfig(
    node_name="node-1", dns=DnsConfig(owned_ranges=("10.0.0.0/8",), enable_truncate=True)
)
WITH_RECURSORS = AgentConfig(node_name="node-1", dns=DnsConfig(recursors=("192.0.2.1",)))


def question(data: bytes) -> None:
    """A packet to an agent: no exception, a reply that dnspython reads, no larger than asked."""
    read = read_question(data)
    for config in (WITHOUT_RECURSORS, WITH_RECURSORS):
        resolver = Resolver(config, CATALOG, rng=random.Random(1), clock=lambda: 1.0)
        for tcp in (False, True, False):
            reply = resolver.respond(data, tcp=tcp, client=CLIENT)
            if reply is None or isinstance(reply, Later):
                continue
            assert reply[:2] == data[:2]
            message = dns.message.from_wire(reply, one_rr_per_rrset=True)
            edns = read.edns if isinstance(read, Question) else None
            allowed = max(PLAIN_UDP_BYTES, edns.payload_bytes if edns else 0)
            single = len(message.answer) <= 1
            assert tcp or len(reply) <= allowed or single
            assert len(reply) <= 65_535
        resolver.close()
    assert len(CATALOG.watches) == 0


def upstream_reply(data: bytes) -> None:
    """A packet from a recursor: read or unreadable, and believed only if it fits the question."""
    try:
        reply = read_reply(data)
    except Unreadable:
        reply = None
    if reply is not None:
        for record in reply.answers:
            assert record.owner.endswith(b"\0")
            assert len(record.owner) <= 255
    asked = read_question(dns.message.make_query("www.out.example.", "A", id=7).to_wire())
    assert isinstance(asked, Question)
    judged = judge(asked, 7, data, bytes_max=PLAIN_UDP_BYTES)
    if judged.verdict is Verdict.FINAL:
        assert data[:2] == b"\0\7"
        assert len(data) <= PLAIN_UDP_BYTES


def question_seeds() -> Iterator[bytes]:
    """What the recordings ask, malformed packets included."""
    for path in sorted(FOLDER.glob("*.json")):
        for step in json.loads(path.read_text()).get("steps", []):
            if "raw" in step.get("dns", {}):
                yield bytes.fromhex(step["dns"]["raw"])
    for name in ("web.service", "_web._tcp.service", "ext.service", "node-3.node", "q.query", ""):
        for qtype in ("A", "AAAA", "SRV", "ANY", "TXT", "SOA", "NS"):
            text = f"{name}.consul." if name else "consul."
            yield dns.message.make_query(text, qtype, use_edns=0, payload=1232).to_wire()
    yield dns.message.make_query("3.0.0.10.in-addr.arpa.", dns.rdatatype.PTR).to_wire()


def reply_seeds() -> Iterator[bytes]:
    """Answers to the question that the target asks, and to others."""
    lines = (
        "www.out.example. 60 IN CNAME mid.out.example.",
        "mid.out.example. 60 IN A 192.0.2.1",
        'www.out.example. 60 IN TXT "x"',
    )
    for number in range(8):
        name = "www.out.example." if number % 2 else "other.example."
        message = dns.message.make_response(dns.message.make_query(name, "A", id=7))
        for line in lines[: number // 2]:
            owner, ttl, rclass, rtype, value = line.split(" ", 4)
            message.answer.append(dns.rrset.from_text(owner, int(ttl), rclass, rtype, value))
        yield message.to_wire()
