"""What the agent's feed means to a proxy (docs/internals/feed.md): named resources, told as they
change, and the state that they come to.

Pure. An answer that cannot be read, or a state that cannot be made of it, is a SourceError; the
last good state then stays in force, and the agent is told why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy import api_json, terminating, tls_range
from proxy.authz import Default
from proxy.balance.hosts import Host
from proxy.errors import SourceError
from proxy.http1 import underscores
from proxy.jwt import Provider, TokenError, read_provider
from proxy.l7 import guard, ingress, settings
from proxy.l7.locality import Locality
from proxy.l7.routes import Chain, read_chain
from proxy.source import Endpoint, MeshState, UpstreamSpec
from proxy.telemetry import settings as telemetry
from proxy.tls_range import USUAL, TlsRange

RESOURCES_MAX = 65_536


class Resources:
    """The resources that a proxy holds, by name.

    An agent that has begun anew tells everything again, as it learns it. Until that is complete,
    what it has not told yet is taken to be as it was: a proxy that serves must not lose its hosts
    because its agent was started again.
    """

    def __init__(self) -> None:
        self.version = ""
        self._held: dict[str, Any] = {}
        #: What an agent that has begun anew has told so far; None while all that is held is its.
        self._renewed: set[str] | None = None

    def take(self, answer: Any) -> None:
        """Take what is new. Raises SourceError, and then nothing has changed."""
        if not isinstance(answer, dict) or not isinstance(answer.get("Version"), str):
            raise SourceError("the feed's answer has no version")
        held, renewed = dict(self._held), self._renewed
        if answer.get("Full"):
            renewed = set()
        for each in answer.get("Resources") or ():
            if not isinstance(each, dict) or not isinstance(each.get("Name"), str):
                raise SourceError("a resource of the feed has no name")
            held[each["Name"]] = each.get("Value")
            if renewed is not None:
                renewed.add(each["Name"])
        for name in answer.get("Removed") or ():
            held.pop(str(name), None)
        if renewed is not None and answer.get("Complete") is not False:
            held, renewed = {name: held[name] for name in held if name in renewed}, None
        if len(held) > RESOURCES_MAX:
            raise SourceError(f"the feed has more than {RESOURCES_MAX} resources")
        self._held, self._renewed = held, renewed
        self.version = str(answer["Version"])

    def state(self, proxy_id: str, *, listen_address: str, default: Default | None) -> MeshState:
        """What they come to. Parts that were not told yet are not known. Raises SourceError."""
        held = self._held
        state = MeshState()
        if isinstance(held.get("roots"), dict):
            roots = api_json.roots(held["roots"])
            state = replace(state, roots_pem=roots.pem, trust_domain=roots.trust_domain)
        if held.get("revocations"):
            state = replace(state, revoked=api_json.revoked(held["revocations"]))
        if isinstance(held.get("leaf"), dict):
            leaf, datacenter = api_json.leaf(held["leaf"])
            state = replace(state, leaf=leaf, datacenter=datacenter)
        if not isinstance(held.get("proxy"), dict):
            return state
        upstreams = self._under("upstream/")
        body = dict(held["proxy"])
        proxy = body | {"Upstreams": list(upstreams.values())}
        own = api_json.own_service(
            {"Kind": api_json.CONNECT_PROXY, "Address": body.get("Address"),
             "Port": body.get("Port"), "Proxy": proxy},
            proxy_id,
            listen_address=listen_address,
        )  # fmt: skip
        config = body.get("Config") if isinstance(body.get("Config"), dict) else {}
        if held.get("ingress-gateway") is not None:
            doors = ingress.listeners(held["ingress-gateway"])
            own = replace(own, listen_port=0, ingress=doors)
        protocol = str(body.get("Protocol") or "tcp")
        if held.get("terminating-gateway") is not None:
            named = terminating.names(held["terminating-gateway"])
            own = replace(own, listen_port=0, linked=named, linked_port=own.listen_port)
        if held.get("linked") is not None:
            there = terminating.application(held["linked"], requests=protocol != "tcp")
            subset = str(held["linked"].get("Subset") or "")
            own = replace(own, listen_port=0, app=there, subset=subset)
        own = replace(
            own,
            guard=guard.read(body.get("RateLimits"), config or {}),
            permissive=body.get("MutualTLSMode") == "permissive",
        )
        state = replace(
            state,
            own=own,
            protocol=protocol,
            locality=_locality(body),
            telemetry=telemetry.read(config or {}),
            mesh_destinations_only=_mesh_only(held.get("mesh")),
            tls=_ranges(held.get("mesh")),
            underscored=underscores.action(held.get("mesh")),
        )
        if "intentions" in held and default is not None:
            rules = api_json.rules({own.name: held["intentions"] or []}, own.name)
            state = replace(
                state,
                rules=rules,
                default_allow=default.allow,
                default_reason=default.reason,
                providers=_providers(self._under("jwt/")),
            )
        return self._with_upstreams(state, own.upstreams, upstreams)

    def _with_upstreams(
        self,
        state: MeshState,
        specs: tuple[UpstreamSpec, ...],
        told: Mapping[str, Any],
    ) -> MeshState:
        chains: dict[str, Chain] = {}
        endpoints: dict[str, tuple[Endpoint, ...]] = {}
        told_of: dict[str, settings.UpstreamSettings] = {}
        hosts = {name: _hosts(value) for name, value in self._under("endpoints/").items()}
        for (name, body), spec in zip(told.items(), specs, strict=True):
            given = self._held.get(f"chain/{name}")
            if not isinstance(given, dict):
                continue
            chain = chains[spec.key] = read_chain(given)
            endpoints[spec.key] = _of_layer_4(chain, hosts)
            told_of[spec.key] = settings.read(body.get("Config") or {})
        return replace(state, chains=chains, hosts=hosts, settings=told_of, endpoints=endpoints)

    def _under(self, prefix: str) -> dict[str, Any]:
        return {
            name.removeprefix(prefix): value
            for name, value in sorted(self._held.items())
            if name.startswith(prefix) and value is not None
        }


def _providers(told: Mapping[str, Any]) -> dict[str, Provider]:
    """By their names; a token of one that is not there is never good. Raises SourceError."""
    found: dict[str, Provider] = {}
    for name, value in told.items():
        try:
            found[name] = read_provider(name, value)
        except TokenError as error:
            raise SourceError(str(error)) from error
    return found


def _hosts(value: Any) -> tuple[Host, ...]:
    if not isinstance(value, list):
        raise SourceError("endpoints are no list")
    try:
        return tuple(
            Host(
                key=(str(each["Node"]), str(each["ID"])),
                address=str(each["Address"]),
                port=int(each["Port"]),
                weight=float(each["Weight"]),
                region=_locality(each).region,
                zone=_locality(each).zone,
                warning=each.get("Status") == "warning",
            )
            for each in value
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"an endpoint cannot be read: {error!r}") from error


def _mesh_only(mesh: Any) -> bool:
    given = mesh.get("TransparentProxy") if isinstance(mesh, Mapping) else None
    return isinstance(given, Mapping) and given.get("MeshDestinationsOnly") is True


def _ranges(mesh: Any) -> tuple[TlsRange, TlsRange]:
    given = mesh.get("TLS") if isinstance(mesh, Mapping) else None
    if not isinstance(given, Mapping):
        return USUAL, USUAL
    return tls_range.read(given.get("Incoming")), tls_range.read(given.get("Outgoing"))


def _locality(value: Mapping[str, Any]) -> Locality:
    given = value.get("Locality")
    if not isinstance(given, Mapping):
        return Locality()
    return Locality(str(given.get("Region") or ""), str(given.get("Zone") or ""))


def _of_layer_4(chain: Chain, hosts: Mapping[str, tuple[Host, ...]]) -> tuple[Endpoint, ...]:
    """The endpoints of a chain without requests: those of its first target that has any."""
    resolver = chain.resolvers.get(chain.start)
    if resolver is None:
        return ()
    for target in (resolver.target, *resolver.failover):
        found = [host for host in hosts.get(target.id, ()) if host.weight > 0]
        if found:
            return tuple(
                Endpoint(
                    address=host.address,
                    port=host.port,
                    datacenter=target.datacenter,
                    node=host.key[0],
                    service_id=host.key[1],
                    service=target.service,
                    subset=target.subset,
                )
                for host in found
            )
    return ()
