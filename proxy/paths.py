"""The one form of a request's path that is decided about and forwarded (mesh contract B.5).

Decides which paths have more than one reading, and refuses those: an intention must never see
another path than the application does. Pure.
"""

from __future__ import annotations

import re

from proxy.errors import AmbiguousPath

PATH_MAX = 8192
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Characters that some servers take for a separator, or for the end, once they are decoded.
_HIDDEN = frozenset("/\\\0")
_ESCAPE = re.compile(r"%(..?)?", re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_SLASHES = re.compile(r"/{2,}")
#: Paths that are in their one form: most are.
_IN_FORM = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")


def canonical(target: str, *, merge_slashes: bool = True) -> str:
    """The path of a request target without its query, in its one form.

    Escapes of unreserved characters are undone, other escapes have upper-case digits; `\\` is `/`;
    dot segments are resolved and never lead above the root. ``*`` stays. Raises AmbiguousPath.
    """
    path = target.partition("?")[0]
    if len(path) > PATH_MAX:
        raise AmbiguousPath(f"the path is longer than {PATH_MAX} characters")
    if path and _IN_FORM.fullmatch(path):
        return path
    if path == "*":
        return path
    if "#" in path or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in path):
        raise AmbiguousPath("the path has characters that no path has")
    path = _ESCAPE.sub(_unescaped, path).replace("\\", "/")
    if not path.startswith("/"):
        raise AmbiguousPath("the path does not begin with '/'")
    if merge_slashes:
        path = _SLASHES.sub("/", path)
    return _without_dots(path)


def _unescaped(match: re.Match[str]) -> str:
    digits = match.group(1) or ""
    if not _HEX.fullmatch(digits):
        raise AmbiguousPath("the path has an escape that is none")
    char = chr(int(digits, 16))
    if char in _HIDDEN:
        raise AmbiguousPath(f"the path hides a separator as %{digits}")
    return char if char in _UNRESERVED else f"%{digits.upper()}"


def _without_dots(path: str) -> str:
    kept: list[str] = []
    if ";" in path and any(
        part.partition(";")[0] in (".", "..") for part in path.split("/") if ";" in part
    ):
        raise AmbiguousPath("a dot segment has parameters, which some servers take away first")
    *segments, last = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if last == "..":
        if kept:
            kept.pop()
        last = ""
    elif last == ".":
        last = ""
    return "/" + "/".join([*kept, last])
