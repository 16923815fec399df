"""The authorizer says what the slow model of Consul's rules says, for any policies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.acl.authorizer import MANAGE_ALL, VERBS, Authorizer, level_of
from agent.acl.rules import NAMED, SCALARS, Level, Rule, parse_rules
from tests.agent.acl import model
from tests.agent.acl.model import Stanza
from tests.strategies import scaled

# Few letters: rules have to meet.
names = st.text("ab", max_size=3)


@st.composite
def policies(draw: st.DrawFn) -> list[list[Stanza]]:
    """Policies about one or two resources: rules of many resources hardly ever meet."""
    about = draw(st.lists(st.sampled_from([*SCALARS, *NAMED]), min_size=1, max_size=2))
    kinds = [k for name in about for k in ([name] if name in SCALARS else [name, f"{name}_prefix"])]

    def stanza() -> Stanza:
        kind = draw(st.sampled_from(kinds))
        levels = ["deny", "read", "write"]
        if kind in {"key", "key_prefix"}:
            levels.append("list")
        intentions = ""
        if kind in {"service", "service_prefix"}:
            intentions = draw(st.sampled_from(["", "deny", "read", "write"]))
        name = "" if kind in SCALARS else draw(names)
        return Stanza(kind, name, draw(st.sampled_from(levels)), intentions)

    sizes = draw(st.lists(st.integers(0, 4), max_size=3))
    return [[stanza() for _ in range(size)] for size in sizes]


def written_once(policy: list[Stanza]) -> list[Stanza]:
    """In one text the last `acl = …` counts; only several policies are merged there."""
    last = {s.kind: s for s in policy if s.kind in SCALARS}
    return [s for s in policy if s.kind not in SCALARS or last[s.kind] is s]


def build(found: list[list[Stanza]], default: str) -> tuple[Authorizer, list[Stanza]]:
    rules = [
        rule
        for at, policy in enumerate(found)
        for rule in parse_rules("".join(s.hcl() for s in policy), f"p{at}")
    ]
    stanzas = [s for policy in found for s in written_once(policy)]
    return Authorizer(rules, default_allow=default == "allow"), stanzas


@settings(max_examples=scaled(150))
@given(policies(), st.sampled_from(["allow", "deny"]), names)
def test_every_decision_is_the_model_s(found: list[list[Stanza]], default: str, name: str) -> None:
    authorizer, stanzas = build(found, default)
    for resource in (*NAMED, *SCALARS, "intention"):
        for word, verb in VERBS.items():
            if word == "list" and resource != "key":
                continue
            asked = "" if resource in SCALARS else name
            wanted = model.allows(stanzas, default, resource, word, asked)
            assert authorizer.allows(resource, verb, asked) is wanted, (resource, word)
            decision = authorizer.decide(resource, verb, asked)
            assert decision.allowed is wanted
            assert decision.rule is authorizer.rule_for(resource, asked)


@settings(max_examples=scaled(150))
@given(policies(), st.sampled_from(["allow", "deny"]), names, st.lists(names, max_size=4))
def test_a_tree_of_keys_may_be_deleted_only_where_all_of_it_may_be_written(
    found: list[list[Stanza]], default: str, prefix: str, keys: list[str]
) -> None:
    authorizer, stanzas = build(found, default)
    if authorizer.may_write_below(prefix).allowed:
        assert model.may_write_below(stanzas, default, prefix, keys)


@settings(max_examples=scaled(150))
@given(policies(), st.sampled_from(["allow", "deny"]))
def test_any_and_all_are_what_single_decisions_add_up_to(
    found: list[list[Stanza]], default: str
) -> None:
    authorizer, stanzas = build(found, default)
    for resource in NAMED:
        mine = [s.name for s in stanzas if s.kind.startswith(resource)]
        asked = {*mine, *(f"{name}~" for name in mine), "~"}
        verdicts = [authorizer.allows(resource, Level.WRITE, name) for name in asked]
        if authorizer.allows_all(resource, Level.WRITE):
            assert all(verdicts)
        if any(verdicts):
            assert authorizer.allows_any(resource, Level.WRITE)


def test_a_decision_names_the_rule_and_its_policy() -> None:
    rules = parse_rules('key_prefix "a/" { policy = "read" }', "readers")
    decision = Authorizer(rules, default_allow=False).decide("key", Level.WRITE, "a/b")
    assert decision.reason == 'rule key_prefix "a/" = "read" (policy readers)'
    other = Authorizer(rules, default_allow=False).decide("key", Level.READ, "b")
    assert other.reason == "no rule matches; the default is deny"


def test_management_is_allowed_everything() -> None:
    assert MANAGE_ALL.allows("acl", Level.WRITE)
    assert MANAGE_ALL.decide("key", Level.WRITE, "x").allowed
    assert MANAGE_ALL.may_write_below("").allowed
    assert MANAGE_ALL.allows_any("service", Level.WRITE)


def test_the_intentions_of_every_service_need_a_rule_that_no_other_takes_back() -> None:
    rules = (
        Rule("intention", "", True, Level.WRITE),
        Rule("intention", "db", False, Level.READ),
    )
    authorizer = Authorizer(rules, default_allow=False)
    assert authorizer.allows("intention", Level.READ, "*")
    assert not authorizer.decide("intention", Level.WRITE, "*").allowed
    assert Authorizer(rules[:1], default_allow=False).allows("intention", Level.WRITE, "*")
    assert not Authorizer((), default_allow=False).allows("intention", Level.READ, "*")


def test_verbs_are_levels_but_deny() -> None:
    assert level_of("write") is Level.WRITE
    assert level_of("deny") is None
    assert level_of("") is None
