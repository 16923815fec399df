"""What the holder of one token sees, and how whoever keeps answers hears that it is another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.acl.access import Access
from agent.acl.agent_tokens import AgentTokens
from agent.acl.resolver import ServerResolver
from agent.acl.seen import SeenState
from agent.config.schema import AclConfig, AclTokens
from raftstore import definition_commands as dc
from raftstore import definitions as d
from raftstore.queries import HealthService
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.catalog import Catalog

SEES_WEB = 'service "web" { policy = "read" }\nnode_prefix "" { policy = "read" }'
WEB = HealthService(service=ServiceName("web"))


class Held(Catalog):
    @property
    def acl_index(self) -> int:
        return self.state.definitions.acl_index


class Setting:
    def __init__(self) -> None:
        self.state = Held()
        self.now = 1000.0
        config = AclConfig(enabled=True, default_policy="deny")
        self.tokens = AgentTokens(AclTokens(dns="dns"))
        resolver = ServerResolver(
            self.state,
            config,
            self.tokens,
            node="n1",
            datacenter="dc1",
            unix_clock=lambda: self.now,
        )
        self.access = Access(
            config,
            self.state,  # type: ignore[arg-type]
            resolver=resolver,
            tokens=self.tokens,
            unix_clock=lambda: self.now,
        )
        self.seen = SeenState(self.access, self.state, lambda: self.tokens.dns)
        self.changes = 0
        node = Node(name=NodeName("a"), address="10.0.0.1", datacenter="dc1")
        self.state.register(node, Service(id=ServiceId("web"), name=ServiceName("web")))
        self.policy(SEES_WEB)
        self.token("dns", "p")

    def policy(self, rules: str, name: str = "p") -> None:
        made = d.ACLPolicy(id=name, name=name, content={"Rules": rules})
        self.state.apply(dc.SetACLPolicy(made))

    def token(self, secret: str, *policies: str, expires_at: float | None = None) -> None:
        made = d.ACLToken(
            accessor=f"of {secret}", secret=secret, policies=policies, expires_at=expires_at
        )
        self.state.apply(dc.SetACLToken(made))

    def sees(self) -> bool:
        found = self.seen.peek(WEB)
        return found is not None and bool(found.value)

    def watch(self) -> Callable[[], None] | None:
        def changed() -> None:
            self.changes += 1

        return self.seen.watch_rights(changed)


def test_other_rights_are_another_number_and_are_told() -> None:
    setting = Setting()
    assert setting.sees() and setting.watch() is not None
    before = setting.seen.generation()
    setting.policy("")
    assert setting.changes == 1 and not setting.sees()
    assert setting.seen.generation() != before
    assert setting.watch() is not None
    setting.token("dns", "p", "q")
    assert setting.changes == 2
    assert setting.watch() is not None
    setting.state.apply(dc.DeleteACLTokens(("of dns",)))
    assert setting.changes == 3 and setting.seen.generation() == -1
    assert setting.watch() is None


def test_tokens_of_others_change_nothing() -> None:
    setting = Setting()
    before = setting.seen.generation()
    assert setting.watch() is not None
    for number in range(3):
        setting.token(f"other {number}", "p")
    assert (setting.changes, setting.seen.generation()) == (0, before)
    setting.policy(SEES_WEB, "another")
    assert (setting.changes, setting.seen.generation()) == (1, before), "told, and nothing to do"


def test_a_watch_that_is_given_up_is_quiet() -> None:
    setting = Setting()
    cancel = setting.watch()
    assert cancel is not None and len(setting.state.watches) == 3
    cancel()
    assert len(setting.state.watches) == 0
    setting.policy("")
    assert setting.changes == 0


def test_what_runs_out_cannot_be_told() -> None:
    setting = Setting()
    setting.token("dns", "p", expires_at=1010.0)
    assert setting.watch() is None and setting.sees()
    before = setting.seen.generation()
    setting.now = 1011.0
    assert setting.seen.generation() == -1 != before


def test_another_token_of_the_agent_is_told() -> None:
    setting = Setting()
    told: list[None] = []
    setting.seen.on_token(lambda: told.append(None))
    before = setting.seen.generation()
    setting.tokens.set("dns", "nobody's")
    assert told == [None] and setting.seen.generation() != before


def test_answers_with_the_token_of_a_query_are_not_watched() -> None:
    setting = Setting()
    assert setting.seen.watch_once(WEB, lambda: None) is not None
    assert setting.seen.watch_once(replace(WEB, by_query="q"), lambda: None) is None


def test_a_state_elsewhere_tells_nothing() -> None:
    setting = Setting()
    access = Access(
        AclConfig(enabled=True),
        setting.state,  # type: ignore[arg-type]
        tokens=setting.tokens,
        holds_state=False,
    )
    assert SeenState(access, setting.state, lambda: "x").watch_rights(lambda: None) is None


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_anybody_is_watched_too(default: str) -> None:
    setting = Setting()
    setting.tokens.set("dns", "")
    assert setting.seen.generation() > 0
    assert setting.watch() is not None
