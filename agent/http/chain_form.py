"""A discovery chain in the form of newer releases, which name the partition everywhere."""

from __future__ import annotations

from typing import Any

from raftstore.records import Json

_PARTITION = "default"


def newer(chain: Json) -> Json:
    """The same chain with partitions in its ids."""
    ids = {key: _target_id(target) for key, target in chain["Targets"].items()}
    nodes = {_node_key(key, ids): _node(node, ids) for key, node in chain["Nodes"].items()}
    start = _node_key(chain["StartNode"], ids)
    first = nodes[start]
    return {
        **chain,
        "Partition": _PARTITION,
        "Default": bool(first.get("Resolver", {}).get("Default")),
        "StartNode": start,
        "Nodes": nodes,
        "Targets": {
            ids[key]: {**target, "ID": ids[key], "Partition": _PARTITION}
            for key, target in chain["Targets"].items()
        },
    }


def _target_id(target: Json) -> str:
    subset = f"{target['ServiceSubset']}." if target.get("ServiceSubset") else ""
    place = f"{target['Namespace']}.{_PARTITION}.{target['Datacenter']}"
    return f"{subset}{target['Service']}.{place}"


def _node_key(key: str, ids: dict[str, str]) -> str:
    kind, _, name = key.partition(":")
    return f"{kind}:{ids[name]}" if kind == "resolver" else f"{key}.{_PARTITION}"


def _node(node: Json, ids: dict[str, str]) -> Json:
    kind, found = node["Type"], dict(node)
    if kind == "resolver":
        found["Name"] = ids[node["Name"]]
        inner: dict[str, Any] = {**node["Resolver"], "Target": ids[node["Resolver"]["Target"]]}
        if "Failover" in inner:
            inner["Failover"] = {"Targets": [ids[key] for key in inner["Failover"]["Targets"]]}
        found["Resolver"] = inner
        return found
    found["Name"] = f"{node['Name']}.{_PARTITION}"
    steps = "Routes" if kind == "router" else "Splits"
    found[steps] = [{**step, "NextNode": _node_key(step["NextNode"], ids)} for step in node[steps]]
    return found
