"""Asks those who vouch for foreign identities: key sets, discovery, Kubernetes.

The only door of logins to the outside: bounded in time, in bytes, in requests at once, without
redirects, and every answer is JSON that `jwt` or `kubernetes` judges. Key sets are kept for a
while, and read anew, not too often, when a token names a key that is not among them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from agent.login import jwt, kubernetes, oidc
from agent.login.claims import Identity
from agent.login.methods import JwtMethod, KubernetesMethod

#: Longer answers are none of a key set or a review.
ANSWER_BYTES_MAX = 1024 * 1024
TIMEOUT_S = 3.0
AT_ONCE = 16
#: A key set counts for so long, and is not asked for more often than this.
KEEP_S = 300.0
PAUSE_S = 5.0
KEPT_MAX = 64
_WELL_KNOWN = "/.well-known/openid-configuration"


class FetchError(Exception):
    """Who should vouch did not answer, or not with what was asked for."""


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: tuple[jwt.Key, ...]
    at: float


class Vouchers:
    """All that is asked of others, with what is remembered of their answers."""

    def __init__(self, answer_bytes_max: int = ANSWER_BYTES_MAX) -> None:
        """``answer_bytes_max``: longer answers are none."""
        self._answer_bytes_max = answer_bytes_max
        self._session: aiohttp.ClientSession | None = None
        self._kept: OrderedDict[tuple[str, str, str], _KeySet] = OrderedDict()
        self._providers: dict[tuple[str, str], tuple[oidc.Provider, float]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self.asked = 0
        self.failed = 0

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def keys_of(self, method: JwtMethod, key_id: str = "") -> tuple[jwt.Key, ...]:
        """The keys of an issuer; ``key_id`` is the one that is wanted. Raises FetchError."""
        if method.keys:
            return method.keys
        name = (method.jwks_url, method.discovery_url, method.authorities_pem)
        kept, now = self._kept.get(name), asyncio.get_running_loop().time()
        if kept is not None:
            fresh = now - kept.at < KEEP_S
            known = not key_id or any(key.id in {"", key_id} for key in kept.keys)
            if (fresh and known) or now - kept.at < PAUSE_S:
                return kept.keys
        keys = await self._read_keys(method)
        self._kept[name] = _KeySet(keys, now)
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return keys

    async def _read_keys(self, method: JwtMethod) -> tuple[jwt.Key, ...]:
        url = method.jwks_url
        if not url:
            found = await self._ask(method.discovery_url + _WELL_KNOWN, method.authorities_pem)
            if not isinstance(found, dict) or found.get("issuer") not in {
                method.discovery_url,
                method.discovery_url + "/",
            }:
                raise FetchError("oidc: issuer did not match the issuer of the provider")
            url = str(found.get("jwks_uri", ""))
            if not url.startswith(("https://", "http://")):
                raise FetchError("oidc: the provider names no key set")
        try:
            return jwt.read_jwks(await self._ask(url, method.authorities_pem))
        except jwt.JwtError as error:
            raise FetchError(str(error)) from None

    async def provider(self, method: JwtMethod) -> oidc.Provider:
        """What an issuer says of itself; kept as long as key sets are. Raises FetchError."""
        name, now = (
            (method.discovery_url, method.authorities_pem),
            asyncio.get_running_loop().time(),
        )
        kept = self._providers.get(name)
        if kept is not None and now - kept[1] < KEEP_S:
            return kept[0]
        found = await self._ask(method.discovery_url + _WELL_KNOWN, method.authorities_pem)
        try:
            provider = oidc.read_provider(found, method.discovery_url)
        except oidc.OidcError as error:
            raise FetchError(str(error)) from None
        if len(self._providers) >= KEPT_MAX:
            self._providers.clear()
        self._providers[name] = (provider, now)
        return provider

    async def exchange(
        self,
        provider: oidc.Provider,
        client: oidc.Client,
        form: Mapping[str, str],
        authorities_pem: str,
    ) -> Mapping[str, Any]:
        """Tokens for a code. Raises FetchError."""
        headers = {}
        if not provider.by_post:
            # Each part is form-encoded before (RFC 6749, 2.3.1).
            pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        found = await self._ask(provider.token_url, authorities_pem, headers, form=form)
        if not isinstance(found, dict):
            raise FetchError("the provider's answer is no object")
        return found

    async def userinfo(
        self, provider: oidc.Provider, access: str, authorities_pem: str
    ) -> Mapping[str, Any]:
        """What the provider says of the one who logged in. Raises FetchError."""
        headers = {"Authorization": f"Bearer {access}"}
        found = await self._ask(provider.userinfo_url, authorities_pem, headers)
        return found if isinstance(found, dict) else {}

    async def review(self, method: KubernetesMethod, token: str) -> Identity:
        """Whom a Kubernetes API says that a token proves. Raises FetchError, ReviewError."""
        body = kubernetes.review(token)
        ours = {"Authorization": f"Bearer {method.own_token}"}
        pem = method.authorities_pem
        answer = await self._ask(method.host + kubernetes.REVIEWS, pem, ours, body)
        namespace, name, uid = kubernetes.reviewed(answer)
        path = kubernetes.account_path(namespace, name)
        try:
            account = await self._ask(method.host + path, pem, ours)
        except FetchError as error:
            raise FetchError(f"annotation lookup failed: {error}") from None
        return kubernetes.identity(namespace, name, uid, account)

    async def _ask(
        self,
        url: str,
        authorities_pem: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Any:
        self.asked += 1
        sent: dict[str, Any] = {} if body is None else {"json": body}
        if form is not None:
            sent = {"data": dict(form)}
        try:
            async with self._places, asyncio.timeout(TIMEOUT_S):
                return await self._answer(url, _trust(authorities_pem), headers or {}, sent)
        except FetchError:
            self.failed += 1
            raise
        except TimeoutError:
            self.failed += 1
            raise FetchError("it did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.failed += 1
            # The words of an error may hold a URL, and that a password; its kind does not.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else ""
            raise FetchError(reason or type(error).__name__) from None

    async def _answer(
        self,
        url: str,
        trust: ssl.SSLContext | bool,
        headers: Mapping[str, str],
        sent: Mapping[str, Any],
    ) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        request = self._session.request(
            "POST" if sent else "GET",
            url,
            headers={"Accept": "application/json", **headers},
            ssl=trust,
            allow_redirects=False,
            **sent,
        )
        async with request as response:
            most = self._answer_bytes_max
            raw = await response.content.read(most + 1)
            while not response.content.at_eof() and len(raw) <= most:
                raw += await response.content.read(most + 1 - len(raw))
            if response.status not in {200, 201}:
                raise FetchError(f"unexpected status {response.status}")
            if len(raw) > most:
                raise FetchError(f"the answer is longer than {most} bytes")
            try:
                return json.loads(raw)
            except (ValueError, RecursionError):
                raise FetchError("the answer is no JSON") from None


def _trust(authorities_pem: str) -> ssl.SSLContext | bool:
    """Those authorities alone, or the system's."""
    if not authorities_pem:
        return True
    context = ssl.create_default_context(cadata=authorities_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
