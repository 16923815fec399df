"""Servers leave for good and new ones take their place; leadership is handed over."""

from __future__ import annotations

import http.client
import random
import shutil

from jepsen_lite.cluster import Cluster, Node
from jepsen_lite.nemeses.nemesis import Nemesis
from jepsen_lite.nemeses.processes import running

_TIMEOUT_S = 10.0


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


def _replace(cluster: Cluster, rng: random.Random) -> str:
    """A server leaves, its disk is thrown away, and a new server starts under its name."""
    alive = running(cluster)
    if len(alive) < len(cluster.nodes):
        return "nobody: not all servers run"
    node = rng.choice(alive)
    left = _ask(node, "PUT", "/v1/agent/leave")
    cluster.terminate(node)
    shutil.rmtree(node.place.folder / "data", ignore_errors=True)
    cluster.launch(node)
    return f"{node.name} left ({left}) and came back with an empty disk"


def _transfer(cluster: Cluster, rng: random.Random) -> str:
    node = rng.choice(running(cluster))
    told = _ask(node, "POST", "/v1/operator/raft/transfer-leader")
    return f"asked {node.name} to hand leadership over: {told}"


REPLACE = Nemesis(inject=_replace, why_not=_why_not)
TRANSFER = Nemesis(inject=_transfer, why_not=_why_not)
