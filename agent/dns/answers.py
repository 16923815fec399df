"""From a question and what the catalog says to the records of the reply (DNS contract 3 to 6).

Decides rcodes, sections and records. Facts come in through ``Facts``; one that is missing ends the
attempt with ``Missing``, whose query the caller asks before trying again, so that nothing here
waits. Shuffling, limits and bytes are left to ``sizes``: an ``Outline`` may be cut many times.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from agent import queries
from agent.dns import addresses, apex, health, names, records
from agent.dns.facts import Facts, NoDatacenter
from agent.dns.names import Kind, Lookup, Zone, reverse_zone
from agent.dns.outline import (
    INSTANCES_MAX,
    SRV_INSTANCES_MAX,
    STEP_INSTANCES,
    UDP_INSTANCES_MAX,
    UDP_INSTANCES_MIN,
    UDP_ROUNDS,
    Item,
    Outline,
    SoaAt,
)
from agent.dns.rules import Rules, ttl
from agent.dns.wire import Question, Record
from agent.queries import QueryNotFound, QueryRefused, Request
from raftstore.dns_queries import GetVirtualAddress, HealthSample, VirtualAddressAt, WhoHasAddress
from raftstore.mesh_queries import IngressHealth
from raftstore.queries import (
    HealthEntry,
    HealthService,
    NodeServices,
    Query,
)
from raftstore.records import Node, NodeName, ServiceName

#: Nested steps from a name to the end of its chain of CNAMEs (DNS contract 5).
CHASE_STEPS_MAX = 3
#: Records behind a host name that a client without EDNS gets (DNS contract 5).
CHASED_MAX = 5

#: The shortest record with an address: a pointer, type, class, TTL, length, four bytes (RFC 1035).
ADDRESS_RECORD_BYTES = 16

_ADDRESS_TYPES = frozenset({RdataType.A, RdataType.AAAA, RdataType.ANY})
_CHAIN_TYPES = frozenset({RdataType.CNAME, RdataType.A, RdataType.AAAA})
_NODE_TYPES = _ADDRESS_TYPES | {RdataType.TXT}


def answer(
    question: Question,
    rules: Rules,
    facts: Facts,
    rng: random.Random,
    *,
    client: str = "",
    tcp: bool = True,
    seed: int | None = None,
) -> Outline:
    """The outline of the reply to ``client`` (its address as text). Raises ``Missing``.

    With a ``seed`` the catalog draws the instances of a large service, as many as one step of the
    loop may look at: an outline that is ``wanting`` could have more (``large``). Without one it is
    asked for all of them.
    """
    lookup = names.read(question.labels, question.qtype, rules.zones)
    if lookup.kind is Kind.OUTSIDE:
        if rules.recursion_available:
            return _forwarded(lookup.zone, rules)
        return Outline(rcode=Rcode.REFUSED, zone=lookup.zone, authoritative=False, opt=False)
    if lookup.kind is Kind.REVERSE:
        outline = _reverse(question, lookup, rules, facts)
    elif question.qtype in {RdataType.SOA, RdataType.NS, RdataType.AXFR}:
        outline = apex.apex(question.qtype, lookup.zone, rules, facts, rng)
    else:
        most = instances_max(question, tcp=tcp)
        outline = _named(question, lookup, rules, facts, rng, client, most, seed)
    if rules.recursion_available:
        outline = replace(outline, recursion_available=True)
    return outline


def instances_max(question: Question, *, tcp: bool) -> int:
    """Instances that a reply is made from."""
    most = SRV_INSTANCES_MAX if question.qtype == RdataType.SRV else INSTANCES_MAX
    if tcp:
        return most
    payload = question.edns.payload_bytes if question.edns else 0
    fitting = UDP_ROUNDS * payload // ADDRESS_RECORD_BYTES
    return min(most, UDP_INSTANCES_MAX, max(UDP_INSTANCES_MIN, fitting))


def _forwarded(zone: Zone, rules: Rules) -> Outline:
    """What the recursors say, or SERVFAIL."""
    return Outline(
        rcode=Rcode.SERVFAIL,
        zone=zone,
        authoritative=False,
        recursion_available=True,
        forward=rules.recursion_available,
    )


def _nothing(zone: Zone, rcode: Rcode = Rcode.NXDOMAIN) -> Outline:
    return Outline(rcode=rcode, zone=zone, soa_at=SoaAt.AUTHORITY)


def _named(
    question: Question,
    lookup: Lookup,
    rules: Rules,
    facts: Facts,
    rng: random.Random,
    client: str,
    most: int,
    seed: int | None,
) -> Outline:
    owner, qtype, edns = question.name, question.qtype, question.edns
    chased_max = CHASED_MAX if edns is None else INSTANCES_MAX
    source = (edns.subnet_address if edns is not None else "") or client
    if lookup.kind is Kind.ADDR:
        return _addr(owner, lookup, rules)
    if lookup.kind is Kind.NOTHING:
        return _nothing(lookup.zone)
    steps = chase_steps(qtype, CHASE_STEPS_MAX)
    ask = _Ask(owner, qtype, lookup.zone, rules, facts, rng, steps, chased_max, source, most, seed)
    try:
        return _looked_up(ask.of(lookup.datacenter), lookup)
    except NoDatacenter:
        return _nothing(lookup.zone)


def _looked_up(ask: _Ask, lookup: Lookup) -> Outline:
    """What a name of ours stands for."""
    if lookup.kind is Kind.NODE:
        return _node(ask, lookup.name)
    if lookup.kind is Kind.QUERY:
        return _prepared(ask, lookup.name)
    if lookup.kind is Kind.VIRTUAL:
        return _virtual(ask, lookup.name)
    return _service(ask, lookup)


def chase_steps(qtype: int, steps: int) -> int:
    """Steps left behind the first target: its own CNAME is one, an SRV record is none."""
    return steps if qtype == RdataType.SRV else steps - 1


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is wanted about one name, be it the client's or the target of a CNAME."""

    owner: bytes
    qtype: int
    zone: Zone
    rules: Rules
    facts: Facts
    rng: random.Random
    steps: int
    chased_max: int = CHASED_MAX
    source: str = ""
    most: int = SRV_INSTANCES_MAX
    seed: int | None = None

    def of(self, datacenter: str) -> _Ask:
        """The same in another datacenter; "" stays."""
        if self.rules.is_local(datacenter):
            return self
        return replace(self, rules=self.rules.of(datacenter), facts=self.facts.of(datacenter))


# --- nodes, addr, reverse, apex


def _addr(owner: bytes, lookup: Lookup, rules: Rules) -> Outline:
    if not lookup.address:
        return Outline(zone=lookup.zone)
    record = records.address(owner.lower(), rules.node_ttl_s, lookup.address)
    return Outline(zone=lookup.zone, items=(Item((record,)),))


def _node(ask: _Ask, name: str) -> Outline:
    if ask.qtype not in _NODE_TYPES:  # measured: also when there is no such node
        return Outline(zone=ask.zone)
    node = ask.facts.get(NodeServices(NodeName(name))).node
    if node is None:
        return _nothing(ask.zone)
    ttl_s = ask.rules.node_ttl_s
    items: list[Item] = []
    if ask.qtype != RdataType.TXT:
        text = addresses.node_address(node, ask.qtype)
        items += _address_item(ask, text, ttl_s)
    notes = tuple(_meta(node, ask.owner, ttl_s))
    if ask.qtype in {RdataType.TXT, RdataType.ANY}:
        items += [Item((note,)) for note in notes]
        notes = ()
    if not ask.rules.node_meta_txt:
        notes = ()
    return Outline(zone=ask.zone, items=tuple(items), additional=notes)


def _address_item(ask: _Ask, text: str, ttl_s: int) -> list[Item]:
    """An address of the asked family, or the CNAME of a host name with its chain; else nothing."""
    packed = records.address_bytes(text)
    if packed is not None:
        if not _family_fits(ask.qtype, packed):
            return []
        return [Item((records.address(ask.owner, ttl_s, packed),))]
    target = records.name_wire(text)
    if target is None:
        return []
    own = records.cname(ask.owner, ttl_s, target)
    return [Item((own, *chase(target, ask, ask.steps)))]


def _family_fits(qtype: int, packed: bytes) -> bool:
    if qtype == RdataType.A:
        return len(packed) == 4
    if qtype == RdataType.AAAA:
        return len(packed) == 16
    return qtype in {RdataType.ANY, RdataType.SRV}


def _meta(node: Node, owner: bytes, ttl_s: int) -> list[Record]:
    pairs = node.meta or {}
    return [records.txt(owner, ttl_s, records.meta_text(key, pairs[key])) for key in sorted(pairs)]


def _reverse(question: Question, lookup: Lookup, rules: Rules, facts: Facts) -> Outline:
    """PTR of the node with the address, else of the service. An unknown name is for the recursors
    (without them SERVFAIL with RA: measured), unless its range is ours: then it does not exist."""
    target: bytes | None = None
    if lookup.address:
        holder = facts.get(WhoHasAddress(records.address_text(lookup.address)))
        if holder.node is not None:
            target = addresses.node_target(holder.node.name, rules.datacenter, rules.zones.primary)
        if target is None and holder.service is not None:
            target = addresses.service_target(
                holder.service.name, rules.datacenter, rules.zones.primary
            )
        if target is None and records.is_virtual(lookup.address):
            virtual = facts.get(VirtualAddressAt(records.address_text(lookup.address)))
            if virtual is not None and virtual.freed_at is None:
                home = f"{rules.datacenter}.{rules.zones.primary.text}"
                target = records.name_wire(f"{virtual.service}.virtual.{home}")
    if target is not None:
        found = Item((records.ptr(question.name, target),))
        at = SoaAt.AUTHORITY if question.qtype == RdataType.SOA else SoaAt.NOWHERE
        return Outline(zone=lookup.zone, items=(found,), soa_at=at)
    owned = reverse_zone(question.labels, rules.owned_zones)
    if owned is None:
        return _forwarded(lookup.zone, rules)
    if question.labels == tuple(label.encode() for label in owned.labels):
        own = question.qtype == RdataType.SOA
        return Outline(zone=owned, soa_at=SoaAt.ANSWER if own else SoaAt.AUTHORITY)
    return _nothing(owned)


# --- services


def _service(ask: _Ask, lookup: Lookup) -> Outline:
    chosen, partial = _drawn(ask, service_query(lookup))
    outline = _instances(ask, chosen, ask.rules.service_ttl_s(lookup.name), shuffled=True)
    if not partial:
        return outline
    wanting = ask.most if ask.seed is not None and len(chosen) < ask.most else 0
    return replace(outline, partial=True, wanting=wanting)


def _drawn(ask: _Ask, query: Query[tuple[HealthEntry, ...]]) -> tuple[Sequence[HealthEntry], bool]:
    """Instances that are fit to be given out, in no order; and whether there are others."""
    only_passing = ask.rules.only_passing
    if ask.seed is not None and isinstance(query, HealthService):
        sample = ask.facts.get(
            HealthSample(
                service=query.service,
                tags=query.tags,
                connect=query.connect,
                only_passing=only_passing,
                most=min(ask.most, STEP_INSTANCES),
                seed=ask.seed,
            )
        )
        return sample.entries, sample.partial
    chosen = health.fit(ask.facts.get(query), only_passing=only_passing)
    if len(chosen) > ask.most:
        return ask.rng.sample(chosen, ask.most), True
    return chosen, False


def _virtual(ask: _Ask, name: str) -> Outline:
    """The one address of a service of the mesh; it is of IPv4."""
    held = ask.facts.get(GetVirtualAddress(ServiceName(name)))
    packed = None if held is None else records.address_bytes(held.address)
    if held is None or packed is None or held.freed_at is not None:
        return _nothing(ask.zone)
    if not _family_fits(ask.qtype, packed) or ask.qtype == RdataType.SRV:
        return _no_data(ask)
    record = records.address(ask.owner, ask.rules.node_ttl_s, packed)
    return Outline(zone=ask.zone, items=(Item((record,)),))


def _prepared(ask: _Ask, name: str) -> Outline:
    """What a prepared query finds. One that is not there does not exist; one that is there and
    cannot be carried out is a server failure (DNS contract 12)."""
    rules = ask.rules
    request = Request(
        name=name, agent=rules.node, source_ip=ask.source, datacenter=rules.datacenter
    )
    try:
        found = queries.run(queries.execution(request, ask.rng), ask.facts.answer)
    except QueryNotFound:
        return _nothing(ask.zone)
    except QueryRefused:
        return Outline(rcode=Rcode.SERVFAIL, zone=ask.zone)
    query = found.query
    ttl_s = ask.rules.service_ttl_s(query.service.service.lower())
    if query.dns_ttl_s is not None:
        ttl_s = ttl(query.dns_ttl_s)
    most = ask.most
    outline = _instances(
        ask.of(found.datacenter), found.nodes[:most], ttl_s, shuffled=not found.ordered
    )
    scoped = outline.rcode == Rcode.NOERROR
    return replace(
        outline,
        scoped=scoped,
        partial=len(found.nodes) > most,
        personal=query.service.near == queries.ADDRESS,
    )


def _instances(ask: _Ask, chosen: Sequence[HealthEntry], ttl_s: int, *, shuffled: bool) -> Outline:
    """The records of these instances, whose order means something unless they are shuffled."""
    if not chosen:
        return _nothing(ask.zone)
    if ask.qtype == RdataType.SRV:
        items = _srv_items(ask, chosen, ttl_s)
        return Outline(zone=ask.zone, items=items, shuffled=shuffled) if items else _no_data(ask)
    found: dict[bytes, int] = {}
    hosts: list[bytes] = []
    for entry in chosen:
        text = _instance_address(ask, entry)
        packed = records.address_bytes(text)
        if packed is None:
            target = records.name_wire(text)
            hosts += [] if target is None else [target]
        elif _family_fits(ask.qtype, packed):
            found[packed] = found.get(packed, 0) + health.weight(entry)
    if found:
        limited = ask.qtype in _ADDRESS_TYPES
        made = (
            Item((records.address(ask.owner, ttl_s, packed),), weight=weight)
            for packed, weight in found.items()
        )
        items = tuple(made)
        return Outline(zone=ask.zone, items=items, shuffled=shuffled, address_limit=limited)
    if not hosts:
        return _no_data(ask)
    if ask.rules.recursion_available and shuffled:
        # One is given in the end: the recursors are not asked for the others.
        hosts = [ask.rng.choice(hosts)]
    aliases = tuple(_alias(ask, target, ttl_s) for target in (hosts if shuffled else hosts[:1]))
    return Outline(zone=ask.zone, items=aliases, shuffled=shuffled, one_of=True)


def _alias(ask: _Ask, target: bytes, ttl_s: int) -> Item:
    """The CNAME of an instance that lives at a host name, with what lies behind it."""
    own = records.cname(ask.owner, ttl_s, target)
    return Item((own, *_chased(target, ask, ttl_s)))


def _chased(target: bytes, ask: _Ask, ttl_s: int) -> tuple[Record, ...]:
    """The chain behind an instance's host name, with the service's TTL (DNS contract 5)."""
    chain = [record for record in chase(target, ask, ask.steps) if record.rtype in _CHAIN_TYPES]
    return tuple(records.with_ttl(record, ttl_s) for record in chain[: ask.chased_max])


def _no_data(ask: _Ask) -> Outline:
    return _nothing(ask.zone, Rcode.NOERROR)


def service_query(lookup: Lookup) -> Query[tuple[HealthEntry, ...]]:
    """The catalog query behind a service, connect or ingress name."""
    if lookup.kind is Kind.INGRESS:
        return IngressHealth(ServiceName(lookup.name))
    return HealthService(
        service=ServiceName(lookup.name),
        tags=(lookup.tag,) if lookup.tag else (),
        connect=lookup.kind is Kind.CONNECT,
    )


def _instance_address(ask: _Ask, entry: HealthEntry) -> str:
    """The address of an instance: its own, unless that is empty or the very name asked for."""
    own = addresses.service_address(entry.service, ask.qtype)
    node = addresses.node_address(entry.node, ask.qtype)
    if not own:
        return node
    if records.address_bytes(own) is None and records.address_bytes(node) is not None:
        wire = records.name_wire(own)
        if wire is not None and wire.lower() == ask.owner.lower():
            return node
    return own


def _srv_items(ask: _Ask, entries: Sequence[HealthEntry], ttl_s: int) -> tuple[Item, ...]:
    seen: set[tuple[str, str, int]] = set()
    items: list[Item] = []
    for entry in entries:
        service = entry.service
        key = (entry.node.name, service.address, service.port)
        if key in seen:
            continue
        seen.add(key)
        item = _srv_item(ask, entry, ttl_s)
        if item is not None:
            items.append(item)
    return tuple(items)


def _srv_item(ask: _Ask, entry: HealthEntry, ttl_s: int) -> Item | None:
    """One SRV record with the addresses of its target (DNS contract 3.2)."""
    text = _instance_address(ask, entry)
    packed = records.address_bytes(text)
    datacenter = ask.rules.datacenter
    home = addresses.node_target(entry.node.name, datacenter, ask.zone)
    if packed is None:
        target = records.name_wire(text)
    elif text == entry.node.address and text != entry.service.address:
        target = home
    else:
        target = records.name_wire(f"{packed.hex()}.addr.{datacenter}.{ask.zone.text}")
    if target is None:
        return None
    own = records.srv(ask.owner, ttl_s, health.weight(entry), entry.service.port, target)
    if packed is None:
        needs = _chased(target, ask, ttl_s)
    else:
        needs = (records.address(target, ttl_s, packed),)
    if not ask.rules.node_meta_txt or home is None:
        return Item((own,), needs)
    texts = tuple(_meta(entry.node, home, ttl_s))
    if target == home:
        return Item((own,), (*needs, *texts))
    return Item((own,), needs, texts)


# --- chains


def chase(target: bytes, ask: _Ask, steps: int) -> tuple[Record, ...]:
    """What a host name resolves to: with ANY under our zones, else what the recursors know; () at
    the end of the steps. A chain that leads nowhere is short, never an error."""
    if steps <= 0 or ask.facts.full:
        return ()
    labels = tuple(label.lower() for label in _labels(target))
    lookup = names.read(labels, RdataType.ANY, ask.rules.zones)
    if lookup.kind is Kind.OUTSIDE and ask.rules.recursion_available:
        return ask.facts.outside(target)
    if lookup.kind in {Kind.OUTSIDE, Kind.REVERSE, Kind.NOTHING}:
        return ()
    inner = replace(
        ask, owner=target, qtype=RdataType.ANY, zone=lookup.zone, steps=steps - 1,
        chased_max=CHASED_MAX, source="",
    )  # fmt: skip
    if lookup.kind is Kind.ADDR:
        outline = _addr(target, lookup, ask.rules)
    else:
        try:
            outline = _looked_up(inner.of(lookup.datacenter), lookup)
        except NoDatacenter:
            return ()
    items = list(outline.items)
    if outline.shuffled:
        ask.rng.shuffle(items)
    if outline.one_of:
        items = items[:1]
    chain = [record for item in items for record in item.records]
    return tuple(record for record in chain if record.rtype != RdataType.TXT)


def _labels(wire: bytes) -> list[bytes]:
    labels, at = [], 0
    while wire[at]:
        labels.append(wire[at + 1 : at + 1 + wire[at]])
        at += wire[at] + 1
    return labels
