"""`proxy`: a look at what a sidecar of this host does."""

from __future__ import annotations

import http.client
import json
from typing import Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_SHOWN = ("ts", "dir", "method", "host", "path", "code", "grpc", "flags", "dur_ms", "rule", "ref")


def _tap(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) != 1:
        return call.fail("Error: one proxy must be named, by the id of its registration")
    try:
        feeds = expect(call.client().get("/v1/agent/connect/feeds")).json()
    except ClientError as error:
        return call.fail(f"Error asking the agent for its proxies: {error}")
    name = call.args[0]
    known = feeds.get(name) or feeds.get(f"{name}-sidecar-proxy")
    if known is None:
        return call.fail(f"Error: this agent knows no proxy {name}; it has: {', '.join(feeds)}")
    port = int(known.get("AdminPort") or 0)
    if not port:
        return call.fail(f"Error: the proxy {name} has no admin listener")
    path = f"/tap?count={call.flags['count']}&seconds={call.flags['seconds']}"
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=float(call.flags["seconds"]) + 10
    )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != 200:
            return call.fail(f"Error: {response.read(300).decode('utf-8', 'replace')}")
        while line := response.readline(1 << 20):
            call.say(_shown(line, as_json=bool(call.flags["json"])))
            call.out.flush()
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        return call.fail(f"Error asking the proxy: {error}")
    finally:
        connection.close()
    return 0


def _shown(line: bytes, *, as_json: bool) -> str:
    text = line.decode("utf-8", "replace").rstrip("\n")
    if as_json:
        return text
    entry: dict[str, Any] = json.loads(text)
    if "missed" in entry:
        return f"({entry['missed']} more were too many to show)"
    return "  ".join(str(entry[key]) for key in _SHOWN if entry.get(key) not in ("", None))


COMMANDS = {
    ("proxy", "tap"): Command(
        usage="proxy tap [options] PROXY-ID",
        help="Shows requests as they pass a sidecar of this host, one line each when it is over:"
        "\nwho, what, the answer, the rule that decided. Values of queries and whatever looks like"
        "\na secret are left out. Ends by itself after -count requests or -seconds.",
        run=_tap,
        flags=(
            Flag("count", "How many requests are shown at most.", Kind.INT, default=1000),
            Flag("json", "Show all that is known, as JSON lines.", Kind.BOOL),
            Flag("seconds", "How long to look on.", Kind.INT, default=60),
        ),
    ),
}
