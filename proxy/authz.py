"""Who may talk to whom at layer 4 (mesh contract B.2 to B.4).

Decides from the intentions, given in order of precedence, and says why in Consul's words. Ordering
on the servers is the store's work; `order` here is for callers that have a plain set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from proxy.jwt import Wanted, wanted_by
from proxy.spiffe import Kind, SpiffeId

ANY = "*"
#: Actions that let in. What is audited is let in and told.
LETTING_IN = frozenset({"allow", "audit"})
#: Default when access lists are off, and when they are on (measured reference, B.4).
DEFAULT_ACL_OFF = "ACLs disabled, access is allowed by default"
#: An intention may want a token, and a connection has none.
NO_TOKENS = "which wants a JWT: only a request can bring one"
DEFAULT_BY_ACL = "Default behavior configured by ACLs"
DEFAULT_BY_POLICY = "Default behavior configured by default_intention_policy"


@dataclass(frozen=True, slots=True)
class Default:
    """What holds for a connection of which no intention speaks."""

    allow: bool
    reason: str


def default_told(headers: Mapping[str, str]) -> Default:
    """What an agent's answer says: its own policy for intentions if it has one, else that of access
    control. Not told is not allowed. Names of headers are in lower case."""
    policy = headers.get("x-lictor-default-intention-policy", "")
    if policy:
        return Default(policy == "allow", DEFAULT_BY_POLICY)
    # Without access lists an agent says "allow".
    allow = headers.get("x-consul-default-acl-policy", "") == "allow"
    return Default(allow, DEFAULT_ACL_OFF if allow else DEFAULT_BY_ACL)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """One condition on a header. ``form`` is present, exact, prefix, suffix, contains or regex."""

    name: str
    form: str
    value: str = ""
    invert: bool = False
    ignore_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a kind of requests may do. ``path_form`` is exact, prefix, regex or "" for any path.

    ``providers`` are the JWT providers one of whose tokens it also wants.
    """

    action: str
    path_form: str = ""
    path: str = ""
    methods: frozenset[str] = frozenset()
    headers: tuple[HeaderRule, ...] = ()
    providers: tuple[Wanted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One intention. ``permissions`` counts its L7 permissions; then ``action`` is "".

    ``matches`` are the permissions themselves, where somebody looks at requests. ``providers`` are
    the JWT providers one of whose tokens every request must bring.
    """

    source: str
    destination: str
    action: str
    permissions: int = 0
    precedence: int = 0
    matches: tuple[Permission, ...] = ()
    providers: tuple[Wanted, ...] = ()

    def __str__(self) -> str:
        what = f"Permissions: {self.permissions}" if self.permissions else ""
        return (
            f"default/{self.source} => default/{self.destination} "
            f"(Precedence: {self.precedence}, {what or 'Action: ' + self.action.upper()})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer, its reason for people, the rule that won, and those that matched and lost.

    ``audited``: let in only because nothing is refused yet; to be counted and told.
    """

    allowed: bool
    reason: str
    rule: Rule | None = None
    losers: tuple[Rule, ...] = ()
    audited: bool = False


def precedence(source: str, destination: str) -> int:
    """The precedence of a pair: 9, 8, 6 or 5; destination exactness outranks source exactness."""
    return (6 if destination == ANY else 9) - (source == ANY)


def order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules with the winner first; ties by names (contract B.3)."""
    return tuple(sorted(rules, key=lambda rule: (-rule.precedence, rule.source, rule.destination)))


def decide(
    rules: Sequence[Rule],
    *,
    source: str,
    destination: str,
    default_allow: bool,
    default_reason: str = DEFAULT_ACL_OFF,
) -> Decision:
    """Decide on one connection. ``rules`` stand in order of precedence.

    A rule with L7 permissions, or one that wants a token, denies at this layer: only a request
    could satisfy it. An action that this version does not know denies as well.
    """
    found = matching(rules, source=source, destination=destination)
    if not found:
        return Decision(allowed=default_allow, reason=default_reason)
    winner = found[0]
    if winner.permissions:
        allowed, layer = False, "L7"
    elif winner.providers:
        allowed, layer = False, "JWT"
    else:
        allowed, layer = winner.action in LETTING_IN, "L4"
    reason = f"Matched {layer} intention: {winner}"
    return Decision(
        allowed=allowed,
        reason=f"{reason}, {NO_TOKENS}" if winner.providers else reason,
        rule=winner,
        losers=tuple(found[1:]),
        audited=allowed and winner.action == "audit",
    )


def matching(rules: Iterable[Rule], *, source: str, destination: str) -> list[Rule]:
    """The rules about a pair, in the order given."""
    return [
        rule
        for rule in rules
        if rule.source in (source, ANY) and rule.destination in (destination, ANY)
    ]


class Policy:
    """The rules of one destination, and the answers already given, by client identity.

    A policy never changes: new rules make a new policy, so that a remembered answer is never old.
    """

    __slots__ = (
        "_kept_max",
        "_memo",
        "default_allow",
        "default_reason",
        "destination",
        "rules",
        "trust_domain",
        "wanted",
    )

    def __init__(
        self,
        *,
        destination: str,
        trust_domain: str,
        rules: Sequence[Rule],
        default_allow: bool,
        default_reason: str = DEFAULT_ACL_OFF,
        kept_max: int = 4096,
    ) -> None:
        self.destination = destination
        self.trust_domain = trust_domain.lower()
        self.rules = tuple(rules)
        self.default_allow = default_allow
        self.default_reason = default_reason
        self._kept_max = kept_max
        self._memo: dict[SpiffeId, Decision] = {}
        #: The providers whose tokens some rule asks for.
        self.wanted = wanted_by(self.rules)

    def decide(self, identity: SpiffeId) -> Decision:
        """Whether the holder of this identity may connect to the destination."""
        known = self._memo.get(identity)
        if known is not None:
            return known
        if len(self._memo) >= self._kept_max:
            self._memo.clear()
        decision = self._memo[identity] = self._decide(identity)
        return decision

    def _decide(self, identity: SpiffeId) -> Decision:
        stranger = foreign(identity, self.trust_domain)
        if stranger is not None:
            return stranger
        if identity.kind is not Kind.SERVICE:
            return Decision(allowed=False, reason=f"identity is not of a service: {identity}")
        return decide(
            self.rules,
            source=identity.name,
            destination=self.destination,
            default_allow=self.default_allow,
            default_reason=self.default_reason,
        )


def foreign(identity: SpiffeId, trust_domain: str) -> Decision | None:
    """A denial when the identity belongs to another mesh, None when it is of ours.

    The reference does not compare here; this difference is on purpose (contract A.9).
    """
    if identity.trust_domain == trust_domain.lower():
        return None
    return Decision(
        allowed=False,
        reason=(
            f'Trust domain "{identity.trust_domain}" of the client is not '
            f'"{trust_domain.lower()}", ours'
        ),
    )
