"""The leader's part of logins: proves who somebody is, finds what that one gets, writes the token.

What went wrong lately, and what each login was given and why, is kept for `explain login`; neither
holds anything of a bearer token or a secret.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from agent.acl import identities, tokens
from agent.acl.caller import DENIED, NOT_FOUND
from agent.acl.definitions import token_content
from agent.backend.local import LeaderMethod
from agent.backend.logins import (
    Login,
    decode_login,
    decode_logout,
    decode_oidc_begin,
    decode_oidc_finish,
)
from agent.backend.operations import LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH
from agent.config.bounds import Limits
from agent.dates import date
from agent.durations import parse_s
from agent.errors import RequestError
from agent.leader.login_door import LoginStats, Replicated
from agent.leader.oidc import BrowserLogins, UnknownMethod
from agent.login import bindings, claims, fetch, jwt, kubernetes, methods, oidc
from raftstore.commands import Rejected
from raftstore.definition_commands import DeleteACLTokens, SetACLToken
from raftstore.definition_queries import (
    ACLTokenBySecret,
    GetACLAuthMethod,
    GetACLPolicy,
    GetACLRole,
    ListACLBindingRules,
)
from raftstore.definitions import ACLAuthMethod, ACLPolicy, ACLRole, ACLToken, secret_hash
from raftstore.records import Actor, Json

T = TypeVar("T")

#: Logins that are remembered for people.
REMEMBERED = 64


class _Refused(Exception):
    """A login that gives nothing: its outcome, and what the client is told."""

    def __init__(self, outcome: str, status: int, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.status = status


@dataclass(slots=True)
class _Given:
    """What the rules gave, in links and identities."""

    policies: list[ACLPolicy] = field(default_factory=list)
    roles: list[ACLRole] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    templates: list[dict[str, Any]] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        return any((self.policies, self.roles, self.services, self.nodes, self.templates))


#: Whom somebody proved to be, by which method, with the metadata of the login.
_Proved = tuple[ACLAuthMethod, claims.Identity, Mapping[str, str]]


class LoginKeeper:
    """One of these on each server; whoever leads is asked."""

    def __init__(
        self,
        backend: Replicated,
        *,
        datacenter: str,
        unix_clock: Callable[[], float] = time.time,
        stats: LoginStats | None = None,
        limits: Limits = Limits(),  # noqa: B008  frozen
    ) -> None:
        """``stats`` counts on, where somebody has begun."""
        self._token_bytes_max = limits.login_token_max_size
        self._backend = backend
        self._datacenter = datacenter
        self._now = unix_clock
        self._vouchers = fetch.Vouchers(limits.login_answer_max_size)
        self._stats = stats or LoginStats()
        self._last: deque[dict[str, Json]] = deque(maxlen=REMEMBERED)
        self._browsers = BrowserLogins(backend, self._vouchers, unix_clock)
        self.methods: dict[str, LeaderMethod] = {
            LOGIN: self._login,
            LOGOUT: self._logout,
            OIDC_BEGIN: self._begin_oidc,
            OIDC_FINISH: self._finish_oidc,
        }

    async def close(self) -> None:
        """Close what is open."""
        await self._vouchers.close()

    def stats(self) -> LoginStats:
        """The figures as they stand."""
        self._stats.vouchers_asked = self._vouchers.asked
        self._stats.vouchers_failed = self._vouchers.failed
        return self._stats

    def explain(self) -> Json:
        """The last logins, newest first: who, by which method, what was given, or why nothing."""
        return {"Outcomes": dict(self._stats.logins), "Last": list(reversed(self._last))}

    # -- in ---------------------------------------------------------------------------------------

    async def _login(self, payload: bytes, timeout_s: float) -> bytes:
        asked = decode_login(payload)
        told: dict[str, Json] = {
            "At": date(self._now()), "AuthMethod": asked.method, "Address": asked.address,
        }  # fmt: skip
        return await self._given_token(asked, told, self._proved(asked))

    async def _given_token(
        self, asked: Login, told: dict[str, Json], proof: Awaitable[_Proved]
    ) -> bytes:
        try:
            with _refusing():
                method, identity, meta = await proof
            found = await self._token(asked, told, method, identity, meta)
        except _Refused as error:
            self._note(told, error.outcome, str(error))
            raise RequestError(error.status, str(error)) from None
        self._note(told, "given", "")
        return json.dumps(found).encode()

    async def _begin_oidc(self, payload: bytes, timeout_s: float) -> bytes:
        asked = decode_oidc_begin(payload)
        try:
            with _refusing():
                url = await self._browsers.begin(asked)
        except _Refused as error:
            told: dict[str, Json] = {"At": date(self._now()), "AuthMethod": asked.method}
            self._note(told, error.outcome, str(error))
            raise RequestError(error.status, str(error)) from None
        return json.dumps({"AuthURL": url}).encode()

    async def _finish_oidc(self, payload: bytes, timeout_s: float) -> bytes:
        given = decode_oidc_finish(payload)
        told: dict[str, Json] = {
            "At": date(self._now()), "AuthMethod": given.method, "Address": given.address,
        }  # fmt: skip
        asked = Login(method=given.method, bearer="", address=given.address, node=given.node)
        return await self._given_token(asked, told, self._browsers.finish(given))

    def _note(self, told: dict[str, Json], outcome: str, why: str) -> None:
        self._stats.logins[outcome] += 1
        self._last.append(told | {"Outcome": outcome} | ({"Reason": why} if why else {}))

    async def _proved(self, asked: Login) -> _Proved:
        method = (await self._backend.ask(GetACLAuthMethod(asked.method))).value
        if method is None:
            raise UnknownMethod(asked.method)
        return method, await self._identity(method, asked.bearer), asked.meta

    async def _token(
        self,
        asked: Login,
        told: dict[str, Json],
        method: ACLAuthMethod,
        identity: claims.Identity,
        meta: Mapping[str, str],
    ) -> Json:
        told["Identity"] = {
            **identity.variables, **{f"list.{n}": list(v) for n, v in identity.lists.items()},
        }  # fmt: skip
        rules = (await self._backend.ask(ListACLBindingRules(method.name))).value
        told["Rules"] = {
            rule.id: "matches" if _matches(rule.content, identity) else "does not match"
            for rule in rules
        }
        try:
            bound = bindings.bound(rules, identity)
        except bindings.BindError as error:
            raise _Refused("bad binding", 500, str(error)) from None
        given = await self._given(bound)
        told["Bound"] = [f"{each.type} {each.name}" for each in bound]
        if not given.anything:
            raise _Refused("nothing bound", 403, DENIED)
        return await self._write(replace(asked, meta=meta), method, given)

    async def _identity(self, method: ACLAuthMethod, bearer: str) -> claims.Identity:
        known = methods.read(method.type, (method.content or {}).get("Config"))
        if isinstance(known, methods.KubernetesMethod):
            return await self._vouchers.review(known, bearer)
        if known.client is not None:
            raise oidc.OidcError("a method of type oidc lets in by browser only")
        token = jwt.parse(bearer, bytes_max=self._token_bytes_max)
        keys = await self._vouchers.keys_of(known, token.key_id)
        jwt.verify(token, keys, known.algorithms)
        claims.check(token.claims, known.bounds, self._now())
        return claims.identity(token.claims, known.mappings, known.list_mappings)

    async def _given(self, bound: Sequence[bindings.Bound]) -> _Given:
        """Roles and policies that do not exist (any more) give nothing."""
        given = _Given()
        for each in bound:
            match each.type:
                case bindings.SERVICE:
                    given.services.append({"name": each.name})
                case bindings.NODE:
                    given.nodes.append({"name": each.name, "datacenter": self._datacenter})
                case bindings.TEMPLATE:
                    variables = {n.lower(): v for n, v in (each.variables or {}).items()}
                    given.templates.append({"name": each.name, "variables": variables})
                case bindings.ROLE:
                    role = (await self._backend.ask(GetACLRole(name=each.name))).value
                    given.roles += [role] if role is not None else []
                case _:
                    policy = (await self._backend.ask(GetACLPolicy(name=each.name))).value
                    given.policies += [policy] if policy is not None else []
        return given

    async def _write(self, asked: Login, method: ACLAuthMethod, given: _Given) -> Json:
        now, content = self._now(), method.content or {}
        ttl = content.get("MaxTokenTTL")
        kept = {
            "ServiceIdentities": identities.service_identities(given.services, "token"),
            "NodeIdentities": identities.node_identities(given.nodes, "token"),
            "TemplatedPolicies": identities.templated_policies(given.templates, "token"),
        }
        kept = {name: each for name, each in kept.items() if each}
        policies = tuple(each.id for each in given.policies)
        roles = tuple(each.id for each in given.roles)
        token = ACLToken(
            accessor=str(uuid.uuid4()),
            secret=str(uuid.uuid4()),
            policies=policies,
            roles=roles,
            auth_method=method.name,
            expires_at=now + parse_s(ttl) if ttl else None,
            content=token_content(
                _description(asked.meta),
                now,
                local=content.get("TokenLocality") != "global",
                policies=policies,
                roles=roles,
                identities=kept,
            ),
        )
        actor = Actor(token.accessor, asked.address, asked.node)
        outcome = await self._backend.change(SetACLToken(token, 0), actor=actor)
        if isinstance(outcome, Rejected):
            raise RequestError(500, outcome.reason)
        return tokens.shown(
            token,
            secret=token.secret,
            policies=[{"ID": each.id, "Name": each.name} for each in given.policies],
            roles=[{"ID": each.id, "Name": each.name} for each in given.roles],
            identities=identities.shown(kept),
        ) | {"CreateIndex": outcome.index, "ModifyIndex": outcome.index}

    # -- out --------------------------------------------------------------------------------------

    async def _logout(self, payload: bytes, timeout_s: float) -> bytes:
        asked = decode_logout(payload)
        found = (await self._backend.ask(ACLTokenBySecret(secret_hash(asked.secret)))).value
        if not asked.secret or found is None:
            raise RequestError(403, NOT_FOUND)
        if not found.auth_method:
            raise RequestError(403, DENIED)
        actor = Actor(found.accessor, asked.address, asked.node)
        await self._backend.change(DeleteACLTokens((found.accessor,)), actor=actor)
        self._stats.logouts += 1
        return b""


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What can be wrong with a proof, as what a client is told."""
    try:
        yield
    except UnknownMethod as error:
        raise _Refused("unknown method", 403, f"{NOT_FOUND}: {error}") from None
    except methods.MethodError as error:
        raise _Refused("unreadable method", 500, f"Invalid Auth Method: {error}") from None
    except jwt.JwtError as error:
        raise _Refused("bad token", 500, f"error parsing token: {error}") from None
    except claims.ClaimError as error:
        raise _Refused("bad token", 500, f"error validating claims: {error}") from None
    except oidc.OidcError as error:
        raise _Refused("bad token", 400, f"Bad request: {error}") from None
    except kubernetes.ReviewError as error:
        raise _Refused("not vouched for", 500, str(error)) from None
    except fetch.FetchError as error:
        text = f"error asking who vouches for the token: {error}"
        raise _Refused("not vouched for", 500, text) from None


def _matches(content: Json, identity: claims.Identity) -> bool:
    return bindings.matches((content or {}).get("Selector", ""), identity)


def _description(meta: Mapping[str, str]) -> str:
    if not meta:
        return "token created via login"
    shown = json.dumps(dict(sorted(meta.items())), separators=(",", ":"), ensure_ascii=False)
    return f"token created via login: {shown}"
