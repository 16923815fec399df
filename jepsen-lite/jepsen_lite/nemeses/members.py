"""Servers leave for good and new ones take their place; leadership is handed over.

Replacing servers faster than the cluster takes the new ones in costs the majority, with any engine.
So each replacement waits until the cluster is whole, as an operator would.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import time
from typing import Any

from jepsen_lite.cluster import Cluster, Node
from jepsen_lite.nemeses.nemesis import Nemesis
from jepsen_lite.nemeses.processes import running

_TIMEOUT_S = 10.0
_LEAVE_WAIT_S = 10.0
#: A new server has to be stable for a while (10 s by default) before it may vote.
_WHOLE_WAIT_S = 40.0


def _why_not(cluster: Cluster) -> str:
    return "" if "http" in cluster.target.ports else f"not for {cluster.target.name}"


def _ask(node: Node, method: str, path: str) -> str:
    """Ask an agent for something; returns its status or the error, for the record."""
    connection = http.client.HTTPConnection(
        node.place.address, node.place.ports["http"], timeout=_TIMEOUT_S
    )
    try:
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    else:
        return str(response.status)
    finally:
        connection.close()


def whole(cluster: Cluster) -> bool:
    """Whether every server runs and has a vote, by the word of one of them."""
    alive = running(cluster)
    if len(alive) < len(cluster.nodes):
        return False
    if "http" not in cluster.target.ports:
        return True
    health = _asked(alive[0], "/v1/operator/autopilot/health")
    servers = health.get("Servers") or []
    voters = [server for server in servers if server["Voter"] and server["Healthy"]]
    return bool(health.get("Healthy")) and len(voters) == len(servers) == len(cluster.nodes)


def make_whole(cluster: Cluster) -> str:
    """Start what does not run, and wait until every server has a vote."""
    cluster.heal()
    deadline = time.monotonic() + _WHOLE_WAIT_S
    while time.monotonic() < deadline:
        if whole(cluster):
            return "all nodes run and vote"
        time.sleep(0.2)
    return f"not all nodes vote after {_WHOLE_WAIT_S:g} s"


def _asked(node: Node, path: str) -> dict[str, Any]:
    """What an agent says of something, also where the status is 429; {} without an answer."""
    connection = http.client.HTTPConnection(
        node.place.address, node.place.ports["http"], timeout=_TIMEOUT_S
    )
    try:
        connection.request("GET", path)
        told = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return told if isinstance(told, dict) else {}


def _replace(cluster: Cluster, rng: random.Random) -> str:
    """A server leaves, its disk is thrown away, and a new server starts under its name."""
    if not whole(cluster):
        return "nobody: the cluster is not whole yet"
    node = rng.choice(running(cluster))
    left = _ask(node, "PUT", "/v1/agent/leave")
    deadline = time.monotonic() + _LEAVE_WAIT_S
    while node.running and time.monotonic() < deadline:
        time.sleep(0.1)
    cluster.terminate(node)
    shutil.rmtree(node.place.folder / "data", ignore_errors=True)
    cluster.launch(node)
    return f"{node.name} left ({left}) and came back with an empty disk"


def _transfer(cluster: Cluster, rng: random.Random) -> str:
    node = rng.choice(running(cluster))
    told = _ask(node, "POST", "/v1/operator/raft/transfer-leader")
    return f"asked {node.name} to hand leadership over: {told}"


REPLACE = Nemesis(inject=_replace, heal=make_whole, why_not=_why_not)
TRANSFER = Nemesis(inject=_transfer, why_not=_why_not)
