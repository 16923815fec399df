"""The discovery chain of a service: routers, splitters and resolvers as one closed graph.

Decides how entries refer to each other, which of them count for a protocol, and what is refused
(mesh contract C.9, C.10). Pure, deterministic and total: whatever the entries say, it gives a chain
or raises GraphError, and it ends: depth and size have bounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from raftstore.durations import format_ns
from raftstore.entries import defaults, resolver, router, splitter
from raftstore.entries.errors import GraphError
from raftstore.entries.rules import HTTP_LIKE
from raftstore.entries.shape import show
from raftstore.records import Json

#: Splitters below each other in one chain, redirects after each other.
DEPTH_MAX = 64
#: Nodes of one chain, and splits of one splitter once those below it are merged into it.
NODES_MAX = 2048
CONNECT_TIMEOUT_NS = 5_000_000_000
_NAMESPACE = "default"
_ROUTE_SHAPE = router.ROUTES.shape
_SPLIT_SHAPE = splitter.SPLITS.shape
_BALANCER_SHAPE = next(one.shape for one in resolver.SHAPE.fields if one.name == "LoadBalancer")


class Entries(Protocol):
    """Where entries are looked up; names without regard to case."""

    def content(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """The canonical content of an entry, None when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a caller wants otherwise than the entries say; "" and 0 are nothing."""

    protocol: str = ""
    connect_timeout_ns: int = 0
    mesh_gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Instances of a service: all, or a subset of them, in one datacenter."""

    service: str
    datacenter: str
    subset: str = ""

    @property
    def id(self) -> str:
        """Its name in the chain."""
        return f"{self._subset}{self.service}.{_NAMESPACE}.{self.datacenter}"

    @property
    def _subset(self) -> str:
        return f"{self.subset}." if self.subset else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A compiled chain. ``nodes`` and ``targets`` are as clients see them; ``read`` are the
    services whose entries were looked at, in lower case."""

    service: str
    datacenter: str
    protocol: str
    start: str
    nodes: Mapping[str, Json]
    targets: Mapping[str, Json]
    customization: str
    read: tuple[str, ...]

    @property
    def starts_with(self) -> str:
        """The type of the first node."""
        return self.start.partition(":")[0]

    def json(self) -> Json:
        """The chain as clients see it."""
        hashed = {"CustomizationHash": self.customization} if self.customization else {}
        return {
            "ServiceName": self.service,
            "Namespace": _NAMESPACE,
            "Datacenter": self.datacenter,
            **hashed,
            "Protocol": self.protocol,
            "StartNode": self.start,
            "Nodes": dict(self.nodes),
            "Targets": dict(self.targets),
        }


def compile_chain(
    entries: Entries,
    service: str,
    *,
    datacenter: str,
    trust_domain: str,
    overrides: Overrides = Overrides(),
) -> Chain:
    """The chain of a service, seen from a datacenter. Raises GraphError."""
    return _Compiler(entries, service, datacenter, trust_domain, overrides).compile()


@dataclass(slots=True)
class _Compiler:
    """One compilation."""

    entries: Entries
    service: str
    datacenter: str
    trust_domain: str
    overrides: Overrides
    protocol: str = ""
    advanced: bool = False
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: dict[str, None] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    proxy: Mapping[str, Any] | None = None

    def compile(self) -> Chain:
        self.proxy = self.entries.content("proxy-defaults", defaults.GLOBAL)
        start = self._assemble()
        _refuse_circles(self.nodes)
        _flatten(self.nodes, self.service)
        reached = _reachable(self.nodes, start)
        nodes = {key: self.nodes[key] for key in sorted(self.nodes) if key in reached}
        if self.advanced and self.protocol not in HTTP_LIKE:
            raise GraphError(
                f'discovery chain "{self.service}" uses a protocol "{self.protocol}" that does not '
                "permit advanced routing or splitting behavior"
            )
        wanted = self.overrides.protocol
        if wanted and wanted != self.protocol:
            self.changed.add(f"protocol={wanted}")
            self.protocol = wanted
        used = set(_targets_of(nodes))
        return Chain(
            service=self.service,
            datacenter=self.datacenter,
            protocol=self.protocol,
            start=start,
            nodes=nodes,
            targets={key: self.targets[key] for key in sorted(self.targets) if key in used},
            customization=_hash(self.changed),
            read=tuple(self.read),
        )

    def _get(self, kind: str, name: str) -> Mapping[str, Any] | None:
        self.read[name.lower()] = None
        return self.entries.content(kind, name)

    def _layer7(self) -> bool:
        """Whether routers and splitters count, as far as overrides go."""
        return not self.overrides.protocol or self.overrides.protocol in HTTP_LIKE

    # Routers

    def _assemble(self) -> str:
        content = self._get("service-router", self.service) if self._layer7() else None
        own = Target(service=self.service, datacenter=self.datacenter)
        if content is None:
            return self._next(own)
        self.advanced = True
        self._note_protocol(self.service)
        routes = []
        assert _ROUTE_SHAPE is not None
        for route in content.get("Routes", ()):
            wanted = route.get("Destination", {})
            target = replace(
                own,
                service=wanted.get("Service") or self.service,
                subset=wanted.get("ServiceSubset", ""),
            )
            following = self._resolve(target) if target.subset else self._next(target)
            routes.append({"Definition": show(_ROUTE_SHAPE, route), "NextNode": following})
        catch_all = {
            "Match": {"HTTP": {"PathPrefix": "/"}},
            "Destination": {"Service": self.service, "Namespace": _NAMESPACE},
        }
        routes.append({"Definition": catch_all, "NextNode": self._next(own)})
        name = f"{self.service}.{_NAMESPACE}"
        self._record(f"router:{name}", {"Type": "router", "Name": name, "Routes": routes})
        return f"router:{name}"

    def _next(self, target: Target) -> str:
        return self._split(target.service, 0) or self._resolve(target)

    def _record(self, key: str, node: dict[str, Any]) -> None:
        if len(self.nodes) >= NODES_MAX:
            raise GraphError(f'discovery chain "{self.service}" has more than {NODES_MAX} nodes')
        self.nodes[key] = node

    # Splitters

    def _split(self, service: str, depth: int) -> str:
        """The splitter node of a service, "" when it has none."""
        name = f"{service}.{_NAMESPACE}"
        key = f"splitter:{name}"
        if key in self.nodes:
            return key
        content = self._get("service-splitter", service) if self._layer7() else None
        if content is None:
            return ""
        if depth >= DEPTH_MAX:
            raise GraphError(
                f'discovery chain "{self.service}" has more than {DEPTH_MAX} splitters below '
                "each other"
            )
        self.advanced = True
        assert _SPLIT_SHAPE is not None
        node: dict[str, Any] = {"Type": "splitter", "Name": name, "Splits": []}
        self._record(key, node)
        for split in content.get("Splits", ()):
            other = split.get("Service") or service
            subset = split.get("ServiceSubset", "")
            following = self._split(other, depth + 1) if other != service and not subset else ""
            if not following:
                following = self._resolve(
                    Target(service=other, subset=subset, datacenter=self.datacenter)
                )
                balancer = self.nodes[following].get("LoadBalancer", {})
                if balancer.get("Policy") in resolver.HASHING:
                    node.setdefault("LoadBalancer", balancer)
            leg: dict[str, Any] = {"Weight": split.get("Weight", 0), "NextNode": following}
            if "RequestHeaders" in split or "ResponseHeaders" in split:
                # As newer releases show every leg; without headers nothing needs it.
                leg = {"Definition": show(_SPLIT_SHAPE, split), **leg}
            node["Splits"].append(leg)
        return key

    # Resolvers

    def _resolve(self, target: Target) -> str:
        """The resolver node of a target."""
        target, content = self._settle(target)
        key = f"resolver:{target.id}"
        if key in self.nodes:
            return key
        node = self._resolver_node(target, content)
        self._record(key, node)
        failover = list(self._failover(target, content))
        if failover:
            node["Resolver"]["Failover"] = {"Targets": failover}
        return key

    def _settle(self, target: Target) -> tuple[Target, Mapping[str, Any]]:
        """Follow redirects and default subsets to where they end."""
        seen: list[str] = []
        while True:
            self._note_protocol(target.service)
            content = self._get("service-resolver", target.service) or {}
            if target.id in seen:
                circle = " -> ".join([*seen, target.id])
                raise GraphError(f"detected circular resolver redirect: [{circle}]")
            if len(seen) > DEPTH_MAX:
                raise GraphError(
                    f'discovery chain "{self.service}" has more than {DEPTH_MAX} redirects after '
                    "each other"
                )
            seen.append(target.id)
            if "Redirect" in content:
                wish = content["Redirect"]
                moved = _rewritten(target, wish, wish.get("Datacenter", ""))
                if moved.id != target.id:
                    target = moved
                    continue
            if not target.subset and content.get("DefaultSubset"):
                target = replace(target, subset=content["DefaultSubset"])
                continue
            if target.subset and target.subset not in content.get("Subsets", {}):
                raise GraphError(
                    f'service "{target.service}" does not have a subset named "{target.subset}"'
                )
            return target, content

    def _resolver_node(self, target: Target, content: Mapping[str, Any]) -> dict[str, Any]:
        timeout = content.get("ConnectTimeout") or CONNECT_TIMEOUT_NS
        wanted = self.overrides.connect_timeout_ns
        if wanted > 0:
            if wanted != timeout:
                self.changed.add(f"connect-timeout={wanted}")
            timeout = wanted
        shown: dict[str, Any] = {"ConnectTimeout": format_ns(timeout)}
        if resolver.is_default(content):
            shown["Default"] = True
        shown["Target"] = target.id
        everywhere = self._get("proxy-defaults", "global") or {}
        near = content.get("PrioritizeByLocality") or everywhere.get("PrioritizeByLocality")
        if near and near.get("Mode"):
            shown["PrioritizeByLocality"] = {"Mode": near["Mode"]}
        node: dict[str, Any] = {"Type": "resolver", "Name": target.id, "Resolver": shown}
        if "LoadBalancer" in content:
            assert _BALANCER_SHAPE is not None
            node["LoadBalancer"] = show(_BALANCER_SHAPE, content["LoadBalancer"])
        self._note_target(target, content, timeout)
        return node

    def _note_target(self, target: Target, content: Mapping[str, Any], timeout: int) -> None:
        own = self._get("service-defaults", target.service) or {}
        name = f"{target.id}.internal.{self.trust_domain}"
        external = own.get("ExternalSNI", "")
        for key, what in (("Subsets", "subsets"), ("Failover", "failover")):
            if external and content.get(key):
                raise GraphError(
                    f'service "{target.service}" has an external SNI set; cannot define {what} '
                    "for external services"
                )
        mode = self._gateway_mode(target, own) if not external else ""
        shown: dict[str, Any] = {
            "ConnectTimeout": format_ns(timeout),
            "ID": target.id,
            "Service": target.service,
        }
        if target.subset:
            shown["ServiceSubset"] = target.subset
        shown |= {
            "Namespace": _NAMESPACE,
            "Datacenter": target.datacenter,
            "MeshGateway": {"Mode": mode} if mode else {},
            "Subset": dict(content.get("Subsets", {}).get(target.subset, {})),
        }
        if external:
            shown["External"] = True
        self.targets[target.id] = shown | {"SNI": external or name, "Name": name}

    def _gateway_mode(self, target: Target, own: Mapping[str, Any]) -> str:
        if target.datacenter == self.datacenter:
            return ""
        mode: str = own.get("MeshGateway", {}).get("Mode", "")
        mode = mode or (self.proxy or {}).get("MeshGateway", {}).get("Mode", "")
        wanted = self.overrides.mesh_gateway
        if wanted and wanted != mode:
            self.changed.add(f"mesh-gateway={wanted}")
            mode = wanted
        return mode

    def _failover(self, target: Target, content: Mapping[str, Any]) -> Iterator[str]:
        """The ids of the targets that take over, in order; not their own failovers."""
        rules = content.get("Failover", {})
        rule = rules.get(target.subset) or rules.get("*")
        if not rule:
            return
        if rule.get("Targets"):
            wishes = [_rewritten(target, one, one.get("Datacenter", "")) for one in rule["Targets"]]
        else:
            where = rule.get("Datacenters") or [""]
            wishes = [_rewritten(target, rule, datacenter) for datacenter in where]
        for wish in wishes:
            if wish.id == target.id:
                continue
            settled, its_content = self._settle(wish)
            if f"resolver:{settled.id}" not in self.nodes:
                self._resolver_node(settled, its_content)
            yield settled.id

    # Protocols

    def _note_protocol(self, service: str) -> None:
        own = self._get("service-defaults", service)
        protocol = defaults.protocol_of(own, self.proxy)
        if not self.protocol:
            self.protocol = protocol
        elif self.protocol != protocol:
            raise GraphError(
                f'discovery chain "{self.service}" uses inconsistent protocols; service '
                f'"{service}" has "{protocol}" which is not "{self.protocol}"'
            )


def _rewritten(target: Target, wish: Mapping[str, Any], datacenter: str) -> Target:
    """A target as a redirect or failover wants it. Another service has no subset of this one."""
    service = wish.get("Service", "")
    if service and service != target.service:
        target = replace(target, service=service, subset="")
    return replace(
        target,
        subset=wish.get("ServiceSubset") or target.subset,
        datacenter=datacenter or target.datacenter,
    )


def _following(node: Mapping[str, Any]) -> Iterator[str]:
    for step in (*node.get("Routes", ()), *node.get("Splits", ())):
        yield step["NextNode"]


def _refuse_circles(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse splitters that lead back to themselves."""
    done: set[str] = set()
    for start in nodes:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            path, stack = [start], [(start, _following(nodes[start]))]
        while stack:
            key, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                done.add(key)
                stack.pop()
                path.pop()
            elif step in path:
                circle = [*path[path.index(step) :], step]
                raise GraphError(f"detected circular reference: [{' -> '.join(circle)}]")
            elif step not in done:
                path.append(step)
                stack.append((step, _following(nodes[step])))


def _flatten(nodes: dict[str, dict[str, Any]], service: str) -> None:
    """Put the splits of a splitter in the place of a split that leads to it, until none does."""
    changed = True
    while changed:
        changed = False
        for node in nodes.values():
            if node["Type"] != "splitter":
                continue
            if any(step["NextNode"].startswith("splitter:") for step in node["Splits"]):
                node["Splits"] = list(islice(_merged(nodes, node), NODES_MAX + 1))
                changed = True
                if len(node["Splits"]) > NODES_MAX:
                    raise GraphError(
                        f'discovery chain "{service}" splits into more than {NODES_MAX} parts'
                    )


def _merged(nodes: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for step in node["Splits"]:
        inner = nodes[step["NextNode"]]
        if inner["Type"] != "splitter":
            yield step
            continue
        for below in inner["Splits"]:
            product = splitter.single(
                splitter.single(step["Weight"]) * splitter.single(below["Weight"])
            )
            share = splitter.hundredths(splitter.single(product / 100.0))
            leg = {"Weight": splitter.weight(share), "NextNode": below["NextNode"]}
            told = splitter.merged(step.get("Definition"), below.get("Definition"))
            yield {"Definition": told, **leg} if told else leg


def _reachable(nodes: Mapping[str, Mapping[str, Any]], start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for step in _following(nodes[waiting.pop()]):
            if step not in found:
                found.add(step)
                waiting.append(step)
    return found


def _targets_of(nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for node in nodes.values():
        if node["Type"] == "resolver":
            yield node["Resolver"]["Target"]
            yield from node["Resolver"].get("Failover", {}).get("Targets", ())


def _hash(changed: set[str]) -> str:
    """Eight hex digits that tell the overrides in effect, "" for none."""
    if not changed:
        return ""
    return hashlib.sha256(";".join(sorted(changed)).encode()).hexdigest()[:8]
