"""Whether other entries still stand after one is written or deleted (mesh contract C.8).

Follows links to their closure, so that no accepted write makes a chain fail however far away. The
reference follows one hop; here there can only be more refusals, each naming what would break.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from raftstore.entries import kinds
from raftstore.entries.chain import Chain, Entries, compile_chain
from raftstore.entries.errors import GraphError
from raftstore.entries.intentions import providers
from raftstore.entries.rules import HTTP_LIKE, WILDCARD

#: What a chain is made of.
CHAIN_KINDS = (kinds.ROUTER, kinds.SPLITTER, kinds.RESOLVER)
#: What decides about the chains of a service.
SERVICE_KINDS = (kinds.SERVICE_DEFAULTS, *CHAIN_KINDS)
_PERMISSIVE = "permissive"


class Graph(Entries, Protocol):
    """The entries, and what refers to what. Names are in lower case; nothing is ever half there."""

    def chains_naming(self, service: str) -> Iterable[str]:
        """Services whose router, splitter or resolver names this one."""
        ...

    def ingresses_naming(self, service: str) -> Iterable[str]:
        """Ingress gateways that expose a service by name."""
        ...

    def spelled(self, service: str) -> str:
        """The name of a service as its entries spell it."""
        ...

    def all_of(self, kind: str) -> Iterable[str]:
        """The names of the entries of a kind, in order."""
        ...

    def intentions(self, destination: str) -> Mapping[str, Any] | None:
        """The service-intentions of a destination."""
        ...

    def needing_layer7(self) -> Iterable[str]:
        """Destinations whose intentions have permissions, or ask for tokens."""
        ...

    def intentions_naming(self, provider: str) -> Iterable[str]:
        """Destinations whose intentions ask for tokens of a provider."""
        ...


def check(graph: Graph, kind: str, name: str, *, written: bool, datacenter: str = "dc") -> None:
    """Refuse a change that is already in ``graph`` if it breaks something. Raises GraphError.

    ``datacenter`` is only a name: no rule depends on which one it is.
    """
    name = name.lower()
    if kind == kinds.PROXY_DEFAULTS:
        _check_mutual_tls(graph, graph.content(kind, name))
        _check_all(graph, datacenter)
    elif kind in SERVICE_KINDS:
        _check_mutual_tls(graph, graph.content(kinds.SERVICE_DEFAULTS, name))
        _check_service(graph, name, datacenter)
    elif kind == kinds.INGRESS:
        _refuse_other_gateway(graph, kinds.TERMINATING, name, written=written)
        _check_ingress(graph, name, datacenter, strict=True)
    elif kind == kinds.TERMINATING:
        _refuse_other_gateway(graph, kinds.INGRESS, name, written=written)
    elif kind == kinds.SERVICE_INTENTIONS:
        _check_providers(graph, name)
        _check_intentions(graph, name, datacenter)
    elif kind == kinds.JWT_PROVIDER and graph.content(kind, name) is None:
        for destination in graph.intentions_naming(name):
            raise GraphError(
                "cannot delete jwt provider config entry referenced by an intention. "
                f"Provider name: {name}, intention name: {destination}"
            )


def affected(graph: Graph, kind: str, name: str) -> set[str]:
    """The services whose chains a change of this entry may change."""
    if kind == kinds.PROXY_DEFAULTS:
        return {found for each in SERVICE_KINDS for found in graph.all_of(each)}
    return _closure(graph, name) if kind in SERVICE_KINDS else set()


def _closure(graph: Graph, name: str) -> set[str]:
    """A service and all that lead to it, however far away."""
    found, waiting = {name}, [name]
    while waiting:
        for other in graph.chains_naming(waiting.pop()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _check_all(graph: Graph, datacenter: str) -> None:
    """Everything that a protocol for all services decides about."""
    chains: dict[str, None] = {}
    for kind in CHAIN_KINDS:
        chains |= dict.fromkeys(graph.all_of(kind))
    for name in sorted(chains):
        _compiled(graph, name, datacenter)
    for gateway in graph.all_of(kinds.INGRESS):
        _check_ingress(graph, gateway, datacenter, strict=False)
    for destination in graph.needing_layer7():
        _check_intentions(graph, destination, datacenter)


def _check_service(graph: Graph, name: str, datacenter: str) -> None:
    touched = _closure(graph, name)
    for service in (name, *sorted(touched - {name})):
        _compiled(graph, service, datacenter)
    gateways = {gateway for service in touched for gateway in graph.ingresses_naming(service)}
    for gateway in sorted(gateways):
        _check_ingress(graph, gateway, datacenter, strict=False)
    for service in sorted(touched):
        _check_intentions(graph, service, datacenter)


def _compiled(graph: Graph, name: str, datacenter: str) -> Chain:
    return compile_chain(graph, graph.spelled(name), datacenter=datacenter, trust_domain="t")


def _check_ingress(graph: Graph, name: str, datacenter: str, *, strict: bool) -> None:
    content = graph.content(kinds.INGRESS, name) or {}
    for listener in content.get("Listeners", ()):
        expected = listener.get("Protocol", "tcp")
        for exposed in listener.get("Services", ()):
            service = exposed.get("Name", "")
            if service == WILDCARD:
                continue
            chain = compile_chain(graph, service, datacenter=datacenter, trust_domain="t")
            # A plain chain may be passed through as bytes, whatever is in them.
            plain = expected == "tcp" and chain.starts_with == "resolver" and not strict
            if chain.protocol != expected and not plain:
                raise GraphError(
                    f'service "{service}" has protocol "{chain.protocol}", which does not match '
                    f'defined listener protocol "{expected}"'
                )


def _check_intentions(graph: Graph, name: str, datacenter: str) -> None:
    content = graph.intentions(name)
    if content is None or name == WILDCARD:
        return
    permissions = any(source.get("Permissions") for source in content.get("Sources", ()))
    tokens = any(True for _ in providers(content))
    if not permissions and not tokens:
        return
    spelled = str(content.get("Name") or name)
    chain = compile_chain(graph, spelled, datacenter=datacenter, trust_domain="t")
    if chain.protocol not in HTTP_LIKE:
        what = "L7 intentions permissions" if permissions else "JWT requirements of intentions"
        raise GraphError(
            f'service "{spelled}" has protocol "{chain.protocol}", which is incompatible '
            f"with {what}"
        )


def _check_providers(graph: Graph, name: str) -> None:
    for provider in providers(graph.intentions(name) or {}):
        if graph.content(kinds.JWT_PROVIDER, provider) is None:
            raise GraphError(f"referenced JWT provider does not exist. Provider Name: {provider}")


def _refuse_other_gateway(graph: Graph, other: str, name: str, *, written: bool) -> None:
    if written and graph.content(other, name) is not None:
        mine = kinds.INGRESS if other == kinds.TERMINATING else kinds.TERMINATING
        raise GraphError(
            f'cannot create a {mine} with name "{name}", a {other} config entry with that name '
            "already exists"
        )


def _check_mutual_tls(graph: Graph, content: Mapping[str, Any] | None) -> None:
    if content is None or content.get("MutualTLSMode") != _PERMISSIVE:
        return
    mesh = graph.content(kinds.MESH, kinds.MESH) or {}
    if not mesh.get("AllowEnablingPermissiveMutualTLS"):
        raise GraphError(
            "cannot set MutualTLSMode=permissive because AllowEnablingPermissiveMutualTLS=false "
            "in the mesh config entry"
        )
