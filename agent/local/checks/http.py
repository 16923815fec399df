"""The HTTP check: one request, judged by its status code (agent contract 1.1)."""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.request
from urllib.parse import urlsplit

import aiohttp
import yarl

from agent.definitions import CheckDefinition
from agent.local.checks.contexts import Contexts
from agent.local.checks.dial import dial_error, join_host_port, lookup_error
from agent.local.checks.output import Tail
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING, WARNING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 10.0
#: Go's client follows this many redirects.
REDIRECTS_MAX = 10
#: Servers key on this text.
USER_AGENT = "Consul Health Check"
ACCEPT = "text/plain, text/*, */*"


class HttpProber:
    """Sends the requests of all HTTP checks; no connection outlives its request."""

    __slots__ = ("_contexts", "_session")

    def __init__(self, contexts: Contexts) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._contexts = contexts

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def probe(self, check: CheckDefinition, output_max: int) -> ProbeResult:
        """Send the request and judge the answer; ``output_max`` bytes of the body are kept."""
        method = check.method.upper() or "GET"
        body = Tail(output_max)
        try:
            context = await self._contexts.of(check) if check.http.startswith("https:") else True
            async with (
                asyncio.timeout(check.timeout_s or TIMEOUT_DEFAULT_S),
                self._session_now().request(
                    method,
                    yarl.URL(check.http),
                    headers=_headers(check),
                    data=check.body.encode() or None,
                    allow_redirects=not check.disable_redirects,
                    max_redirects=REDIRECTS_MAX,
                    ssl=context,
                    server_hostname=check.tls_server_name or None,
                    proxy=_proxy(check.http),
                ) as response,
            ):
                async for chunk in response.content.iter_any():
                    body.write(chunk)
                status = f"{response.status} {response.reason or ''}".strip()
                code = response.status
        except TimeoutError:
            wording = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return ProbeResult(CRITICAL, _failed(method, check.http, wording), timed_out=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return ProbeResult(CRITICAL, _failed(method, check.http, _reason(error)))
        output = f"HTTP {method} {check.http}: {status} Output: {body.text()}"
        if 200 <= code <= 299:
            return ProbeResult(PASSING, output)
        return ProbeResult(WARNING if code == 429 else CRITICAL, output)

    def _session_now(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


def _headers(check: CheckDefinition) -> list[tuple[str, str]]:
    given = [(name, value) for name, values in (check.header or {}).items() for value in values]
    names = {name.lower() for name, _ in given}
    defaults = [("User-Agent", USER_AGENT), ("Accept", ACCEPT)]
    return [pair for pair in defaults if pair[0].lower() not in names] + given


def _proxy(url: str) -> str | None:
    """The proxy of the environment; loopback never goes through one, as in Go."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or _is_loopback(host):
        return None
    proxies = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass_environment(host, proxies):  # type: ignore[attr-defined]
        return None
    return proxies.get(parts.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _failed(method: str, url: str, reason: str) -> str:
    return f'{method.capitalize()} "{url}": {reason}'


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.TooManyRedirects):
        return f"stopped after {REDIRECTS_MAX} redirects"
    if isinstance(error, aiohttp.InvalidURL):
        return "unsupported protocol scheme"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return lookup_error(error.host)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"x509: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return dial_error(join_host_port(error.host, error.port or 0), error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__
