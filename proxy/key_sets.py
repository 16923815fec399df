"""Key sets of the providers whose tokens intentions ask for: held, fetched, renewed.

Decides nothing about a token (``jwt`` does). A key set that cannot be renewed stays in use for
``STALE_MAX_S``; one that never came lets nobody in. A token with an unknown key makes the set be
read anew, but not more often than every ``PAUSE_S``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.http_client import AnswerTooLong, HttpClient, read_target
from proxy.jwt import FAILS, Checked, Jose, Provider, TokenError, Tokens, check

log = logging.getLogger("lictor.proxy.key_sets")

ANSWER_MAX_BYTES = 1024 * 1024
STALE_MAX_S = 3600.0
PAUSE_S = 10.0
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


@dataclass(slots=True)
class _Held:
    provider: Provider
    keys: Any = None
    at: float = 0.0
    asked_at: float = float("-inf")
    error: str = ""
    reading: asyncio.Task[None] | None = None
    good: OrderedDict[str, Mapping[str, Any]] = field(default_factory=OrderedDict)


class KeySets:
    """The key sets of one proxy. ``jose`` None: nobody can check a signature here."""

    def __init__(
        self,
        jose: Jose | None,
        *,
        spawn: Spawn,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._jose = jose
        self._spawn = spawn
        self._now = now
        self._wall = wall
        self._held: dict[str, _Held] = {}
        #: Headers that tell the application what a token says; nobody else may set them.
        self.own_headers: frozenset[str] = frozenset()

    def update(self, providers: Mapping[str, Provider]) -> None:
        """These are the providers now; what is known of unchanged ones stays."""
        for name, provider in providers.items():
            held = self._held.get(name)
            if held is None or held.provider != provider:
                self._held[name] = held = _Held(provider)
                self._begin(held)
        for name in set(self._held) - set(providers):
            del self._held[name]
        headers = (each.forward_header for each in providers.values())
        self.own_headers = frozenset(each for each in headers if each)

    def _begin(self, held: _Held) -> None:
        if self._jose is None:
            held.error = "tokens cannot be verified here"
        elif held.provider.jwks:
            self._take(held, held.provider.jwks)
        else:
            self._read(held)

    async def ready(self, names: Iterable[str]) -> None:
        """Wait for key sets that are read for the first time, and have old ones renewed."""
        for name in names:
            held = self._held.get(name)
            if held is None or held.provider.jwks or self._jose is None:
                continue
            age_s = self._now() - held.at
            keep_s = held.provider.remote.keep_s if held.provider.remote else STALE_MAX_S
            if held.keys is None or age_s > keep_s:
                self._read(held)
            if held.keys is not None and age_s > STALE_MAX_S + keep_s:
                held.keys = None
            if held.keys is None:
                await self._wait(held)

    async def renewed(self, checked: Checked) -> bool:
        """Read a set anew for the key that a token names; whether that was done."""
        held = self._held.get(checked.provider.name) if checked.provider else None
        if held is None or held.provider.jwks or self._now() - held.asked_at < PAUSE_S:
            return False
        self._read(held)
        await self._wait(held)
        return True

    async def _wait(self, held: _Held) -> None:
        if held.reading is not None:
            await asyncio.wait({held.reading})

    def tokens(self, headers: Mapping[str, str], target: str) -> Tokens:
        """What the tokens of one request are, each looked at once."""
        seen: dict[str, Checked] = {}

        def look(name: str) -> Checked:
            if name not in seen:
                seen[name] = self._check(name, headers, target)
            return seen[name]

        return look

    def _check(self, name: str, headers: Mapping[str, str], target: str) -> Checked:
        held = self._held.get(name)
        if held is None or self._jose is None:
            reason = held.error if held else f"there is no jwt-provider {name}"
            return Checked(text=FAILS, reason=reason)
        cached = _Cached(self._jose, held)
        return check(
            held.provider,
            headers=headers,
            target=target,
            keys=held.keys,
            jose=cached,
            now=self._wall(),
        )

    def _take(self, held: _Held, raw: bytes) -> None:
        assert self._jose is not None
        try:
            keys = self._jose.keys(raw)
        except TokenError as error:
            held.error = str(error)
            log.warning("key set refused provider=%s error=%s", held.provider.name, error)
            return
        held.keys, held.at, held.error = keys, self._now(), ""
        held.good.clear()

    def _read(self, held: _Held) -> None:
        if held.reading is None and self._now() - held.asked_at > 1.0:
            held.asked_at = self._now()
            held.reading = self._spawn(self._reading(held), "proxy key set")
            held.reading.add_done_callback(lambda _: setattr(held, "reading", None))

    async def _reading(self, held: _Held) -> None:
        provider = held.provider
        tries = 1 + (provider.remote.retries if provider.remote else 0)
        for _ in range(tries):
            try:
                if provider.remote is None:
                    loop = asyncio.get_running_loop()
                    raw = await loop.run_in_executor(None, _file, provider.filename)
                else:
                    raw = await _fetched(provider)
            except (OSError, TimeoutError, ValueError) as error:
                held.error = f"{type(error).__name__}: {error}"
                continue
            self._take(held, raw)
            return
        log.warning("key set not there provider=%s error=%s", provider.name, held.error)

    def explain(self) -> dict[str, Any]:
        """For people."""
        return {
            name: {
                "keys": held.keys is not None,
                "age_s": round(self._now() - held.at, 1) if held.keys is not None else None,
                "error": held.error,
                "remembered": len(held.good),
            }
            for name, held in self._held.items()
        }


class _Cached:
    """Signatures that were checked before are not checked again; times and claims always are."""

    def __init__(self, jose: Jose, held: _Held) -> None:
        self._jose = jose
        self._held = held

    def keys(self, jwks: bytes) -> Any:
        return self._jose.keys(jwks)

    def claims(self, token: str, keys: Any) -> Mapping[str, Any]:
        good, most = self._held.good, self._held.provider.cache_size
        known = good.get(token)
        if known is not None:
            good.move_to_end(token)
            return known
        claims = self._jose.claims(token, keys)
        if most:
            good[token] = claims
            if len(good) > most:
                good.popitem(last=False)
        return claims


def _file(name: str) -> bytes:
    with Path(name).open("rb") as file:
        raw = file.read(ANSWER_MAX_BYTES + 1)
    if len(raw) > ANSWER_MAX_BYTES:
        raise ValueError("the file is too long for a key set")
    return raw


async def _fetched(provider: Provider) -> bytes:
    remote = provider.remote
    assert remote is not None
    context: ssl.SSLContext | None = None
    if remote.authorities_pem:
        context = ssl.create_default_context(cadata=remote.authorities_pem)
    base, path = _divided(remote.uri)
    async with HttpClient(
        read_target(base),
        total_timeout_s=remote.timeout_s,
        connect_timeout_s=remote.timeout_s,
        body_max_bytes=ANSWER_MAX_BYTES,
        tls=context,
    ) as client:
        try:
            answer = await client.get(path)
        except AnswerTooLong as error:
            raise ValueError("the answer is too long for a key set") from error
    if answer.status != 200:  # where it leads elsewhere is not followed
        raise ValueError(f"status {answer.status}")
    return answer.body


def _divided(uri: str) -> tuple[str, str]:
    """Where to ask, and for what there. Raises ValueError."""
    parts = urlsplit(uri)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", path
