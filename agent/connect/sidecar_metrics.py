"""Asks the sidecars of this host for what they tell of their traffic: loopback, bounded, short."""

from __future__ import annotations

import aiohttp

ANSWER_MAX_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 5.0


async def asked(port: int, path: str) -> str | None:
    """The text at a path of a sidecar's admin listener; None when it does not answer."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    url = f"http://127.0.0.1:{port}{path}"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                return None
            raw = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                raw += piece
                if len(raw) > ANSWER_MAX_BYTES:
                    return None
            return raw.decode("utf-8", "replace")
    except (TimeoutError, aiohttp.ClientError, OSError):
        return None
