"""What a request target must look like before it is routed (http-api contract 1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from raftstore.thawed import maker_of

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: A path that is what it says: no query, nothing escaped, no segment that is empty or of dots.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)+/?")
_UNCLEAN = re.compile(r"//|/\.\.?(?:/|$)")


class BadTarget(ValueError):
    """The request target cannot be read, or holds what cannot be printed: 400, empty body."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request target: the decoded path, the raw query, and where to go instead, if anywhere."""

    path: str
    query: str
    redirect: str = ""


_make = maker_of(Target)


def plain_path(target: bytes) -> str | None:
    """The path of a target that is a plain path and nothing else; None for any other."""
    return target.decode("ascii") if _PLAIN.fullmatch(target) else None


def read_target(raw: str, *, any_char: bool = False) -> Target:
    """Split and decode a request target; ``any_char`` takes what cannot be printed.

    Raises BadTarget.
    """
    path, _, query = raw.partition("?")
    if not path.startswith("/"):
        path = _origin_form(path)
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise BadTarget
        try:
            path = unquote_to_bytes(path).decode("utf-8")
        except UnicodeDecodeError:
            raise BadTarget from None
    if not path.isprintable() and not any_char:
        raise BadTarget
    if _UNCLEAN.search(path):
        location = quote(clean(path), safe="/!$&'()*+,;=:@~")
        return Target(path, query, f"{location}?{query}" if query else location)
    return _make(path, query, "")


def _origin_form(target: str) -> str:
    """The path of an absolute-form target (RFC 9112, section 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        raise BadTarget
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def clean(path: str) -> str:
    """The path without empty, "." and ".." segments; a trailing slash stays."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in {"", "."}:
            kept.append(segment)
    slash = "/" if segments[-1] in {"", "."} and kept else ""
    return "/" + "/".join(kept) + slash
