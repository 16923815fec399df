"""Whether a request is allowed by the permissions of an intention (mesh contract B.5).

Decides by path, methods and headers, in order: the first permission that matches counts. Pure;
how patterns are matched is given, so that whoever decides also bounds the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from proxy import paths
from proxy.authz import LETTING_IN, Decision, HeaderRule, Permission, Rule, matching
from proxy.authz import decide as decide_connection
from proxy.errors import AmbiguousPath, UnreadablePattern
from proxy.jwt import Checked, Judged, Tokens, judge, read_wanted, unverified

#: Whether a pattern matches the whole of a text. Raises UnreadablePattern.
FullMatch = Callable[[str, str], bool]
AMBIGUOUS = "The path has more than one reading: "


def no_patterns(pattern: str, text: str) -> bool:
    """Nobody has given a matcher that is bounded in time: no pattern can be read."""
    raise UnreadablePattern("patterns cannot be matched here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is decided about. Header names are in lower case, several lines joined by commas."""

    method: str = "GET"
    target: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The values of headers that came in several lines, line by line.
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision on a request, and which permission made it (None: none matched)."""

    decision: Decision
    place: int | None = None
    path: str = ""
    #: The answer to a client that is refused for its token; 403 and "" for any other.
    status: int = 403
    text: str = ""
    #: The tokens that were looked at and are good.
    tokens: tuple[Checked, ...] = ()


def permission(given: Mapping[str, Any]) -> Permission:
    """A permission of an intention as the API shows it."""
    http = given.get("HTTP") or {}
    forms = {form: http.get(f"Path{form.capitalize()}") for form in ("exact", "prefix", "regex")}
    path_form = next((form for form, value in forms.items() if value), "")
    return Permission(
        action=str(given.get("Action", "")),
        path_form=path_form,
        path=str(forms.get(path_form) or ""),
        methods=frozenset(str(method).upper() for method in http.get("Methods") or ()),
        headers=tuple(_header(one) for one in http.get("Header") or ()),
        providers=read_wanted(given.get("JWT") or {}),
    )


def _header(given: Mapping[str, Any]) -> HeaderRule:
    for form in ("Exact", "Prefix", "Suffix", "Contains", "Regex"):
        if given.get(form):
            return HeaderRule(
                name=str(given.get("Name", "")).lower(),
                form=form.lower(),
                value=str(given[form]),
                invert=bool(given.get("Invert")),
                ignore_case=bool(given.get("IgnoreCase")),
            )
    return HeaderRule(
        name=str(given.get("Name", "")).lower(),
        form="present",
        invert=bool(given.get("Invert")),
    )


def fits(one: Permission, request: Request, path: str, full_match: FullMatch) -> bool:
    """Whether a permission is about a request with this canonical path.

    What cannot be read is taken for the worse: a denial counts, a permission does not. So is what
    has several readings: a method in small letters, a header in several lines.
    """
    lets_in = one.action in LETTING_IN
    # Methods are case-sensitive (RFC 9110, 9.1), but not every application knows.
    if one.methods and (request.method if lets_in else request.method.upper()) not in one.methods:
        return False
    try:
        if one.path_form and not _path_fits(one, path, full_match):
            return False
        return all(_header_fits(rule, request, full_match, lets_in) for rule in one.headers)
    except UnreadablePattern:
        return not lets_in


def _path_fits(one: Permission, path: str, full_match: FullMatch) -> bool:
    if one.path_form == "regex":
        return full_match(one.path, path)
    wanted = _own_form(one.path)
    return path == wanted if one.path_form == "exact" else path.startswith(wanted)


@lru_cache(maxsize=4096)
def _own_form(path: str) -> str:
    """A permission's path in the form in which requests are compared; as it is if it has none."""
    try:
        return paths.canonical(path)
    except AmbiguousPath:
        return path


def _header_fits(rule: HeaderRule, request: Request, full_match: FullMatch, lets_in: bool) -> bool:
    value = request.headers.get(rule.name)
    lines = request.lines.get(rule.name, ())
    readings = (
        (each is not None and _value_fits(rule, each, full_match)) != rule.invert
        for each in (value, *lines)
    )
    return all(readings) if lets_in else any(readings)


def _value_fits(rule: HeaderRule, value: str, full_match: FullMatch) -> bool:
    wanted = rule.value
    if rule.ignore_case:
        value, wanted = value.lower(), wanted.lower()
    match rule.form:
        case "exact":
            return value == wanted
        case "prefix":
            return value.startswith(wanted)
        case "suffix":
            return value.endswith(wanted)
        case "contains":
            return wanted in value
        case "regex":
            return full_match(wanted, value)
        case _:
            return True


def decide(
    rules: Sequence[Rule],
    request: Request,
    *,
    source: str,
    destination: str,
    default_allow: bool,
    default_reason: str,
    full_match: FullMatch,
    tokens: Tokens = unverified,
) -> Verdict:
    """Decide on one request. ``rules`` stand in order of precedence.

    A path with more than one reading is denied where a permission would have to read it. A token
    that the intention wants is looked at before its permissions.
    """
    found = matching(rules, source=source, destination=destination)
    if not found or not (found[0].matches or found[0].providers):
        decision = decide_connection(
            rules,
            source=source,
            destination=destination,
            default_allow=default_allow,
            default_reason=default_reason,
        )
        return Verdict(decision=decision)
    winner, losers = found[0], tuple(found[1:])
    layer = "L7" if winner.matches else "JWT"
    case = _Case(f"Matched {layer} intention: {winner}", winner, losers)
    if winner.providers:
        judged = judge(winner.providers, tokens)
        if judged.good is None:
            return case.refused(judged)
        case = case.with_token(judged)
    if not winner.matches:
        # An intention may have permissions that nobody told: then nothing is allowed.
        lets_in = winner.action in LETTING_IN and not winner.permissions
        return case.verdict(lets_in, audited=winner.action == "audit")
    try:
        path = paths.canonical(request.target)
    except AmbiguousPath as error:
        refused = Decision(allowed=False, reason=f"{AMBIGUOUS}{error}", rule=winner, losers=losers)
        return Verdict(decision=refused)
    for place, one in enumerate(winner.matches):
        if fits(one, request, path, full_match):
            return case.of_permission(one, place, path, tokens)
    decision = Decision(
        allowed=default_allow,
        reason=f"{case.reason}, none of which is about this request: {default_reason}",
        rule=winner,
        losers=losers,
    )
    return Verdict(decision=decision, path=path, tokens=case.tokens)


@dataclass(frozen=True, slots=True)
class _Case:
    """One request and the intention that is about it."""

    reason: str
    winner: Rule
    losers: tuple[Rule, ...]
    tokens: tuple[Checked, ...] = ()

    def with_token(self, judged: Judged) -> _Case:
        assert judged.good is not None
        reason = f"{self.reason}, {judged.reason}"
        return _Case(reason, self.winner, self.losers, (*self.tokens, judged.good))

    def refused(self, judged: Judged, place: int | None = None, path: str = "") -> Verdict:
        decision = Decision(
            allowed=False,
            reason=f"{self.reason}, which wants a JWT: {judged.reason}",
            rule=self.winner,
            losers=self.losers,
        )
        return Verdict(
            decision=decision, place=place, path=path, status=judged.status, text=judged.text
        )

    def of_permission(self, one: Permission, place: int, path: str, tokens: Tokens) -> Verdict:
        lets_in = one.action in LETTING_IN
        case = _Case(
            f"{self.reason}, Permission {place}: {one.action.upper()}",
            self.winner, self.losers, self.tokens,
        )  # fmt: skip
        if lets_in and one.providers:
            judged = judge(one.providers, tokens)
            if judged.good is None:
                return case.refused(judged, place, path)
            case = case.with_token(judged)
        return case.verdict(lets_in, audited=one.action == "audit", place=place, path=path)

    def verdict(
        self, lets_in: bool, *, audited: bool, place: int | None = None, path: str = ""
    ) -> Verdict:
        decision = Decision(
            allowed=lets_in,
            audited=lets_in and audited,
            reason=self.reason,
            rule=self.winner,
            losers=self.losers,
        )
        return Verdict(decision=decision, place=place, path=path, tokens=self.tokens)
