"""Whose request it is: an accessor with what it may do. The secret is shown nowhere."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from agent.acl.authorizer import MANAGE_ALL, Authorizer, Decision
from agent.acl.builtin import ANONYMOUS_ID
from agent.acl.rules import Level
from agent.errors import RequestError
from raftstore.thawed import maker_of

NOT_FOUND = "ACL not found"
DENIED = "Permission denied"


@dataclass(frozen=True, slots=True)
class Caller:
    """``expires_at`` is Unix seconds, None for never.

    ``rights`` is one object for all who are told the same: it depends on what they may, and on
    whether they show a token. What it stands for never changes.
    """

    accessor: str
    authorizer: Authorizer
    secret: str = field(default="", repr=False)
    expires_at: float | None = None
    rights: object = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rights = self.authorizer.unnamed if self.anonymous else self.authorizer
        object.__setattr__(self, "rights", rights)

    @property
    def anonymous(self) -> bool:
        """Whether no token was shown."""
        return self.accessor == ANONYMOUS_ID


#: Whoever asks while access control is off, and the agent for itself.
EVERYBODY = Caller(ANONYMOUS_ID, MANAGE_ALL)


@dataclass(frozen=True, slots=True)
class Need:
    """A permission that something needs. With ``below`` every key with the prefix ``name``.

    ``text`` and ``status`` are what a client without it is told.
    """

    resource: str
    verb: Level
    name: str = ""
    below: bool = False
    text: str = DENIED
    status: int = 403

    def met(self, authorizer: Authorizer) -> bool:
        """Whether it is given."""
        if self.below:
            return authorizer.may_write_below(self.name).allowed
        return authorizer.allows(self.resource, self.verb, self.name)

    def decision(self, authorizer: Authorizer) -> Decision:
        """Whether it is given, and why."""
        if self.below:
            return authorizer.may_write_below(self.name)
        return authorizer.decide(self.resource, self.verb, self.name)

    def __str__(self) -> str:
        shown = f"{self.resource}:{self.verb.name.lower()}"
        return f'{shown} on "{self.name}"' if self.name else shown


_make_need = maker_of(Need)


def need_of(resource: str, verb: Level, name: str) -> Need:
    """A plain need, made for every request: a third of what its own constructor takes."""
    return _make_need(resource, verb, name, False, DENIED, 403)


class TokenNotFound(RequestError):
    """The secret is that of no token, or of one that has expired."""

    def __init__(self) -> None:
        super().__init__(403, NOT_FOUND)


class Denied(RequestError):
    """A permission is missing. ``reason`` names the accessor, the permission and the rule."""

    def __init__(self, caller: Caller, need: Need) -> None:
        super().__init__(need.status, need.text)
        self.need = need
        who = (
            "anonymous token" if caller.anonymous else f"token with AccessorID '{caller.accessor}'"
        )
        decision = need.decision(caller.authorizer)
        self.reason = f"{who} lacks permission {need}: {decision.reason}"


def same_secret(shown: str, known: str) -> bool:
    """Whether a secret is the known one, in a time that does not tell where they differ. "" is none
    and never the same."""
    # What a client shows may be no Unicode: bytes that are no UTF-8 come as surrogates.
    return bool(known) and hmac.compare_digest(
        shown.encode(errors="surrogatepass"), known.encode(errors="surrogatepass")
    )
