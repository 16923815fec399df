"""Large services are answered in steps, whoever asks meanwhile shares the work, and nothing that
moved is kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import dns.message
import dns.rcode
import pytest

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns.outline import STEP_INSTANCES
from agent.dns.resolver import Later, Resolver
from agent.tasks import TaskOwner
from raftstore.dns_queries import HealthSample
from raftstore.queries import HealthService
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.acl.test_seen import Setting
from tests.agent.dns.catalog import Catalog

COUNT = 2 * STEP_INSTANCES + 100


class Counting(Catalog):
    """Notes the turn of the loop in which each sample is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.drawn: list[int] = []

    def peek(self, query: Any) -> Any:
        assert not isinstance(query, HealthService), "nobody asks for all of them"
        if isinstance(query, HealthSample):
            assert query.most <= STEP_INSTANCES
            self.drawn.append(self.turn)
        return super().peek(query)

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def add(catalog: Catalog, number: int) -> None:
    node = Node(
        name=NodeName(f"n{number}"), address=f"10.1.{number // 250}.{number % 250 + 1}",
        datacenter="dc1",
    )  # fmt: skip
    catalog.register(node, Service(id=ServiceId("h"), name=ServiceName("huge")))


@pytest.fixture
def catalog() -> Counting:
    made = Counting()
    for number in range(COUNT):
        add(made, number)
    return made


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    owner = TaskOwner()
    yield owner
    await owner.close()


def resolver(catalog: Any, **more: Any) -> Resolver:
    config = AgentConfig(node_name="x", dns=DnsConfig(enable_truncate=True))
    return Resolver(config, catalog, rng=random.Random(1), clock=lambda: 0.0, **more)


def question(kind: str = "A") -> bytes:
    return dns.message.make_query("huge.service.consul.", kind, use_edns=0, payload=4096).to_wire()


async def told(made: Resolver, packet: bytes, *, tcp: bool = True) -> dns.message.Message:
    found = made.respond(packet, tcp=tcp, client="127.0.0.1")
    if isinstance(found, Later):
        found = await made.respond_later(packet, found, tcp=tcp)
    assert found is not None
    return dns.message.from_wire(found, one_rr_per_rrset=True)


@pytest.mark.parametrize(("kind", "count"), [("A", COUNT), ("SRV", 1024)])
async def test_all_are_given_in_steps_and_then_kept(
    catalog: Counting, tasks: TaskOwner, kind: str, count: int
) -> None:
    made = resolver(catalog)
    counter = tasks.spawn(catalog.count_turns(), name="turns")
    message = await told(made, question(kind))
    assert len(message.answer) == count
    # The first look and the first part are of one turn.
    assert len(set(catalog.drawn)) >= len(catalog.drawn) - 1 >= 2, "one part in a turn of the loop"
    catalog.drawn.clear()
    again = made.respond(question(kind), tcp=True, client="127.0.0.1")
    assert isinstance(again, bytes)
    assert not catalog.drawn
    counter.cancel()
    add(catalog, COUNT)
    assert isinstance(made.respond(question(kind), tcp=True, client="::1"), Later), "it moved"
    made.close()
    assert len(catalog.watches) == 0


async def test_those_who_ask_meanwhile_get_the_same_reply(catalog: Counting) -> None:
    made = resolver(catalog)
    packets = [number.to_bytes(2, "big") + question()[2:] for number in range(9)]
    waiting = [(each, made.respond(each, tcp=True, client="::1")) for each in packets]
    replies = await asyncio.gather(
        *[made.respond_later(each, later, tcp=True) for each, later in waiting]  # type: ignore[arg-type]
    )
    assert [reply[:2] for reply in replies] == [packet[:2] for packet in packets]
    assert len({reply[2:] for reply in replies}) == 1
    assert len(catalog.drawn) < 9 + 2 * 3, "each looks once, and one goes on"


async def test_what_changes_meanwhile_is_begun_again_and_never_kept(
    catalog: Counting, tasks: TaskOwner
) -> None:
    made = resolver(catalog)
    asked = tasks.spawn(told(made, question()), name="asked", awaited=True)
    while not catalog.drawn:
        await asyncio.sleep(0)
    catalog.deregister("n0")
    assert len((await asked).answer) == COUNT - 1
    catalog.deregister("n1")
    assert len((await told(made, question())).answer) == COUNT - 2


async def test_one_that_never_stands_still_is_answered_all_the_same(
    catalog: Counting, tasks: TaskOwner
) -> None:
    made = resolver(catalog)
    number = COUNT

    async def change() -> None:
        nonlocal number
        while True:
            add(catalog, number)
            number += 1
            await asyncio.sleep(0)

    changing = tasks.spawn(change(), name="changes")
    message = await told(made, question())
    changing.cancel()
    assert len(message.answer) >= COUNT
    assert isinstance(made.respond(question(), tcp=True, client="::1"), Later), "it was not kept"


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "udp"])
@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ('node "n7" { policy = "read" }\nnode "n1100" { policy = "read" }', {7, 1100}),
        ('node_prefix "n" { policy = "read" }\nnode "n7" { policy = "deny" }', {3}),
        ("", set()),
    ],
    ids=["two", "all but one", "none"],
)
async def test_who_may_see_a_part_is_given_of_that_part(
    catalog: Counting, rules: str, shown: set[int], tcp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn as well: nobody asks for all of them (``Counting``)."""
    setting = Setting()
    for number in range(COUNT):
        add(setting.state, number)
    setting.policy(f'service_prefix "" {{ policy = "read" }}\n{rules}')
    monkeypatch.setattr(catalog, "state", setting.state.state)
    monkeypatch.setattr(setting.state, "peek", catalog.peek)
    made = resolver(setting.seen, rights=setting.seen)
    message = await told(made, question(), tcp=tcp)
    given = {rrset[0].to_text() for rrset in message.answer}
    wanted = {f"10.1.{number // 250}.{number % 250 + 1}" for number in shown}
    if len(shown) == 1:
        assert len(given) == COUNT - 1 if tcp else len(given) > 200
        assert "10.1.0.8" not in given
    else:
        assert given == wanted
    assert message.rcode() == (dns.rcode.NOERROR if shown else dns.rcode.NXDOMAIN)
    assert isinstance(made.respond(question(), tcp=tcp, client="::1"), bytes), "it is kept"
    made.close()
