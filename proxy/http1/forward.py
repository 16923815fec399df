"""What a proxy changes in a head that it passes on (RFC 9110, section 7.6; contract D.5, 12; D.6).

Pure: heads in, bytes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.errors import HttpViolation
from proxy.http1.body import Framing
from proxy.http1.head import Headers, Request, Response, joined

#: About one hop only.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: What a Connection header may not take away: the next hop must see it.
_NOT_DROPPED = frozenset(
    {"host", "content-length", "authorization", "traceparent", "tracestate", "b3"}
)
_NEVER_DROPPED = ("x-lictor-", "x-b3-")
_VARIABLE = re.compile(r"%(REQ\(([A-Za-z0-9-]+)\)|DOWNSTREAM_REMOTE_ADDRESS|SERVICE)%")
_NEVER_CHANGED = frozenset({"content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Changes of a route or a split leg, carried out in this order: remove, set, add."""

    remove: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)
    add: Mapping[str, str] = field(default_factory=dict)


NO_CHANGES = HeaderChanges()


@dataclass(frozen=True, slots=True)
class About:
    """Facts that values of headers may name."""

    remote_address: str = ""
    service: str = ""


def dropped(headers: Headers) -> frozenset[str]:
    """The headers that end here: hop-by-hop ones and those that Connection names."""
    words = joined(headers, "connection")
    if not words:
        return HOP_BY_HOP
    named = {word.strip(" \t").lower() for word in words.split(",")}
    named.discard("")
    if named & _NOT_DROPPED or any(name.startswith(_NEVER_DROPPED) for name in named):
        raise HttpViolation(400, "Connection names a header that must be kept")
    return HOP_BY_HOP | named


def passed_on(headers: Headers) -> list[tuple[str, str]]:
    """Headers without those that end here. ``TE: trailers`` stays."""
    drop = dropped(headers)
    kept = [(name, value) for name, value in headers if name.lower() not in drop]
    if len(kept) < len(headers) and (joined(headers, "te") or "").strip().lower() == "trailers":
        kept.append(("TE", "trailers"))
    return kept


def onward(
    head: Request | Response, without: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """What ``passed_on`` gives for its headers, without some more; most heads have nothing that
    ends here."""
    names = head.by_name.keys()
    kept = list(head.headers) if names.isdisjoint(HOP_BY_HOP) else passed_on(head.headers)
    if names.isdisjoint(without):
        return kept
    return [(name, value) for name, value in kept if name.lower() not in without]


def changed(
    headers: Sequence[tuple[str, str]], changes: HeaderChanges, request: Request, about: About
) -> list[tuple[str, str]]:
    """Headers after a route's changes; none touches the framing."""
    removed = {name.lower() for name in changes.remove} - _NEVER_CHANGED - {"host"}
    removed |= {name.lower() for name in changes.set} - _NEVER_CHANGED
    made = [(name, value) for name, value in headers if name.lower() not in removed]
    for name, value in (*changes.set.items(), *changes.add.items()):
        if name.lower() not in _NEVER_CHANGED:
            made.append((name, _filled(value, request, about)))
    return made


def _filled(value: str, request: Request, about: About) -> str:
    def fact(found: re.Match[str]) -> str:
        if found[2]:
            return request.get(found[2]) or ""
        return about.service if found[1] == "SERVICE" else about.remote_address

    return _VARIABLE.sub(fact, value)


def request_bytes(
    method: str, target: str, headers: Sequence[tuple[str, str]], framing: Framing
) -> bytes:
    """A request's head for the next hop. ``headers`` may hold a Content-Length; the framing is
    what counts."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += _framed(headers, framing)
    expected = method not in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")
    if framing.length or (expected and not framing.chunked):
        lines.append(f"Content-Length: {framing.length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def response_bytes(
    head: Response,
    headers: Sequence[tuple[str, str]],
    framing: Framing,
    *,
    close: bool,
    chunks: bool = True,
) -> bytes:
    """A response's head for whoever asked. A body of unknown length is chunked; where the client
    knows no chunks (HTTP/1.0), the end of the connection is its end."""
    lines = [f"HTTP/1.1 {head.status} {head.reason}"]
    unsized = framing.chunked or framing.until_close
    lines += _framed(headers, Framing(chunked=unsized and chunks))
    bodied = head.status >= 200 and head.status not in (204, 304)
    if bodied and not unsized:
        # The answer to HEAD tells the length of a body that it has not.
        told = (joined(headers, "content-length") or "0").partition(",")[0]
        lines.append(f"Content-Length: {framing.length or told}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _framed(headers: Sequence[tuple[str, str]], framing: Framing) -> list[str]:
    lines = [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    if framing.chunked:
        lines.append("Transfer-Encoding: chunked")
    return lines
