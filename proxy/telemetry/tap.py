"""A look at requests as they pass, without their secrets. Pure.

A tap shows what an access log shows, but no value of a query and nothing that looks like a secret:
who looks on is on this host, and is not the one whom the request is for.
"""

from __future__ import annotations

import json
import re

from proxy.telemetry.access_log import shown
from proxy.telemetry.entry import Entry

_LONG = re.compile(r"[A-Za-z0-9_\-.~+=%]{33,}")
REDACTED = "<redacted>"


def line(entry: Entry) -> str:
    """One entry for whoever looks on."""
    fields = shown(entry)
    fields["path"] = redacted(str(fields["path"]))
    return json.dumps(fields, separators=(",", ":"))


def redacted(target: str) -> str:
    """A target without the values of its query, and without segments long enough for a secret."""
    path, mark, query = target.partition("?")
    path = "/".join(REDACTED if _LONG.fullmatch(part) else part for part in path.split("/"))
    if not mark:
        return path
    names = [piece.partition("=")[0] for piece in query.split("&")]
    return path + "?" + "&".join(f"{_LONG.sub(REDACTED, name)}={REDACTED}" for name in names)
