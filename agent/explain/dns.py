"""Why a DNS question is answered as it is.

Reads the name with the same code that answers, asks the catalog without the filters, and says of
every instance whether it was given out and what kept it back. Decides nothing of its own.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype

from agent import queries
from agent.backend import Ask, Backend, Consistency
from agent.backend import Reply as Asked
from agent.dates import date
from agent.dns import answers, health, names, sizes
from agent.dns.facts import Facts, Missing
from agent.dns.names import Kind, Lookup
from agent.dns.outline import Outline
from agent.dns.recursion import LOCAL_NETWORKS, Insiders
from agent.dns.rules import DnsView, Rules, rules_of
from agent.dns.sources import nobody
from agent.dns.wire import Question, read_question
from agent.errors import RequestError
from agent.queries import QueryNotFound, QueryRefused
from raftstore.dns_queries import GetVirtualAddress
from raftstore.queries import HealthEntry, HealthService, NodeServices, Query
from raftstore.records import Check, NodeName, ServiceName

#: A query that asks for nothing but to be there.
_ALL_HEALTH = queries.ServiceQuery()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be explained: a question as a client would send it. ``payload`` 0 is no EDNS."""

    name: str
    qtype: str = "A"
    tcp: bool = False
    payload: int = 0
    client: str = "127.0.0.1"


def wish_of(arguments: Sequence[str], query: Mapping[str, str]) -> Wish:
    """``dns NAME [TYPE]`` with ``transport``, ``payload`` and ``client``. Raises RequestError."""
    transport, payload = query.get("transport", "udp"), query.get("payload", "0")
    if transport not in {"udp", "tcp"} or not payload.isdecimal() or int(payload) > 0xFFFF:
        raise RequestError(400, "transport is udp or tcp, payload is 0 to 65535")
    client = query.get("client", "127.0.0.1")
    try:
        ipaddress.ip_address(client)
    except ValueError:
        raise RequestError(400, f"client is no IP address: {client!r}") from None
    return Wish(
        name=arguments[0] if arguments else query.get("name", ""),
        qtype=arguments[1] if len(arguments) > 1 else query.get("type", "A"),
        tcp=transport == "tcp",
        payload=int(payload),
        client=client,
    )


async def explain_dns(backend: Backend, view: DnsView, wish: Wish) -> dict[str, Any]:
    """How a question is read and answered, as JSON-able data. Recursors are not asked.

    Raises RequestError(400) when name or type cannot be asked, and what ``Backend.ask`` raises.
    """
    config = view.config
    question = _question(wish)
    rules = rules_of(config)
    lookup = names.read(question.labels, question.qtype, rules.zones)
    consistency = Consistency.STALE if config.dns.allow_stale else Consistency.DEFAULT
    options = Ask(consistency=consistency, max_stale_s=config.dns.max_stale_s)
    told: dict[str, Any] = {
        "Name": wish.name,
        "Type": dns.rdatatype.to_text(dns.rdatatype.RdataType.make(question.qtype)),
        "Read": _reading(lookup, rules),
        "Reads": {
            "Consistency": consistency.value,
            "MaxStaleSeconds": config.dns.max_stale_s,
            "UseCache": config.dns.use_cache,
        },
    }
    asking = _Asking(backend, view, options)
    outline, outside = await _outline(question, wish, rules, asking.ask)
    told["Facts"] = [_fact(query, asked) for query, asked in asking.known.items()]
    told["AskedElsewhere"] = [_away(query, value) for query, value in asking.away.items()]
    if not rules.is_local(lookup.datacenter):
        pass
    elif lookup.kind in {Kind.SERVICE, Kind.CONNECT, Kind.INGRESS}:
        told["Instances"] = await _instances(lookup, rules, backend, options)
    elif lookup.kind is Kind.VIRTUAL:
        held = (await backend.ask(GetVirtualAddress(ServiceName(lookup.name)), options)).value
        told["Virtual"] = (
            None
            if held is None
            else {
                "Address": held.address,
                "FreedAt": None if held.freed_at is None else date(held.freed_at),
            }
        )
    elif lookup.kind is Kind.NODE:
        node = (await backend.ask(NodeServices(NodeName(lookup.name)), options)).value.node
        told["Node"] = None if node is None else {"Node": node.name, "Address": node.address}
    elif lookup.kind is Kind.QUERY:
        told |= await _prepared(lookup.name, backend, options)
    told["Recursion"] = _recursion(view, wish.client, outline, outside)
    told["Reply"] = _reply(question, outline, rules, tcp=wish.tcp)
    return told


def _recursion(
    view: DnsView, client: str, outline: Outline, outside: Sequence[bytes]
) -> dict[str, Any]:
    """What recursors have to do with it: those that would be asked, and whether they would be."""
    insiders = Insiders(view.config.dns.recursion_allowed_cidrs or LOCAL_NETWORKS)
    return {
        "Recursors": list(view.recursors),
        "LeftOutForLooping": list(view.looping),
        "ClientMayUseThem": insiders.allows(client),
        "AnswerIsTheirs": outline.forward,
        "NamesToLookUp": [dns.name.from_wire(name, 0)[0].to_text() for name in outside],
    }


async def _prepared(name: str, backend: Backend, options: Ask) -> dict[str, Any]:
    """The query that answers for a name, and what keeps instances of its service out."""

    async def ask(query: Query[Any]) -> Any:
        return (await backend.ask(query, options)).value

    try:
        record, query = await queries.run_asking(queries.resolution(name), ask)
    except (QueryNotFound, QueryRefused) as error:
        return {"PreparedQuery": None, "PreparedQueryError": str(error)}
    service = query.service
    entries = await ask(
        HealthService(service=ServiceName(service.service), connect=service.connect)
    )
    return {
        "PreparedQuery": {
            "ID": record.id,
            "Name": record.name,
            "Template": record.template,
            "Service": service.service,
            "Near": service.near,
            "TTL": query.dns_ttl,
        },
        "Instances": [
            _entry(entry, _unmet(service, entry), health.obstacle(entry, only_passing=False))
            for entry in entries
        ],
    }


def _unmet(service: queries.ServiceQuery, entry: HealthEntry) -> str:
    """Which of a query's conditions an instance does not meet, "" if it meets them all."""
    if any(queries.meeting(service, [entry])):
        return ""
    conditions = (
        ("health", replace(service, tags=None, node_meta=None, service_meta=None)),
        ("tags", replace(_ALL_HEALTH, tags=service.tags)),
        ("node metadata", replace(_ALL_HEALTH, node_meta=service.node_meta)),
        ("service metadata", replace(_ALL_HEALTH, service_meta=service.service_meta)),
    )
    healthy = replace(entry, checks=())
    for what, condition in conditions:
        tried = entry if what == "health" else healthy
        if not any(queries.meeting(condition, [tried])):
            return f"does not meet the query's condition on {what}"
    return "does not meet the query"


def _question(wish: Wish) -> Question:
    edns: dict[str, Any] = {"use_edns": 0, "payload": wish.payload} if wish.payload else {}
    try:
        rtype = dns.rdatatype.from_text(wish.qtype)
        packet = dns.message.make_query(wish.name, rtype, **edns).to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise RequestError(400, f"Not a DNS question: {wish.name!r} {wish.qtype!r}") from error
    question = read_question(packet)
    assert isinstance(question, Question)
    return question


def _reading(lookup: Lookup, rules: Rules) -> dict[str, Any]:
    return {
        "Kind": lookup.kind.value,
        "Zone": lookup.zone.text,
        "Name": lookup.name,
        "Tag": lookup.tag,
        "Datacenter": lookup.datacenter or rules.datacenter,
        "KnownDatacenter": rules.is_local(lookup.datacenter),
        "Reason": lookup.reason,
    }


async def _outline(
    question: Question,
    wish: Wish,
    rules: Rules,
    ask: Callable[[queries.Question], Awaitable[Any]],
) -> tuple[Outline, list[bytes]]:
    """The outline, and the names outside the zones that it would take to make it whole."""
    facts: dict[queries.Question, Any] = {}
    while True:
        values = Facts(facts)
        try:
            rng = random.Random(0)
            outline = answers.answer(question, rules, values, rng, client=wish.client, tcp=wish.tcp)
            return outline, values.unknown
        except Missing as missing:
            facts[missing.query] = await ask(missing.query)


class _Asking:
    """Asks for facts, and keeps how each was answered."""

    def __init__(self, backend: Backend, view: DnsView, options: Ask) -> None:
        self._backend, self._elsewhere, self._options = backend, view.elsewhere, options
        self.known: dict[Query[Any], Asked[Any]] = {}
        self.away: dict[queries.Elsewhere | queries.Datacenters, Any] = {}

    async def ask(self, query: queries.Question) -> Any:
        """The value that counts for the answer."""
        if isinstance(query, queries.Elsewhere | queries.Datacenters):
            there = self._elsewhere
            value = nobody(query) if there is None else await there(query, self._options)
            self.away[query] = value
            return value
        self.known[query] = await self._backend.ask(query, self._options)
        return self.known[query].value


def _away(query: queries.Elsewhere | queries.Datacenters, value: Any) -> dict[str, Any]:
    """What another datacenter was asked, and whether it answered."""
    if isinstance(query, queries.Datacenters):
        return {"Query": "Datacenters", "Found": list(value)}
    return {
        "Datacenter": query.datacenter,
        "Query": type(query.query).__name__,
        "Known": value is not queries.NOWHERE,
        "Answered": value is not queries.NOWHERE and value is not None,
    }


def _fact(query: Query[Any], asked: Asked[Any]) -> dict[str, Any]:
    return {
        "Query": type(query).__name__,
        "DependsOn": [f"{table}/{key}" if key else table for table, key in query.footprint()],
        "Index": asked.index,
        "AgeSeconds": asked.last_contact_s,
        "KnownLeader": asked.known_leader,
    }


async def _instances(
    lookup: Lookup, rules: Rules, backend: Backend, options: Ask
) -> list[dict[str, Any]]:
    query = answers.service_query(replace(lookup, tag=""))
    found = (await backend.ask(query, options)).value
    return [_instance(entry, lookup, rules) for entry in found]


def _instance(entry: HealthEntry, lookup: Lookup, rules: Rules) -> dict[str, Any]:
    why = ""
    tags = {tag.lower() for tag in entry.service.tags}
    check = health.obstacle(entry, only_passing=rules.only_passing)
    if lookup.tag and lookup.kind is Kind.SERVICE and lookup.tag not in tags:
        why = f"does not carry the tag {lookup.tag!r}"
    elif check is not None:
        rule = "only_passing is set" if rules.only_passing else "critical instances are left out"
        why = f"check {check.id!r} is {check.status}: {rule}"
    return _entry(entry, why, check)


def _entry(entry: HealthEntry, why: str, check: Check | None) -> dict[str, Any]:
    return {
        "Node": entry.node.name,
        "ServiceID": entry.service.id,
        "Address": entry.service.address or entry.node.address,
        "Port": entry.service.port,
        "Weight": health.weight(entry),
        "Given": not why,
        "LeftOutBecause": why,
        "Check": check.id if check is not None else "",
    }


def _reply(question: Question, outline: Outline, rules: Rules, *, tcp: bool) -> dict[str, Any]:
    """The reply that this client would get now, and what was cut from it for which reason."""
    packet = sizes.write(outline, question, rules, tcp=tcp, rng=random.Random(0), now_s=0)
    message = dns.message.from_wire(packet, one_rr_per_rrset=True)
    possible = sum(len(item.records) for item in outline.items)
    cut = max(0, possible - len(message.answer))
    return {
        "Rcode": message.rcode().to_text(message.rcode()),
        "Flags": dns.flags.to_text(message.flags),
        "Answer": [record.to_text() for record in message.answer],
        "Additional": [record.to_text() for record in message.additional],
        "Bytes": len(packet),
        "PossibleAnswers": possible,
        "CutAnswers": cut,
        "CutBecause": _cut_because(question, outline, rules, len(message.answer), tcp=tcp),
        "AnswersMax": sizes.budget_of(question, rules, tcp=tcp).answers_max,
    }


def _cut_because(
    question: Question, outline: Outline, rules: Rules, given: int, *, tcp: bool
) -> list[str]:
    """Every reason for which something is missing, in the order in which they are applied."""
    why: list[str] = []
    left = sum(len(item.records) for item in outline.items)
    if outline.partial:
        why.append("no reply is made from so many instances: a random part was drawn")
    if outline.one_of and len(outline.items) > 1:
        why.append("instances at host names: one of them is drawn")
        left = len(outline.items[0].records)
    elif outline.address_limit and 0 < rules.a_record_limit < left:
        why.append(f"a_record_limit is {rules.a_record_limit}")
        left = rules.a_record_limit
    budget = sizes.budget_of(question, rules, tcp=tcp)
    answers_max = max(1, budget.answers_max)
    if answers_max < left:
        what = "UDP without EDNS" if budget.uncompressed_after_cut else "a reply"
        why.append(f"{what} holds {answers_max} answers (udp_answer_limit)")
        left = answers_max
    if given < left:
        why.append(f"{budget.bytes_max} bytes hold no more")
    return why
