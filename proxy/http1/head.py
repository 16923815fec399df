"""Heads of requests and responses, strictly parsed (RFC 9112, sections 2 to 5; contract D.5).

Pure. Names of headers keep their spelling; ``get`` finds them in any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from proxy.errors import HttpViolation

REQUEST_LINE_MAX = 8192
HEAD_MAX = 61_440
HEADERS_MAX = 100
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])")
_TARGET = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]+)?(?::[0-9]{0,5})?")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")

Headers = tuple[tuple[str, str], ...]


class Request:
    """A request's head. ``minor`` is the version's second digit.

    Nobody changes one. It is no frozen dataclass because three are made for each request: those
    set each field by a call.
    """

    __slots__ = ("by_name", "headers", "method", "minor", "target")

    def __init__(
        self,
        method: str,
        target: str,
        minor: int,
        headers: Headers,
        by_name: Mapping[str, str] | None = None,
    ) -> None:
        """``by_name`` is what ``headers`` are by name, where that is known already."""
        self.method = method
        self.target = target
        self.minor = minor
        self.headers = headers
        #: By name in lower case, several lines joined by commas: a request is asked for some
        #: twenty headers on its way.
        self.by_name: Mapping[str, str] = _by_name(headers) if by_name is None else by_name

    def get(self, name: str) -> str | None:
        """The value of a header, several lines joined by commas; None when there is none."""
        return self.by_name.get(name.lower())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and (
            self.method == other.method
            and self.target == other.target
            and self.minor == other.minor
            and self.headers == other.headers
        )

    def __hash__(self) -> int:
        return hash((self.method, self.target, self.minor, self.headers))

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {self.target!r}, {self.minor!r}, {self.headers!r})"


def extended(request: Request, added: Headers) -> Request:
    """The same with headers after the others, whose names in lower case are not there yet. What
    is known of the others is not found out again: every request gets some on its way."""
    return Request(
        request.method,
        request.target,
        request.minor,
        (*request.headers, *added),
        {**request.by_name, **dict(added)},
    )


class Response:
    """A response's head. No frozen dataclass, as a request's is none."""

    __slots__ = ("by_name", "headers", "minor", "reason", "status")

    def __init__(self, status: int, reason: str, minor: int, headers: Headers) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.headers = headers
        self.by_name: Mapping[str, str] = _by_name(headers)

    def get(self, name: str) -> str | None:
        """As a request's."""
        return self.by_name.get(name.lower())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Response) and (
            self.status == other.status
            and self.reason == other.reason
            and self.minor == other.minor
            and self.headers == other.headers
        )

    def __hash__(self) -> int:
        return hash((self.status, self.reason, self.minor, self.headers))

    def __repr__(self) -> str:
        return f"Response({self.status!r}, {self.reason!r}, {self.minor!r}, {self.headers!r})"


def _by_name(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def joined(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """All values of a header, joined by commas; None when it is not there."""
    name, size = name.lower(), len(name)
    values = [value for each, value in headers if len(each) == size and each.lower() == name]
    return ", ".join(values) if values else None


def end_of_head(buffer: bytes | bytearray) -> int:
    """Where the head ends, its empty line included; -1 while it is not complete.

    Raises HttpViolation when it is longer than it may be.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        line = buffer.find(b"\r\n")
        if (line if line >= 0 else len(buffer)) > REQUEST_LINE_MAX:
            raise HttpViolation(414, "request line too long")
        if len(buffer) > HEAD_MAX:
            raise HttpViolation(431, "headers too long")
        return -1
    if end > HEAD_MAX:
        raise HttpViolation(431, "headers too long")
    return end + 4


def read_request(raw: bytes) -> Request:
    """A whole head, its empty line included. Raises HttpViolation."""
    first, lines = _lines(raw)
    if len(first) > REQUEST_LINE_MAX:
        raise HttpViolation(414, "request line too long")
    parts = first.split(" ")
    if len(parts) != 3:
        raise HttpViolation(400, "bad request line")
    method, target, version = parts
    if not _TOKEN.fullmatch(method):
        raise HttpViolation(400, "bad method")
    numbers = _VERSION.fullmatch(version)
    if numbers is None:
        raise HttpViolation(400, "bad version")
    if numbers[1] != "1" or numbers[2] not in "01":
        raise HttpViolation(505, "version not supported")
    headers = _headers(lines)
    minor = int(numbers[2])
    return Request(method, origin_form(method, target, headers, minor), minor, headers)


def read_response(raw: bytes) -> Response:
    """A whole head, its empty line included. Raises HttpViolation."""
    first, lines = _lines(raw)
    found = _STATUS.fullmatch(first)
    if found is None:
        raise HttpViolation(502, "bad status line")
    return Response(int(found[2]), found[3] or "", int(found[1]), _headers(lines))


def _lines(raw: bytes) -> tuple[str, list[str]]:
    if b"\0" in raw:
        raise HttpViolation(400, "NUL in the head")
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    return first, lines


def _headers(lines: list[str]) -> Headers:
    if len(lines) > HEADERS_MAX:
        raise HttpViolation(431, "too many headers")
    return tuple([_seen(line) if len(line) <= _SEEN_LINE_MAX else _header(line) for line in lines])


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    # No space before the colon, no folded line: both are read in two ways (rule 5).
    if not colon or not _TOKEN.fullmatch(name):
        raise HttpViolation(400, "bad header name")
    if not _VALUE.fullmatch(value):
        raise HttpViolation(400, "bad header value")
    return name, value.strip(" \t")


#: Most lines of headers come again and again. What they say depends on nothing else.
_SEEN_LINE_MAX = 128
_seen = lru_cache(maxsize=4096)(_header)


def origin_form(method: str, target: str, headers: Headers, minor: int) -> str:
    """The target in origin form. One Host, and no other one in the target (rule 7)."""
    hosts = [value for name, value in headers if name.lower() == "host"]
    if len(hosts) > 1 or (not hosts and minor >= 1):
        raise HttpViolation(400, "one Host header is wanted")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise HttpViolation(400, "bad Host")
    if not _TARGET.fullmatch(target) or "#" in target:
        raise HttpViolation(400, "bad target")
    if target.startswith("/"):
        return target
    if method == "CONNECT":
        raise HttpViolation(405, "CONNECT is not offered")
    if target == "*" and method == "OPTIONS":
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise HttpViolation(400, "bad target")
    authority, slash, path = rest.partition("/")
    if "?" in authority or (hosts and authority.lower() != hosts[0].lower()):
        raise HttpViolation(400, "target and Host differ")
    return slash + path if slash else "/"
