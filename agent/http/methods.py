"""A request with a method that the parser has never heard of: who asks is told which there are.

HTTP lets any token be a method (RFC 9110, section 9.1), and the reference answers 405 to all that a
path does not have. aiohttp's parser knows a list and gives up at anything else, which would be a
400 that says nothing. So the line of such a request is read once more, here.

Pure: no sockets here.
"""

from __future__ import annotations

import re

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ([!-~]{1,8192}) HTTP/1\.[01]\r\n")
#: With one of these the parser can have stumbled over something else only.
_USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})


def unknown_method(data: bytes) -> tuple[str, str] | None:
    """Method and target of the request that begins here; None if it is no request or usual."""
    line = _LINE.match(data)
    if line is None:
        return None
    method, target = (part.decode("ascii") for part in line.groups())
    return None if method in _USUAL else (method, target)
