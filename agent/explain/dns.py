"""Why a DNS question is answered as it is.

Reads the name with the same code that answers, asks the catalog without the filters, and says of
every instance whether it was given out and what kept it back. Decides nothing of its own.
"""

from __future__ import annotations

import random
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from agent.backend import Ask, Backend, Consistency
from agent.backend import Reply as Asked
from agent.config.schema import AgentConfig
from agent.dns import answers, health, names, sizes
from agent.dns.facts import Facts, Missing
from agent.dns.names import Kind, Lookup
from agent.dns.outline import Outline
from agent.dns.rules import Rules, rules_of
from agent.dns.wire import Question, read_question
from agent.errors import RequestError
from raftstore.queries import HealthEntry, HealthService, NodeServices, Query
from raftstore.records import NodeName, ServiceName


async def explain_dns(
    backend: Backend, config: AgentConfig, name: str, qtype: str
) -> dict[str, Any]:
    """How a question over plain UDP is read and answered, as JSON-able data.

    Raises RequestError(400) when name or type cannot be asked, and what ``Backend.ask`` raises.
    """
    question = _question(name, qtype)
    rules = rules_of(config)
    lookup = names.read(question.labels, question.qtype, rules.zones)
    told: dict[str, Any] = {
        "Name": name,
        "Type": dns.rdatatype.to_text(dns.rdatatype.RdataType.make(question.qtype)),
        "Read": _reading(lookup, rules),
    }
    options = Ask(consistency=Consistency.STALE if config.dns.allow_stale else Consistency.DEFAULT)
    facts: dict[Query[Any], Asked[Any]] = {}
    outline = await _outline(question, rules, backend, options, facts)
    told["Facts"] = [_fact(query, asked) for query, asked in facts.items()]
    if lookup.kind in {Kind.SERVICE, Kind.CONNECT} and rules.is_local(lookup.datacenter):
        told["Instances"] = await _instances(lookup, rules, backend, options)
    elif lookup.kind is Kind.NODE and rules.is_local(lookup.datacenter):
        node = (await backend.ask(NodeServices(NodeName(lookup.name)), options)).value.node
        told["Node"] = None if node is None else {"Node": node.name, "Address": node.address}
    told["Reply"] = _reply(question, outline, rules)
    return told


def _question(name: str, qtype: str) -> Question:
    try:
        packet = dns.message.make_query(name, dns.rdatatype.from_text(qtype)).to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise RequestError(400, f"Not a DNS question: {name!r} {qtype!r}") from error
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
    rules: Rules,
    backend: Backend,
    options: Ask,
    facts: dict[Query[Any], Asked[Any]],
) -> Outline:
    while True:
        values = Facts({query: asked.value for query, asked in facts.items()})
        try:
            return answers.answer(question, rules, values, random.Random(0))
        except Missing as missing:
            facts[missing.query] = await backend.ask(missing.query, options)


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
    query = HealthService(service=ServiceName(lookup.name), connect=lookup.kind is Kind.CONNECT)
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


def _reply(question: Question, outline: Outline, rules: Rules) -> dict[str, Any]:
    """The reply that a plain UDP client would get now, and how much was cut from it."""
    packet = sizes.write(outline, question, rules, tcp=False, rng=random.Random(0), now_s=0)
    message = dns.message.from_wire(packet, one_rr_per_rrset=True)
    possible = sum(len(item.records) for item in outline.items)
    return {
        "Rcode": message.rcode().to_text(message.rcode()),
        "Answer": [record.to_text() for record in message.answer],
        "Additional": [record.to_text() for record in message.additional],
        "Bytes": len(packet),
        "PossibleAnswers": possible,
        "CutAnswers": max(0, possible - len(message.answer)),
        "AnswersMax": sizes.budget_of(question, rules, tcp=False).answers_max,
    }
