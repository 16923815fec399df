"""Permissions of intentions: in order, by every criterion, and never around a denial."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import authz
from proxy.authz import HeaderRule, Permission, Rule
from proxy.errors import UnreadablePattern
from proxy.jwt import Checked, Claim, Wanted
from proxy.permissions import Request, Verdict, decide, fits, permission


def full(pattern: str, text: str) -> bool:
    if pattern == "unreadable":
        raise UnreadablePattern(pattern)
    return re.fullmatch(pattern, text) is not None


def verdict(permissions: list[dict[str, Any]], request: Request, *, default: bool = False) -> bool:
    rule = Rule(
        source="api",
        destination="web",
        action="",
        permissions=len(permissions),
        precedence=9,
        matches=tuple(permission(one) for one in permissions),
    )
    found = decide(
        [rule],
        request,
        source="api",
        destination="web",
        default_allow=default,
        default_reason="default",
        full_match=full,
    )
    return found.decision.allowed


def one(action: str, **http: Any) -> dict[str, Any]:
    return {"Action": action, "HTTP": http}


@pytest.mark.parametrize(
    "target",
    [
        "/a/../admin",
        "//admin",
        "/%61dmin",
        "/admin%2f",
        "\\admin",
        "/admin/x",
        "/./admin",
        "/%2e/admin",
    ],
)
def test_no_trick_gets_around_a_denial(target):
    rules = [one("deny", PathPrefix="/admin"), one("allow", PathPrefix="/")]
    assert not verdict(rules, Request(target=target), default=True)


@pytest.mark.parametrize(
    ("http", "request_", "fit"),
    [
        ({"PathExact": "/x"}, Request(target="/x?y"), True),
        ({"PathExact": "/x"}, Request(target="/x/"), False),
        ({"PathPrefix": "/x"}, Request(target="/xy"), True),
        ({"PathRegex": "/v[0-9]"}, Request(target="/v1"), True),
        ({"PathRegex": "/v[0-9]"}, Request(target="/v1/x"), False),
        ({"Methods": ["get"]}, Request(method="GET"), True),
        ({"Methods": ["GET"]}, Request(method="POST"), False),
        ({"Header": [{"Name": "X-A", "Exact": "1"}]}, Request(headers={"x-a": "1"}), True),
        ({"Header": [{"Name": "x-a", "Present": True}]}, Request(), False),
        ({"Header": [{"Name": "x-a", "Present": True, "Invert": True}]}, Request(), True),
        ({"Header": [{"Name": "x-a", "Exact": "1", "Invert": True}]}, Request(), True),
        (
            {"Header": [{"Name": "x-a", "Prefix": "AB", "IgnoreCase": True}]},
            Request(headers={"x-a": "abc"}),
            True,
        ),
        ({"Header": [{"Name": "x-a", "Regex": "b"}]}, Request(headers={"x-a": "abc"}), False),
    ],
)
def test_each_criterion(http, request_, fit):
    assert verdict([one("allow", **http)], request_) is fit


def test_the_first_that_matches_counts_and_none_is_the_default():
    rules = [
        one("allow", PathExact="/a"),
        one("deny", PathPrefix="/"),
        one("allow", PathExact="/b"),
    ]
    assert verdict(rules, Request(target="/a"))
    assert not verdict(rules, Request(target="/b"), default=True)
    for default in (True, False):
        assert verdict(rules[:1], Request(target="/c"), default=default) is default


def test_what_cannot_be_read_is_taken_for_the_worse():
    request = Request(target="/x")
    assert not verdict([one("deny", PathRegex="unreadable"), one("allow", PathPrefix="/")], request)
    assert not verdict([one("allow", PathRegex="unreadable")], request)


def test_an_audit_lets_in_and_is_told():
    rule = Rule(
        source="*",
        destination="web",
        action="",
        permissions=1,
        matches=(Permission(action="audit", path_form="prefix", path="/"),),
    )
    found = decide(
        [rule],
        Request(),
        source="api",
        destination="web",
        default_allow=False,
        default_reason="",
        full_match=full,
    )
    assert found.decision.allowed and found.decision.audited and found.place == 0


paths_ = st.sampled_from(["/", "/a", "/a/b", "/b"])
permissions = st.builds(
    Permission,
    action=st.sampled_from(["allow", "deny"]),
    path_form=st.sampled_from(["", "exact", "prefix"]),
    path=paths_,
    methods=st.sampled_from([frozenset(), frozenset({"GET"}), frozenset({"PUT"})]),
    headers=st.sampled_from(
        [
            (),
            (HeaderRule(name="h", form="present"),),
            (HeaderRule(name="h", form="exact", value="1", invert=True),),
        ]
    ),
)
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "PUT"]),
    target=paths_,
    headers=st.sampled_from([{}, {"h": "1"}, {"h": "2"}]),
)


@given(matches=st.lists(permissions, min_size=1, max_size=5).map(tuple), request=requests,
       default=st.booleans())  # fmt: skip
def test_the_list_is_the_same_as_sets(matches, request, default):
    """Each allow narrowed by no earlier denial, each denial by no earlier allow."""
    rule = Rule(source="a", destination="b", action="", permissions=len(matches), matches=matches)
    listed = decide(
        [rule],
        request,
        source="a",
        destination="b",
        default_allow=default,
        default_reason="",
        full_match=full,
    ).decision.allowed

    def holds(at: int, other: str) -> bool:
        earlier = [each for each in matches[:at] if each.action == other]
        return fits(matches[at], request, request.target, full) and not any(
            fits(each, request, request.target, full) for each in earlier
        )

    allowed = any(holds(at, "deny") for at, each in enumerate(matches) if each.action == "allow")
    denied = any(holds(at, "allow") for at, each in enumerate(matches) if each.action == "deny")
    assert not (allowed and denied)
    assert listed is (allowed or (default and not denied))


FACTS: dict[str, Any] = {
    "source": "web", "destination": "db", "default_allow": True, "default_reason": "d",
}  # fmt: skip
IDP = (Wanted("idp"),)


def test_a_wanted_token_lets_nobody_in_where_none_can_be_verified():
    """Also where a later permission would: the first that is about the request counts."""
    of_rule = Rule(source="web", destination="db", action="allow", precedence=9, providers=IDP)
    assert not authz.decide((of_rule,), **FACTS).allowed
    admin = Permission(action="allow", path_form="prefix", path="/admin", providers=IDP)
    rest = Permission(action="allow", path_form="prefix", path="/")
    rule = Rule(source="web", destination="db", action="", permissions=2, precedence=9,
                matches=(admin, rest))  # fmt: skip

    def lets_in(path: str, rules: tuple[Rule, ...]) -> bool:
        request = Request(target=path)
        return decide(rules, request, full_match=lambda *_: False, **FACTS).decision.allowed

    assert not lets_in("/admin/x", (rule,))
    assert lets_in("/other", (rule,))
    assert not lets_in("/other", (replace(rule, providers=IDP),))
    assert not lets_in("/other", (of_rule,))


def test_a_token_that_is_good_lets_in_what_the_rule_lets_in():
    good = Checked(claims={"role": "admin", "deep": {"list": ["a", "b"]}}, text="", reason="")

    def told(rule: Rule, path: str = "/x", checked: Checked = good) -> Verdict:
        tokens = {"idp": checked}.get
        return decide(
            (rule,), Request(target=path), full_match=full, **FACTS,
            tokens=lambda name: tokens(name) or Checked(),
        )  # fmt: skip

    plain = Rule(source="web", destination="db", action="allow", precedence=9, providers=IDP)
    assert told(plain).decision.allowed and told(plain).tokens == (good,)
    assert not told(replace(plain, action="deny")).decision.allowed
    missing = told(plain, checked=Checked())
    assert (missing.status, missing.text) == (401, "Jwt is missing")
    bad = told(plain, checked=Checked(text="Jwt verification fails", reason="expired"))
    assert (bad.status, bad.text) == (401, "Jwt verification fails")
    assert "expired" in bad.decision.reason
    for value, allowed in (("b", True), ("c", False)):
        wanted = (Wanted("idp", (Claim(("deep", "list"), value),)),)
        verdict = told(replace(plain, providers=wanted))
        assert verdict.decision.allowed is allowed
        assert allowed or (verdict.status == 403 and "deep.list" in verdict.decision.reason)
    either = told(replace(plain, providers=(Wanted("other"), *IDP)))
    assert either.decision.allowed
    admin = Permission(action="allow", path_form="prefix", path="/admin", providers=IDP)
    rest = Permission(action="deny", path_form="prefix", path="/")
    by_path = Rule(source="web", destination="db", action="", permissions=2, precedence=9,
                   matches=(admin, rest))  # fmt: skip
    assert told(by_path, "/admin").decision.allowed
    assert not told(by_path, "/other").decision.allowed
    assert told(by_path, "/admin", Checked()).status == 401
    untold = Rule(source="web", destination="db", action="allow", permissions=1, providers=IDP)
    assert not told(untold).decision.allowed


def test_what_has_several_readings_is_taken_for_the_worse() -> None:
    """Found beside Envoy: a header in several lines, a method in small letters."""
    rule = HeaderRule(name="x", form="exact", value="yes")
    lines = {"x": ("no", "yes")}
    twice = Request(headers={"x": "no, yes"}, lines=lines)
    for action, counts in (("deny", True), ("allow", False)):
        assert fits(Permission(action=action, headers=(rule,)), twice, "/", full) is counts
        other = replace(rule, invert=True)
        assert fits(Permission(action=action, headers=(other,)), twice, "/", full) is counts
    same = Request(headers={"x": "yes, yes"}, lines={"x": ("yes", "yes")})
    assert fits(Permission(action="deny", headers=(rule,)), same, "/", full)
    gets = frozenset({"GET"})
    small = Request(method="get")
    assert fits(Permission(action="deny", methods=gets), small, "/", full)
    assert not fits(Permission(action="allow", methods=gets), small, "/", full)
