"""What passes the guard, and what happens to what was held, is long, or is only tried."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.acl import guard as guard_module
from agent.acl.agent_tokens import AgentTokens
from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import Caller, Denied, Need
from agent.acl.guard import Guard
from agent.acl.resolver import ServerResolver
from agent.acl.served import RESOLVE_TOKEN, GuardedService, decode_resolved
from agent.backend import Ask
from agent.backend.rpc import calls
from agent.config.schema import AclConfig, AclTokens
from agent.errors import RequestError
from agent.leader.access import AccessKeeper
from raftstore import definition_commands as dc
from raftstore import wire
from raftstore.commands import Applied, KVSet, Register, RequestId, Transaction
from raftstore.definition_queries import CoordinatesOf
from raftstore.definitions import Coordinate, PreparedQuery
from raftstore.queries import HealthService, KVGet, KVKeys, KVList, ListNodes, ReadTransaction
from raftstore.records import (
    Actor,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    TxnKV,
    TxnOperation,
)
from tests.agent.acl.test_resolver import policy, token
from tests.agent.http.rig import StateBackend

SECRET = "s"


class Setting:
    def __init__(self, rules: str, *, dry_run: bool = False, key_list_policy: bool = False) -> None:
        self.backend = StateBackend()
        self.backend.apply(policy(1, rules), None)
        self.backend.apply(token(SECRET, "p1"), None)
        config = AclConfig(enabled=True, default_policy="deny")
        self.resolver = ServerResolver(
            self.backend,
            config,
            AgentTokens(AclTokens()),
            node="n1",
            datacenter="dc1",
            unix_clock=lambda: 0.0,
        )
        self.keeper = AccessKeeper(self.backend, config, data_dir="")
        self.guard = Guard(
            self.backend, self.resolver, key_list_policy=key_list_policy, dry_run=dry_run
        )

    def rules(self, text: str) -> None:
        self.backend.apply(policy(1, text), None)

    def put(self, *keys: str) -> None:
        for key in keys:
            self.backend.apply(KVSet(key=key, value=b"v"), None)

    def caller(self, secret: str = SECRET) -> Caller:
        found = self.resolver.now(secret)
        assert found is not None
        return found

    async def keys(self, prefix: str = "", *, separator: str = "", min_index: int = 0) -> list[str]:
        options = Ask(min_index=min_index, wait_s=5.0)
        query = KVKeys(prefix, separator)
        return list((await self.guard.ask(self.caller(), query, options)).value)


READ_A = 'key_prefix "a" { policy = "read" }'
WRITE_A = 'key_prefix "a" { policy = "write" }'


async def test_lists_hold_what_may_be_seen_and_say_that_there_is_more() -> None:
    setting = Setting(READ_A)
    setting.put("a1", "b1")
    found = await setting.guard.ask(setting.caller(), KVList(""))
    assert ([pair.key for pair in found.value], found.filtered) == (["a1"], True)
    found = await setting.guard.ask(setting.caller(), KVList("a"))
    assert ([pair.key for pair in found.value], found.filtered) == (["a1"], False)
    found = await setting.guard.ask(setting.caller(""), KVList(""))
    assert (found.value, found.filtered) == ((), False), "nobody is told that a token would help"
    assert setting.guard.stats.filtered == 2


async def test_who_may_read_everything_gets_the_very_answer() -> None:
    setting = Setting('key_prefix "" { policy = "read" }')
    setting.put("a1", "b1")
    answer = setting.backend.peek(KVList(""))
    assert answer is not None
    assert setting.guard.filtered(setting.caller(), KVList(""), answer) is answer
    for other in ('key "a1" { policy = "deny" }', 'key_prefix "b" { policy = "deny" }'):
        setting.rules(f'key_prefix "" {{ policy = "read" }} {other}')
        told = setting.guard.filtered(setting.caller(), KVList(""), answer)
        assert (len(told.value), told.filtered, told.whole) == (1, True, False)


async def test_keys_are_looked_at_before_they_are_cut() -> None:
    setting = Setting('key "x/secret" { policy = "read" }')
    setting.put("x/other", "x/secret", "y/other")
    assert await setting.keys(separator="/") == ["x/"]
    assert await setting.keys("x/", separator="/") == ["x/secret"]
    setting.rules("")
    assert await setting.keys(separator="/") == []


async def test_long_lists_are_looked_at_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "SLICE_ITEMS", 7)
    setting = Setting(READ_A)
    setting.put(*(f"{'ab'[n % 2]}{n:03}" for n in range(100)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())  # noqa: TID251
    found = await setting.guard.ask(setting.caller(), KVList(""))
    counting.cancel()
    assert len(found.value) == 50
    assert found.filtered
    assert turns >= 100 // 7, "others get their turn between the slices"


async def test_what_was_held_is_seen_with_the_rights_of_its_end() -> None:
    setting = Setting(READ_A)
    setting.put("a1", "b1")
    index = (await setting.backend.ask(KVList(""))).index
    held = asyncio.ensure_future(setting.keys(min_index=index))  # noqa: TID251
    await asyncio.sleep(0.01)
    setting.rules('key_prefix "b" { policy = "read" }')
    setting.put("a2")
    assert await held == ["b1"]


@pytest.mark.parametrize("gone", [True, False])
async def test_what_was_held_is_refused_to_those_who_lost_the_right(gone: bool) -> None:
    setting = Setting(READ_A)
    setting.put("a1")
    index = (await setting.backend.ask(KVGet("a1"))).index
    options = Ask(min_index=index, wait_s=0.2)
    held = asyncio.ensure_future(  # noqa: TID251
        setting.guard.ask(setting.caller(), KVGet("a1"), options)
    )
    await asyncio.sleep(0.01)
    if gone:
        setting.backend.apply(dc.DeleteACLTokens((f"accessor of {SECRET}",)), None)
    else:
        setting.rules("")
    setting.put("a1")
    with pytest.raises(RequestError) as told:
        await held
    assert str(told.value) == ("ACL not found" if gone else "Permission denied")


async def test_the_key_list_policy() -> None:
    setting = Setting('key_prefix "a" { policy = "read" }', key_list_policy=True)
    setting.put("a1")
    with pytest.raises(Denied):
        await setting.keys("a")
    setting.rules('key_prefix "a" { policy = "list" }')
    assert await setting.keys("a") == ["a1"]
    with pytest.raises(Denied):
        await setting.keys("")


async def test_a_dry_run_denies_nothing_and_remembers_what_it_would() -> None:
    setting = Setting("", dry_run=True)
    setting.put("a1")
    assert await setting.keys() == ["a1"]
    assert (await setting.guard.ask(setting.caller(), KVGet("a1"))).value is not None
    assert isinstance(
        await setting.guard.change(setting.caller(), KVSet(key="b", value=b"")), Applied
    )
    assert isinstance(await setting.guard.change(setting.caller(), steps("set a1")), Applied)
    reads = ReadTransaction(steps("check-index a1").operations)
    answer = (await setting.guard.ask(setting.caller(), reads)).value
    assert answer.errors == () or "denied" not in answer.errors[0].what
    stats = setting.guard.stats
    assert (stats.denied, stats.dry_run_allowed) == (0, 5)
    assert any('key:read on "a1"' in reason for reason in setting.guard.denials)


async def test_a_denial_says_why() -> None:
    setting = Setting('key "a1" { policy = "deny" }')
    with pytest.raises(Denied) as told:
        setting.guard.require(setting.caller(), Need("key", READ, "a1"))
    for word in ("accessor of s", 'key:read on "a1"', "p1"):
        assert word in told.value.reason
    assert SECRET not in told.value.reason.split()
    with pytest.raises(Denied) as told:
        setting.guard.require(setting.caller(""), Need("node", WRITE, "n"))
    assert told.value.reason.startswith("anonymous token lacks permission node:write")


# -- transactions --------------------------------------------------------------------------------


def steps(*texts: str) -> Transaction:
    """ "set a" and so on."""
    made = []
    for text in texts:
        verb, key = text.split(" ")
        made.append(TxnOperation(kv=TxnKV(verb=verb, key=key, value=b"new")))
    return Transaction(tuple(made))


def answer_of(outcome: Any) -> Any:
    assert isinstance(outcome, Applied)
    return wire.decode_txn_answer(outcome.value)


async def test_a_transaction_with_a_denied_step_does_nothing() -> None:
    setting = Setting(WRITE_A)
    setting.put("a1", "b1")
    command = steps("set a1", "set b1", "get b1", "delete-tree a", "delete-tree b")
    answer = answer_of(await setting.guard.change(setting.caller(), command))
    assert [error.index for error in answer.errors] == [1, 4]
    assert {error.what for error in answer.errors} == {"Permission denied"}
    assert (await setting.backend.ask(KVGet("a1"))).value.value == b"v"


async def test_results_of_a_transaction_are_filtered() -> None:
    setting = Setting(WRITE_A)
    setting.put("a1", "b1")
    command = steps("set a1", "get b1", "get a1")
    answer = answer_of(await setting.guard.change(setting.caller(), command))
    assert answer.errors == ()
    assert [result.kv.key for result in answer.results] == ["a1", "a1"]
    reads = ReadTransaction(steps("get b1", "get a1").operations)
    found = await setting.guard.ask(setting.caller(), reads)
    assert [result.kv.key for result in found.value.results if result.kv] == ["a1"]


# -- the server port -----------------------------------------------------------------------------


class Servant:
    """Carries out whatever is passed on."""

    def __init__(self, backend: StateBackend) -> None:
        self._backend = backend
        self.methods: list[str] = []

    async def handle(self, method: str, payload: bytes, timeout_s: float) -> bytes:
        self.methods.append(method)
        if method == calls.CHANGE:
            command, _, actor = wire.decode_command(payload)
            return wire.encode_outcome(await self._backend.change(command, actor=actor))
        return b""

    async def encoded(self, query: Any, reply: Any) -> bytes:
        return repr(reply.value).encode()


class Port:
    """What another agent can ask of a server."""

    def __init__(self, setting: Setting) -> None:
        self._service = GuardedService(
            Servant(setting.backend), setting.guard, setting.resolver, default_allow=False, more={}
        )

    async def call(self, secret: str, method: str, payload: bytes) -> bytes:
        if secret:
            payload = calls.write_as(secret, method, payload)
            method = calls.AS
        return await self._service.handle(method, payload, 5.0)


async def test_without_a_token_an_agent_gets_nothing_at_the_server_port() -> None:
    setting = Setting(WRITE_A)
    await setting.keeper.ensure()
    setting.put("b1")
    port = Port(setting)
    change = wire.encode_command(
        KVSet(key="a1", value=b"v"), request_id=RequestId("r", 1, 0), actor=Actor()
    )
    ask = calls.AskCall(KVGet("b1"), Ask()).encode()
    for method, payload in ((calls.CHANGE, change), (calls.ASK, ask), ("whatever", b"")):
        with pytest.raises(Denied):
            await port.call("", method, payload)
    assert isinstance(wire.decode_outcome(await port.call(SECRET, calls.CHANGE, change)), Applied)
    with pytest.raises(Denied):
        await port.call(SECRET, calls.ASK, ask)
    with pytest.raises(RequestError, match="ACL not found"):
        await port.call("unknown", calls.ASK, ask)
    # Another server has looked at it.
    await port.call(setting.resolver.server_secret, calls.ASK, ask)


async def test_before_servers_have_a_secret_nobody_is_one() -> None:
    setting = Setting("")
    assert setting.resolver.server_secret == ""
    ask = calls.AskCall(KVGet("b1"), Ask()).encode()
    with pytest.raises(Denied):
        await Port(setting).call("", calls.ASK, ask)


async def test_who_changes_something_is_who_shows_the_token() -> None:
    setting = Setting(WRITE_A)
    seen: list[Actor | None] = []
    real = setting.backend.change

    async def change(command: Any, *, actor: Actor | None = None, **rest: Any) -> Any:
        seen.append(actor)
        return await real(command, actor=actor, **rest)

    setting.backend.change = change  # type: ignore[method-assign]
    told = Actor(accessor="somebody else", address="10.0.0.9:1")
    payload = wire.encode_command(
        KVSet(key="a1", value=b"v"), request_id=RequestId("r", 1, 0), actor=told
    )
    await Port(setting).call(SECRET, calls.CHANGE, payload)
    assert seen == [Actor(accessor="accessor of s", address="10.0.0.9:1")]


async def test_nodes_over_the_server_port_are_filtered() -> None:
    setting = Setting('node "n1" { policy = "read" }')
    for name in ("n1", "n2"):
        node = Node(name=NodeName(name), address="10.0.0.1")
        setting.backend.apply(Register(node=node), None)
    query: Any = ListNodes()
    raw = await Port(setting).call(SECRET, calls.ASK, calls.AskCall(query, Ask()).encode())
    assert b"n1" in raw
    assert b"n2" not in raw


async def test_an_agent_learns_what_a_token_may_without_the_token() -> None:
    setting = Setting(READ_A)
    raw = await Port(setting).call("", RESOLVE_TOKEN, calls.pack(SECRET))
    found = decode_resolved(raw)
    assert found.accessor == "accessor of s"
    assert [(grant.name, grant.rules) for grant in found.grants] == [("p1", READ_A)]
    with pytest.raises(RequestError, match="ACL not found"):
        await Port(setting).call("", RESOLVE_TOKEN, calls.pack("unknown"))


# -- prepared queries with a token of their own ----------------------------------------------------


def with_query(setting: Setting, *, name: str = "q", service: str = "web", own: str) -> None:
    content = {"Token": own, "Service": {"Service": service}}
    setting.backend.apply(
        dc.SetPreparedQuery(PreparedQuery(id=f"id-{name}", name=name, content=content)), None
    )


def instance(setting: Setting, node: str, service: str) -> None:
    where = Node(name=NodeName(node), address="127.0.0.1")
    held = Service(node=NodeName(node), id=ServiceId(service), name=ServiceName(service), port=80)
    setting.backend.apply(Register(node=where, service=held), None)
    at = Coordinate(node=NodeName(node))
    setting.backend.apply(dc.UpdateCoordinates((at,)), None)


async def seen(setting: Setting, query: Any, secret: str = SECRET) -> list[str]:
    found = await setting.guard.ask(setting.caller(secret), query)
    return [_node_of(item) for item in found.value]


def _node_of(item: Any) -> str:
    return str(item.node if isinstance(item, Coordinate) else item.node.name)


async def test_what_a_query_finds_is_seen_with_its_own_token_and_nothing_else() -> None:
    setting = Setting('node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }')
    for node, service in (("n1", "web"), ("n2", "db")):
        instance(setting, node, service)
    with_query(setting, own=SECRET)
    web, db = ServiceName("web"), ServiceName("db")
    assert await seen(setting, HealthService(service=web), "") == []
    assert await seen(setting, HealthService(service=web, by_query="q"), "") == ["n1"]
    assert await seen(setting, HealthService(service=db, by_query="q"), "") == []
    assert await seen(setting, HealthService(service=web, by_query="other"), "") == []
    n1, n2 = NodeName("n1"), NodeName("n2")
    assert await seen(setting, CoordinatesOf((n1,), "q"), "") == ["n1"]
    assert await seen(setting, CoordinatesOf((n1, n2), "q"), "") == []
    assert await seen(setting, CoordinatesOf((n1,)), "") == []
    # And where the query's token may see less, whoever asks sees less.
    with_query(setting, own="weak")
    setting.backend.apply(policy(2, ""), None)
    setting.backend.apply(token("weak", "p2"), None)
    assert await seen(setting, HealthService(service=web, by_query="q")) == []
    with_query(setting, own="gone")
    with pytest.raises(RequestError, match="ACL not found"):
        await seen(setting, HealthService(service=web, by_query="q"))
