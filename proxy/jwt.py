"""Tokens that intentions ask for: where one stands, if it is good, what it says (contract B.5).

Pure; ``now`` (Unix time) is given, and who reads keys and checks signatures (``Jose``). A provider
that cannot be read or has no keys makes every token bad: nobody is let in by what nobody reads.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

#: What a refused client reads (contract B.5).
MISSING, FAILS = "Jwt is missing", "Jwt verification fails"
CACHE_MAX = 65_536
TOKEN_MAX_BYTES = 16_384
_CLAIM_DEPTH_MAX = 32


class TokenError(ValueError):
    """A token or a key set that cannot be used. ``unknown_key``: another key set might have it."""

    def __init__(self, text: str, *, unknown_key: bool = False) -> None:
        super().__init__(text)
        self.unknown_key = unknown_key


class Jose(Protocol):
    """Who reads keys and checks signatures; both methods raise TokenError."""

    def keys(self, jwks: bytes) -> Any:
        """A key set (RFC 7517) in a form for ``claims``."""
        ...

    def claims(self, token: str, keys: Any) -> Mapping[str, Any]:
        """What a compact token (RFC 7519) says, if one of the keys signed it."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token must say: the text at a path, or one of the texts of a list there."""

    path: tuple[str, ...]
    value: str

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token of a provider, with these claims."""

    name: str
    claims: tuple[Claim, ...] = ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a token may stand: ``kind`` is header, query or cookie."""

    kind: str
    name: str
    prefix: str = ""
    forward: bool = False


STANDARD = (
    Location(kind="header", name="authorization", prefix="Bearer "),
    Location(kind="query", name="access_token"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A key set elsewhere. Times in seconds."""

    uri: str
    timeout_s: float = 1.0
    keep_s: float = 300.0
    retries: int = 0
    authorities_pem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A ``jwt-provider`` entry. Keys stand in ``jwks``, in a file of the host, or elsewhere."""

    name: str
    issuer: str = ""
    audiences: frozenset[str] = frozenset()
    locations: tuple[Location, ...] = STANDARD
    forward_header: str = ""
    pad: bool = False
    skew_s: float = 30.0
    cache_size: int = 0
    jwks: bytes = b""
    filename: str = ""
    remote: Remote | None = None


def read_wanted(given: Any) -> tuple[Wanted, ...]:
    """``JWT`` of an intention or a permission."""
    providers = given.get("Providers") if isinstance(given, Mapping) else None
    return tuple(
        Wanted(
            str(one.get("Name", "")),
            tuple(
                Claim(tuple(str(part) for part in each.get("Path") or ()), str(each.get("Value")))
                for each in one.get("VerifyClaims") or ()
            ),
        )
        for one in providers or ()
    )


def read_provider(name: str, given: Mapping[str, Any]) -> Provider:
    """A provider as the feed tells it (durations in nanoseconds). Raises TokenError."""
    try:
        keys = given.get("JSONWebKeySet") or {}
        local, remote = keys.get("Local") or {}, keys.get("Remote")
        forwarding = given.get("Forwarding") or {}
        return Provider(
            name=name,
            issuer=str(given.get("Issuer") or ""),
            audiences=frozenset(str(each) for each in given.get("Audiences") or ()),
            locations=tuple(_location(each) for each in given.get("Locations") or ()) or STANDARD,
            forward_header=str(forwarding.get("HeaderName") or "").lower(),
            pad=bool(forwarding.get("PadForwardPayloadHeader")),
            skew_s=float(given.get("ClockSkewSeconds", 30)),
            cache_size=min(int((given.get("CacheConfig") or {}).get("Size") or 0), CACHE_MAX),
            jwks=base64.b64decode(local.get("JWKS") or ""),
            filename=str(local.get("Filename") or ""),
            remote=_remote(remote) if remote else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenError(f"the jwt-provider {name} cannot be read: {error!r}") from error


def _location(given: Mapping[str, Any]) -> Location:
    if header := given.get("Header"):
        return Location(
            kind="header",
            name=str(header["Name"]).lower(),
            prefix=str(header.get("ValuePrefix") or ""),
            forward=bool(header.get("Forward")),
        )
    if query := given.get("QueryParam"):
        return Location(kind="query", name=str(query["Name"]))
    return Location(kind="cookie", name=str(given["Cookie"]["Name"]), forward=True)


def _remote(given: Mapping[str, Any]) -> Remote:
    cluster = given.get("JWKSCluster") or {}
    trusted = (cluster.get("TLSCertificates") or {}).get("TrustedCA") or {}
    return Remote(
        uri=str(given["URI"]),
        timeout_s=(float(given.get("RequestTimeoutMs") or 0) / 1000.0) or 1.0,
        keep_s=(float(given.get("CacheDuration") or 0) / 1e9) or 300.0,
        retries=min(int((given.get("RetryPolicy") or {}).get("NumRetries") or 0), 10),
        authorities_pem=str(trusted.get("InlineString") or ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of a request's token for one provider. ``claims`` None: it is not good, and
    ``text`` is what the client reads; ``reason`` is for logs and never holds any of the token."""

    provider: Provider | None = None
    claims: Mapping[str, Any] | None = None
    text: str = MISSING
    reason: str = "no token"
    location: Location | None = None
    token: str = field(default="", repr=False)
    unknown_key: bool = False


#: What the token of a provider is, by the provider's name.
Tokens = Callable[[str], Checked]


def unverified(name: str) -> Checked:
    """Nobody can verify tokens here."""
    return Checked(text=FAILS, reason=f"tokens of {name} cannot be verified here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Whether one of several providers' tokens is there and says what it must. ``status`` and
    ``text`` are the answer to the client if not."""

    good: Checked | None = None
    status: int = 403
    text: str = ""
    reason: str = ""


def judge(wanted: tuple[Wanted, ...], tokens: Tokens) -> Judged:
    """One token that is good is enough."""
    reasons: list[str] = []
    worst = Judged(status=401, text=MISSING)
    for one in wanted:
        checked = tokens(one.name)
        if checked.claims is None:
            reasons.append(f"{one.name}: {checked.reason}")
            if checked.text != MISSING and worst.status == 401:
                worst = Judged(status=401, text=checked.text)
            continue
        failed = next((each for each in one.claims if not says(checked.claims, each)), None)
        if failed is None:
            return Judged(good=checked, reason=f"with a token of {one.name}")
        reasons.append(f"{one.name}: the claim {failed} is not what it must be")
        worst = Judged(status=403)
    return Judged(status=worst.status, text=worst.text, reason="; ".join(reasons))


def says(claims: Mapping[str, Any], claim: Claim) -> bool:
    """Whether claims have the value, or a list that has it, at the path."""
    found: Any = claims
    for part in claim.path[:_CLAIM_DEPTH_MAX]:
        if not isinstance(found, Mapping) or part not in found:
            return False
        found = found[part]
    if isinstance(found, list):
        return any(isinstance(each, str) and each == claim.value for each in found)
    return isinstance(found, str) and found == claim.value and bool(claim.path)


def check(
    provider: Provider,
    *,
    headers: Mapping[str, str],
    target: str,
    keys: Any,
    jose: Jose,
    now: float,
) -> Checked:
    """The token of a request for a provider. ``keys`` None: there are none."""
    found = find(provider, headers, target)
    if found is None:
        return Checked(provider=provider)
    location, token = found
    bad = Checked(provider=provider, text=FAILS, reason="", location=location)
    if keys is None:
        return _because(bad, "the provider has no keys")
    if len(token) > TOKEN_MAX_BYTES:
        return _because(bad, f"the token is longer than {TOKEN_MAX_BYTES} bytes")
    try:
        claims = jose.claims(token, keys)
    except TokenError as error:
        return _because(bad, str(error), unknown_key=error.unknown_key)
    if wrong := untimely(provider, claims, now):
        return _because(bad, wrong)
    return Checked(
        provider=provider, claims=claims, text="", reason="", location=location, token=token
    )


def _because(bad: Checked, reason: str, *, unknown_key: bool = False) -> Checked:
    return Checked(
        provider=bad.provider,
        text=bad.text,
        reason=reason,
        location=bad.location,
        unknown_key=unknown_key,
    )


def untimely(provider: Provider, claims: Mapping[str, Any], now: float) -> str:
    """Why a token with these claims does not count now, or not here; "" when it does."""
    if provider.issuer and claims.get("iss") != provider.issuer:
        return "the claim iss is not the provider's Issuer"
    if provider.audiences:
        given = claims.get("aud")
        audiences = given if isinstance(given, list) else [given]
        if not any(isinstance(each, str) and each in provider.audiences for each in audiences):
            return "the claim aud is none of the provider's Audiences"
    for name in ("exp", "nbf"):
        at = claims.get(name)
        if at is None:
            continue
        if isinstance(at, bool) or not isinstance(at, int | float) or at != at:
            return f"the claim {name} is no time"
        if name == "exp" and now > at + provider.skew_s:
            return "the token has expired (exp)"
        if name == "nbf" and now < at - provider.skew_s:
            return "the token does not count yet (nbf)"
    return ""


def find(
    provider: Provider, headers: Mapping[str, str], target: str
) -> tuple[Location, str] | None:
    """The first token in the provider's order of places."""
    for location in provider.locations:
        token = _at(location, headers, target)
        if token:
            return location, token
    return None


def _at(location: Location, headers: Mapping[str, str], target: str) -> str:
    match location.kind:
        case "header":
            value = headers.get(location.name, "")
            if not value.startswith(location.prefix):
                return ""
            return value[len(location.prefix) :].strip()
        case "query":
            pairs = parse_qsl(target.partition("?")[2])
            return next((value for name, value in pairs if name == location.name), "")
        case _:
            for crumb in headers.get("cookie", "").split(";"):
                name, _, value = crumb.strip().partition("=")
                if name == location.name:
                    return value.strip('"')
            return ""


def forwarded(
    headers: list[tuple[str, str]], target: str, good: tuple[Checked, ...], ours: frozenset[str]
) -> tuple[list[tuple[str, str]], str]:
    """Headers and target as the application sees them: tokens that it is not to see are taken out,
    payloads that it wants are put in. ``ours`` are headers that only we may set."""
    dropped = set(ours)
    made: list[tuple[str, str]] = []
    for each in good:
        location, provider = each.location, each.provider
        if location is None or provider is None:
            continue
        if not location.forward:
            if location.kind == "header":
                dropped.add(location.name)
            elif location.kind == "query":
                target = _without(target, location.name)
        if provider.forward_header:
            made.append((provider.forward_header, payload(each)))
    return [*((n, v) for n, v in headers if n.lower() not in dropped), *made], target


def _without(target: str, name: str) -> str:
    path, mark, query = target.partition("?")
    pieces = [
        piece
        for piece in query.split("&")
        if not any(found == name for found, _ in parse_qsl(piece, keep_blank_values=True))
    ]
    return path + (mark + "&".join(pieces) if pieces else "")


def payload(checked: Checked) -> str:
    """The claims as the application wants them: base64url of their JSON."""
    raw = checked.token.split(".")[1] if checked.token.count(".") == 2 else ""
    if not raw:
        made = json.dumps(checked.claims).encode()
        raw = base64.urlsafe_b64encode(made).decode().rstrip("=")
    pads = checked.provider is not None and checked.provider.pad
    return raw + "=" * (-len(raw) % 4) if pads else raw


class _Holder(Protocol):
    @property
    def providers(self) -> tuple[Wanted, ...]: ...


class _RuleLike(_Holder, Protocol):
    @property
    def matches(self) -> tuple[_Holder, ...]: ...


def wanted_by(rules: Iterable[_RuleLike]) -> frozenset[str]:
    """The providers whose tokens some rule asks for."""
    return frozenset(
        one.name
        for rule in rules
        for one in (*rule.providers, *(w for each in rule.matches for w in each.providers))
    )


def shown(wanted: tuple[Wanted, ...]) -> list[dict[str, Any]]:
    """For people."""
    return [
        {"Provider": one.name, "Claims": [f"{each}={each.value}" for each in one.claims]}
        for one in wanted
    ]
