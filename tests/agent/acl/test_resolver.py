"""Tokens on a server: from its state, as it is now."""

from __future__ import annotations

import pytest

from agent.acl.agent_tokens import AgentTokens
from agent.acl.authorizer import READ, WRITE
from agent.acl.builtin import ANONYMOUS_ID, ANONYMOUS_SECRET, GLOBAL_MANAGEMENT_ID
from agent.acl.caller import TokenNotFound
from agent.acl.resolver import RECOVERY, ServerResolver
from agent.config.schema import AclConfig, AclTokens
from agent.leader.access import AccessKeeper
from raftstore import definition_commands as dc
from raftstore import definitions as d
from raftstore.commands import Command, KVSet
from raftstore.records import Json
from tests.agent.http.rig import StateBackend

NOW = 1000.0


class Setting:
    def __init__(self, default: str = "deny") -> None:
        self.backend = StateBackend()
        self.time = NOW
        config = AclConfig(enabled=True, default_policy=default)
        self.tokens = AgentTokens(AclTokens(agent_recovery="recover"))
        self.resolver = ServerResolver(
            self.backend,
            config,
            self.tokens,
            node="n1",
            datacenter="dc1",
            unix_clock=lambda: self.time,
        )
        self.keeper = AccessKeeper(self.backend, config, data_dir="", unix_clock=lambda: self.time)

    def apply(self, *commands: Command) -> None:
        for command in commands:
            self.backend.apply(command, None)

    def may(self, secret: str, resource: str, name: str = "a") -> str:
        caller = self.resolver.now(secret)
        if caller is None:
            return "unknown"
        for level in (WRITE, READ):
            if caller.authorizer.allows(resource, level, name):
                return level.name.lower()
        return "nothing"


def policy(number: int, rules: str, **content: Json) -> dc.SetACLPolicy:
    made = d.ACLPolicy(id=f"p{number}", name=f"p{number}", content={"Rules": rules, **content})
    return dc.SetACLPolicy(made)


def token(secret: str, *policies: str, roles: tuple[str, ...] = (), expires_at: float | None = None,
          **content: Json) -> dc.SetACLToken:  # fmt: skip
    made = d.ACLToken(
        accessor=f"accessor of {secret}",
        secret=secret,
        policies=policies,
        roles=roles,
        expires_at=expires_at,
        content=content,
    )
    return dc.SetACLToken(made)


def role(number: int, *policies: str, **content: Json) -> dc.SetACLRole:
    made = d.ACLRole(id=f"r{number}", name=f"r{number}", policies=policies, content=content)
    return dc.SetACLRole(made)


READS = 'key_prefix "" { policy = "read" }'
WRITES = 'key "a" { policy = "write" }'


async def test_a_change_of_a_policy_counts_for_the_next_question() -> None:
    setting = Setting()
    setting.apply(policy(1, READS), token("s", "p1"))
    assert setting.may("s", "key") == "read"
    setting.apply(policy(1, ""))
    assert setting.may("s", "key") == "nothing"
    setting.apply(dc.DeleteACLPolicy("p1"))
    assert setting.may("s", "key") == "nothing"
    setting.apply(dc.DeleteACLTokens(("accessor of s",)))
    assert setting.may("s", "key") == "unknown"
    with pytest.raises(TokenNotFound):
        await setting.resolver.find("s")


async def test_policies_of_roles_count_and_go_with_them() -> None:
    setting = Setting()
    setting.apply(policy(1, READS), policy(2, WRITES))
    setting.apply(role(1, "p2"), token("s", "p1", roles=("r1",)))
    assert setting.may("s", "key") == "write"
    setting.apply(role(1))
    assert setting.may("s", "key") == "read"
    setting.apply(role(1, "p2"))
    assert setting.may("s", "key") == "write"
    setting.apply(dc.DeleteACLRole("r1"))
    assert setting.may("s", "key") == "read"


async def test_only_what_is_for_this_datacenter_counts() -> None:
    setting = Setting()
    here: Json = ["dc1", "dc2"]
    setting.apply(policy(1, WRITES, Datacenters=["dc2"]), policy(2, READS, Datacenters=here))
    setting.apply(token("s", "p1", "p2"))
    assert setting.may("s", "key") == "read"
    setting.apply(
        token(
            "t",
            ServiceIdentities=[
                {"ServiceName": "web", "Datacenters": ["dc1"]},
                {"ServiceName": "db", "Datacenters": ["dc2"]},
            ],
            NodeIdentities=[
                {"NodeName": "here", "Datacenter": "dc1"},
                {"NodeName": "there", "Datacenter": "dc2"},
            ],
        )
    )
    assert setting.may("t", "service", "web") == "write"
    assert setting.may("t", "service", "web-sidecar-proxy") == "write"
    assert setting.may("t", "service", "db") == "read", "an identity sees all services"
    assert setting.may("t", "node", "here") == "write"
    assert setting.may("t", "node", "there") == "read"


@pytest.mark.parametrize(
    ("template", "name", "resource", "given"),
    [
        ("builtin/service", "web", "service", "write"),
        ("builtin/node", "web", "node", "write"),
        ("builtin/dns", "", "service", "read"),
        ("builtin/unknown", "web", "service", "nothing"),
    ],
)
async def test_templated_policies(template: str, name: str, resource: str, given: str) -> None:
    setting = Setting()
    one = {"TemplateName": template, "TemplateVariables": {"Name": name}}
    setting.apply(token("s", TemplatedPolicies=[one]))
    assert setting.may("s", resource, "web") == given
    setting.apply(role(1, TemplatedPolicies=[one]), token("t", roles=("r1",)))
    assert setting.may("t", resource, "web") == given


async def test_a_token_that_has_expired_is_unknown_before_it_is_deleted() -> None:
    setting = Setting()
    setting.apply(policy(1, READS), token("s", "p1", expires_at=NOW + 5))
    assert setting.may("s", "key") == "read"
    setting.time += 5
    assert setting.may("s", "key") == "unknown"
    with pytest.raises(TokenNotFound):
        await setting.resolver.find("s")


@pytest.mark.parametrize(("default", "given"), [("deny", "nothing"), ("allow", "write")])
async def test_nobody_is_the_anonymous_token(default: str, given: str) -> None:
    setting = Setting(default)
    assert setting.may("", "key") == given, "before the first leader"
    found = setting.resolver.now("")
    assert found is not None and found.anonymous
    await setting.keeper.ensure()
    assert setting.may("", "key") == given
    anonymous = d.ACLToken(
        accessor=ANONYMOUS_ID, secret=ANONYMOUS_SECRET, policies=("p1",), content={}
    )
    setting.apply(policy(1, READS), dc.SetACLToken(anonymous))
    assert setting.may("", "key") == "read" if default == "deny" else "write"
    assert setting.may(ANONYMOUS_SECRET, "key") == setting.may("", "key")


async def test_the_servers_own_secret_and_management_do_everything() -> None:
    setting = Setting()
    assert setting.may("", "acl", "") == "nothing", "no secret yet is nobody's"
    await setting.keeper.ensure()
    secret = setting.resolver.server_secret
    assert len(secret) > 30
    assert setting.may(secret, "acl", "") == "write"
    setting.apply(token("s", GLOBAL_MANAGEMENT_ID))
    assert setting.may("s", "acl", "") == "write"
    found = setting.resolver.now("s")
    assert found is not None and found.authorizer.management


async def test_management_beside_other_policies_is_no_shortcut() -> None:
    setting = Setting()
    await setting.keeper.ensure()
    setting.apply(policy(1, 'key "a" { policy = "deny" }'), token("s", GLOBAL_MANAGEMENT_ID, "p1"))
    assert setting.may("s", "key") == "nothing"
    assert setting.may("s", "key", "b") == "write"


async def test_the_recovery_token_is_the_agents_own() -> None:
    setting = Setting("allow")
    assert setting.may("recover", "agent", "n1") == "write"
    assert setting.may("recover", "agent", "n2") == "nothing"
    assert setting.may("recover", "node") == "read"
    assert setting.may("recover", "key") == "nothing"
    found = setting.resolver.now("recover")
    assert found is not None and found.accessor == RECOVERY
    setting.tokens.set("agent_recovery", "other")
    assert setting.may("recover", "agent", "n1") == "unknown"


async def test_rules_that_cannot_be_read_give_nothing() -> None:
    setting = Setting()
    setting.apply(policy(1, "from the future {{{"), policy(2, READS), token("s", "p1", "p2"))
    assert setting.may("s", "key") == "read"


async def test_callers_are_kept_while_access_control_is_the_same() -> None:
    setting = Setting()
    setting.apply(policy(1, READS), token("s", "p1"), token("t", "p1"))
    first = setting.resolver.now("s")
    setting.apply(KVSet(key="a", value=b""))
    assert setting.resolver.now("s") is first
    other = setting.resolver.now("t")
    assert other is not None and first is not None
    assert other.authorizer is first.authorizer, "the same policies are one authorizer"
    setting.apply(policy(2, ""))
    again = setting.resolver.now("s")
    assert again is not None and again is not first
    assert again.authorizer is first.authorizer, "what was kept for these rights still holds"
    setting.apply(policy(1, ""))
    changed = setting.resolver.now("s")
    assert changed is not None and changed.authorizer is not first.authorizer
    setting.resolver.forget()
    assert setting.resolver.stats().known == 0
