"""The leader's part of logins through a browser: asks the provider, and carries out what
agent/login/oidc.py decides."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from agent.backend import Ask, Reply
from agent.backend.logins import OidcBegin, OidcFinish
from agent.login import claims, jwt, methods, oidc
from agent.login.methods import JwtMethod
from raftstore.definition_queries import GetACLAuthMethod, GetACLFact
from raftstore.definitions import ACLAuthMethod
from raftstore.queries import Query

T = TypeVar("T")

#: The fact that holds the servers' own secret.
_SERVER = "server"


class Asks(Protocol):
    """The leader's way to the state."""

    async def ask(self, query: Query[T], options: Ask = ...) -> Reply[T]: ...


class Vouchers(Protocol):
    """Who asks providers (agent/login/fetch.py); every question may end in its FetchError."""

    async def provider(self, method: JwtMethod) -> oidc.Provider: ...
    async def exchange(
        self,
        provider: oidc.Provider,
        client: oidc.Client,
        form: Mapping[str, str],
        authorities_pem: str,
    ) -> Mapping[str, Any]: ...
    async def userinfo(
        self, provider: oidc.Provider, access: str, authorities_pem: str
    ) -> Mapping[str, Any]: ...
    async def keys_of(self, method: JwtMethod, key_id: str = "") -> tuple[jwt.Key, ...]: ...


class BrowserLogins:
    """Begins and finishes them."""

    def __init__(self, backend: Asks, vouchers: Vouchers, now: Callable[[], float]) -> None:
        self._backend = backend
        self._vouchers = vouchers
        self._now = now

    async def begin(self, asked: OidcBegin) -> str:
        """Where the browser has to go. Raises OidcError, FetchError, MethodError."""
        _, known, client = await self._method(asked.method)
        oidc.check_redirect(client, asked.redirect)
        if len(asked.client_nonce) > oidc.NONCE_CHARS_MAX:
            raise oidc.OidcError(f"ClientNonce has at most {oidc.NONCE_CHARS_MAX} characters")
        begun = oidc.Begun(
            method=asked.method,
            redirect=asked.redirect,
            client_nonce=asked.client_nonce,
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            ends_at=self._now() + oidc.LIFE_S,
            meta=asked.meta,
        )
        provider = await self._vouchers.provider(known)
        state = oidc.seal(begun, await self._key(), secrets.token_bytes(12))
        return oidc.authorization_url(provider, client, begun, state)

    async def finish(
        self, asked: OidcFinish
    ) -> tuple[ACLAuthMethod, claims.Identity, Mapping[str, str]]:
        """Whom the provider has proved, by which method, and the login's metadata.

        Raises OidcError, FetchError, MethodError, JwtError, ClaimError.
        """
        if len(asked.state) > oidc.STATE_CHARS_MAX or len(asked.code) > oidc.CODE_CHARS_MAX:
            raise oidc.OidcError("Expired or missing OAuth state.")
        begun = oidc.unseal(asked.state, await self._key(), self._now())
        same = hmac.compare_digest(asked.client_nonce.encode(), begun.client_nonce.encode())
        if begun.method != asked.method or not same:
            raise oidc.OidcError("Expired or missing OAuth state.")
        if not asked.code:
            raise oidc.OidcError("No code was given")
        method, known, client = await self._method(begun.method)
        # What was allowed when it began may have been taken away since.
        oidc.check_redirect(client, begun.redirect)
        provider = await self._vouchers.provider(known)
        form = oidc.exchange(client, begun, asked.code, by_post=provider.by_post)
        answer = await self._vouchers.exchange(provider, client, form, known.authorities_pem)
        told = await self._claims(known, client, provider, begun, answer)
        identity = claims.identity(told, known.mappings, known.list_mappings)
        return method, identity, begun.meta

    async def _claims(
        self,
        known: JwtMethod,
        client: oidc.Client,
        provider: oidc.Provider,
        begun: oidc.Begun,
        answer: Mapping[str, Any],
    ) -> dict[str, Any]:
        raw = answer.get("id_token")
        if not isinstance(raw, str):
            raise oidc.OidcError("No id_token found in response.")
        token = jwt.parse(raw)
        keys = await self._vouchers.keys_of(known, token.key_id)
        jwt.verify(token, keys, known.algorithms)
        audiences = known.bounds.audiences or (client.id,)
        bounds = replace(known.bounds, issuer=provider.issuer, audiences=audiences)
        claims.check(token.claims, bounds, self._now())
        oidc.check_claims(token.claims, client, begun)
        told = dict(token.claims)
        access = answer.get("access_token")
        if provider.userinfo_url and isinstance(access, str):
            more = await self._vouchers.userinfo(provider, access, known.authorities_pem)
            # It is about somebody else unless it says the same (OpenID Connect Core, 5.3.2).
            if more.get("sub") == told.get("sub") and told.get("sub"):
                told = {**more, **told}
        return told

    async def _method(self, name: str) -> tuple[ACLAuthMethod, JwtMethod, oidc.Client]:
        method = (await self._backend.ask(GetACLAuthMethod(name))).value
        if method is None:
            raise UnknownMethod(name)
        if method.type != methods.OIDC:
            raise oidc.OidcError(f'auth method "{name}" is not of type oidc')
        known = methods.read(method.type, (method.content or {}).get("Config"))
        assert isinstance(known, JwtMethod), "oidc has an issuer"
        assert known.client is not None, "it was checked as one of oidc"
        return method, known, known.client

    async def _key(self) -> str:
        found = (await self._backend.ask(GetACLFact(_SERVER))).value
        if found is None or not found.secret:
            raise oidc.OidcError("the servers have no secret yet")
        return found.secret


class UnknownMethod(Exception):
    """There is no method of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'auth method "{name}" not found')
