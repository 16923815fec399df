"""What a verified token says: whether it is meant for us and holds now, and whom it names. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Where a token names only one end of its life, the other is so far away (as in the reference).
LEEWAY_S = 150.0
#: How far apart two clocks may be.
CLOCK_SKEW_S = 60.0


class ClaimError(ValueError):
    """The token is good, and not for us or not now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a login proved. Selectors and names of binding rules speak of ``value.NAME`` and, in
    selectors only, ``list.NAME``; names that there was no claim for are empty. ``path`` is what
    stands before them: for Kubernetes "serviceaccount" instead of "value"."""

    values: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path: str = "value"

    @property
    def variables(self) -> Mapping[str, str]:
        """What ``${…}`` may stand for."""
        return {f"{self.path}.{name}": value for name, value in self.values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a token must say. Negative leeways are none, 0 is the default of each."""

    issuer: str = ""
    audiences: Sequence[str] = ()
    expiration_leeway_s: float = 0.0
    not_before_leeway_s: float = 0.0
    clock_skew_s: float = 0.0


def check(claims: Mapping[str, Any], bounds: Bounds, now: float) -> None:
    """Is a token with these claims for us, and in force at ``now`` (Unix seconds)?

    Raises ClaimError.
    """
    issued, begins, ends = (_time(claims, name) for name in ("iat", "nbf", "exp"))
    if not (issued or begins or ends):
        raise ClaimError("no issue time, notbefore, or expiration time encoded in token")
    if not ends:
        ends = max(issued, begins) + _leeway(bounds.expiration_leeway_s, LEEWAY_S)
    if not begins:
        begins = issued or ends - _leeway(bounds.not_before_leeway_s, LEEWAY_S)
    skew_s = _leeway(bounds.clock_skew_s, CLOCK_SKEW_S)
    if bounds.issuer and claims.get("iss") != bounds.issuer:
        raise ClaimError("invalid issuer claim (iss)")
    if now + skew_s < begins:
        raise ClaimError("token not valid yet (nbf)")
    if now - skew_s > ends:
        raise ClaimError("token is expired (exp)")
    if issued > now + skew_s:
        raise ClaimError("token issued in the future (iat)")
    _check_audience(claims.get("aud"), bounds.audiences)


def _leeway(given_s: float, default_s: float) -> float:
    return max(0.0, given_s) if given_s else default_s


def _check_audience(claim: Any, bound: Sequence[str]) -> None:
    audiences = [claim] if isinstance(claim, str) else claim or []
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        raise ClaimError("aud claim is neither a string nor a list of strings")
    if not bound:
        # Whoever says whom a token is for means nobody else.
        if audiences:
            raise ClaimError("audience claim found in JWT but no audiences are bound")
        return
    if not set(audiences) & set(bound):
        raise ClaimError("aud claim does not match any bound audience")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimError(f"{name} claim is no number")
    if not 0 <= value < 1e12:
        raise ClaimError(f"{name} claim is no time")
    return float(value)


def identity(
    claims: Mapping[str, Any], mappings: Mapping[str, str], list_mappings: Mapping[str, str]
) -> Identity:
    """Whom the claims name, by the method's mappings (claim -> name). Raises ClaimError."""
    values, lists = dict.fromkeys(mappings.values(), ""), dict.fromkeys(list_mappings.values(), ())
    for claim, name in mappings.items():
        found = _claim(claims, claim)
        if found is not None:
            values[name] = _text(claim, found)
    listed: dict[str, tuple[str, ...]] = dict(lists)
    for claim, name in list_mappings.items():
        found = _claim(claims, claim)
        if found is not None:
            each = found if isinstance(found, list) else [found]
            listed[name] = tuple(_text(claim, value) for value in each)
    return Identity(values, listed)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a JSON pointer (RFC 6901) into the claims."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for part in name[1:].split("/"):
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isascii() and step.isdecimal() and len(step) < 9:
            found = found[int(step)] if int(step) < len(found) else None
        else:
            return None
    return found


def _text(claim: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case _:
            raise ClaimError(f"error converting claim '{claim}' to string from unknown type")
