"""Headers of HTTP/2 and the heads that the rest of the proxy knows (RFC 9113, section 8; D.5, 13).

Pure. What has two readings is refused: whoever decides about a request must see the one that the
application sees. A request's authority stands first among its headers as ``host``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from proxy.errors import HttpViolation
from proxy.http1 import head
from proxy.http1.body import LENGTH_MAX, Framing
from proxy.http1.head import Headers, Request, Response

Fields = Sequence[tuple[str, str]]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(r"[1-9][0-9]{2}")
_LENGTH = re.compile(r"[0-9]{1,19}")
_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
_REQUEST = frozenset({":method", ":scheme", ":authority", ":path", ":protocol"})


def read_request(fields: Fields) -> Request:
    """A request's head. Raises HttpViolation, whose status is for logs: the stream is reset.

    An extended CONNECT (RFC 8441) looks as the same wish does in HTTP/1.1, a GET that wants to
    switch, so that rules about it are the same.
    """
    pseudo, headers = _split(fields, _REQUEST)
    method, path = pseudo.get(":method", ""), pseudo.get(":path", "")
    if not _METHOD.fullmatch(method):
        raise HttpViolation(400, "bad method")
    protocol = pseudo.get(":protocol")
    if method == "CONNECT" and protocol is None:
        raise HttpViolation(405, "CONNECT is not offered")
    if protocol is not None:
        method, headers = _switching(method, protocol, pseudo, headers)
    if pseudo.get(":scheme") not in ("http", "https"):
        raise HttpViolation(400, "bad scheme")
    if not path.startswith("/") and not (path == "*" and method == "OPTIONS"):
        raise HttpViolation(400, "bad path")
    authority = pseudo.get(":authority")
    hosts = [value for name, value in headers if name == "host"]
    if authority is not None:
        if not authority:
            raise HttpViolation(400, "empty authority")
        if any(host.lower() != authority.lower() for host in hosts):
            raise HttpViolation(400, "authority and host differ")
        headers = [(name, value) for name, value in headers if name != "host"]
        headers.insert(0, ("host", authority))
    made = tuple(_one_cookie(headers))
    target = head.origin_form(method, path, made, 1)
    return Request(method, target, 1, made)


def _switching(
    method: str, protocol: str, pseudo: Mapping[str, str], headers: list[tuple[str, str]]
) -> tuple[str, list[tuple[str, str]]]:
    if method != "CONNECT" or not _METHOD.fullmatch(protocol) or ":authority" not in pseudo:
        raise HttpViolation(400, "bad protocol of an extended CONNECT")
    if any(name == "content-length" for name, _ in headers):
        raise HttpViolation(400, "bad Content-Length")
    return "GET", [*headers, ("connection", "upgrade"), ("upgrade", protocol)]


def read_response(fields: Fields) -> Response:
    """A response's head. Raises HttpViolation 502."""
    try:
        pseudo, headers = _split(fields, frozenset({":status"}))
    except HttpViolation as error:
        raise HttpViolation(502, str(error)) from error
    status = pseudo.get(":status", "")
    if not _STATUS.fullmatch(status):
        raise HttpViolation(502, "bad status")
    return Response(int(status), "", 1, tuple(headers))


def read_trailers(fields: Fields) -> Headers:
    """Trailers, which may have nothing that is for a head. Raises HttpViolation."""
    _, headers = _split(fields, frozenset())
    return tuple(headers)


def framing(headers: Headers, *, ended: bool, bodied: bool = False) -> Framing:
    """How a body is told: ``ended`` when there is none; ``bodied`` when a length must then be 0, as
    that of a request. Raises HttpViolation."""
    values = {value.strip() for name, value in headers if name == "content-length"}
    if len(values) > 1:
        raise HttpViolation(400, "different Content-Lengths")
    length = -1
    for value in values:
        if not _LENGTH.fullmatch(value) or int(value) > LENGTH_MAX:
            raise HttpViolation(400, "bad Content-Length")
        length = int(value)
    if ended and bodied and length > 0:
        raise HttpViolation(400, "a Content-Length without a body")
    if ended:
        return Framing()
    return Framing(length=length) if length > 0 else Framing(chunked=True)


def _split(fields: Fields, known: frozenset[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    pseudo: dict[str, str] = {}
    headers: list[tuple[str, str]] = []
    if len(fields) > head.HEADERS_MAX + len(_REQUEST):
        raise HttpViolation(431, "too many headers")
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise HttpViolation(400, "bad header value")
        if name.startswith(":"):
            if headers or name in pseudo or name not in known:
                raise HttpViolation(400, "bad pseudo-header")
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name):
            raise HttpViolation(400, "bad header name")
        if name in _CONNECTION or (name == "te" and value.lower() != "trailers"):
            raise HttpViolation(400, "a header of one connection")
        headers.append((name, value))
    if len(headers) > head.HEADERS_MAX:
        raise HttpViolation(431, "too many headers")
    return pseudo, headers


def _one_cookie(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Crumbs of a cookie as the one header that they are (RFC 9113, section 8.2.3)."""
    crumbs = [value for name, value in headers if name == "cookie"]
    if len(crumbs) < 2:
        return headers
    kept = [(name, value) for name, value in headers if name != "cookie"]
    return [*kept, ("cookie", "; ".join(crumbs))]


def request_fields(
    method: str, target: str, headers: Iterable[tuple[str, str]], *, scheme: str, upgrade: str = ""
) -> list[tuple[str, str]]:
    """What is sent for a request; its Host is the authority. One that wants to switch to
    ``upgrade`` is an extended CONNECT."""
    made = [(":method", "CONNECT" if upgrade else method), (":scheme", scheme), (":path", target)]
    if upgrade:
        made.append((":protocol", upgrade))
    rest = [(name.lower(), value) for name, value in headers]
    host = next((value for name, value in rest if name == "host"), None)
    if host is not None:
        made.insert(2, (":authority", host))
    return made + [each for each in rest if each[0] != "host" and each[0] not in _CONNECTION]


def response_fields(status: int, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is sent for a response."""
    rest = [(name.lower(), value) for name, value in headers]
    return [(":status", str(status))] + [each for each in rest if each[0] not in _CONNECTION]
