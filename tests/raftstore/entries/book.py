"""Config entries in a state machine, and strategies of entries that meet."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import strategies as st

from raftstore.commands import Applied, Rejected
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.definition_queries import GetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.entries import kinds
from raftstore.mesh_queries import (
    ChangePlan,
    CompiledChain,
    DiscoveryChain,
    PlanConfigEntry,
)
from raftstore.state import StateMachine

NAMES = ("a", "b", "c", "d")
SUBSETS = ("v1", "v2")


class Book:
    """Writes bodies as a client would, one entry of the log after the other."""

    def __init__(self) -> None:
        self.state = StateMachine()
        self.index = 1

    def _apply(self, command: Any) -> Applied | Rejected:
        self.index += 1
        return self.state.apply(self.index, 0.0, command)

    def write(self, body: dict[str, Any], *, cas: int | None = None) -> Applied | Rejected:
        return self._apply(SetConfigEntry(kinds.decode(body), cas))

    def delete(self, kind: str, name: str) -> Applied | Rejected:
        return self._apply(DeleteConfigEntry(kind, name))

    def plan(self, step: dict[str, Any] | tuple[str, str]) -> ChangePlan:
        """What a write, or a delete by kind and name, would do."""
        if isinstance(step, dict):
            entry = kinds.decode(step)
        else:
            entry = kinds.normalised(ConfigEntry(kind=step[0], name=step[1], content={}))
        content = json.dumps(entry.content)
        query = PlanConfigEntry(
            entry.kind, entry.name, content, "dc1", delete=isinstance(step, tuple)
        )
        return self.state.answer(query).value

    def get(self, kind: str, name: str) -> ConfigEntry | None:
        return self.state.answer(GetConfigEntry(kind, name)).value

    def chain(self, name: str, **overrides: Any) -> CompiledChain:
        query = DiscoveryChain(service=name, datacenter="dc1", **overrides)
        return self.state.answer(query).value

    def chain_index(self, name: str) -> int:
        return self.state.answer(DiscoveryChain(service=name, datacenter="dc1")).index


PROVIDERS = ("okta", "other")

names = st.sampled_from(NAMES)
subsets = st.sampled_from(("", "", *SUBSETS))


@st.composite
def splits(draw: st.DrawFn) -> list[dict[str, Any]]:
    targets = draw(st.lists(st.tuples(names, subsets), min_size=1, max_size=3, unique=True))
    shares = draw(
        st.lists(st.integers(0, 10_000), min_size=len(targets) - 1, max_size=len(targets) - 1)
    )
    edges = [0, *sorted(shares), 10_000]
    weights = [(after - before) / 100 for before, after in itertools.pairwise(edges)]
    return [
        {"Weight": weight, "Service": service, "ServiceSubset": subset}
        for weight, (service, subset) in zip(weights, targets, strict=True)
    ]


def _entry(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"Kind": st.just(kind), "Name": names, **fields})


_destination = st.fixed_dictionaries({"Service": names, "ServiceSubset": subsets})
_match = st.fixed_dictionaries({"HTTP": st.just({"PathPrefix": "/x"})})
_filters = st.dictionaries(st.sampled_from(SUBSETS), st.just({}), max_size=2)
_failover = st.fixed_dictionaries(
    {"Service": names, "Datacenters": st.lists(st.sampled_from(["dc1", "dc2"]), max_size=2)}
)
protocols = st.sampled_from(["http", "http", "http", "tcp", "grpc", ""])
bodies: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _entry("service-defaults", Protocol=protocols),
    st.fixed_dictionaries(
        {
            "Kind": st.just("proxy-defaults"),
            "Config": st.fixed_dictionaries({"protocol": protocols}),
        }
    ),
    _entry("service-splitter", Splits=splits()),
    _entry(
        "service-router",
        Routes=st.lists(
            st.fixed_dictionaries({"Match": _match, "Destination": _destination}), max_size=2
        ),
    ),
    _entry("service-resolver", Subsets=_filters, ConnectTimeout=st.sampled_from(["0s", "3s"])),
    _entry(
        "service-resolver",
        Redirect=st.fixed_dictionaries({"Service": names, "ServiceSubset": subsets}),
    ),
    _entry("service-resolver", Failover=st.fixed_dictionaries({"*": _failover})),
    _entry(
        "service-intentions",
        Sources=st.just(
            [{"Name": "x", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]}]
        ),
    ),
    _entry(
        "ingress-gateway",
        Listeners=st.fixed_dictionaries(
            {
                "Port": st.just(80),
                "Protocol": protocols,
                "Services": st.lists(
                    st.fixed_dictionaries({"Name": names}), min_size=1, max_size=1
                ),
            }
        ).map(lambda one: [one]),
    ),
)


def _asking(provider: str) -> dict[str, Any]:
    return {"Providers": [{"Name": provider}]}


def _permitted(provider: str) -> list[dict[str, Any]]:
    http = {"Action": "allow", "HTTP": {"PathPrefix": "/"}, "JWT": _asking(provider)}
    return [{"Name": "x", "Permissions": [http]}]


_provider = st.sampled_from(PROVIDERS)
_linked = st.fixed_dictionaries(
    {"Name": names | st.just("*")}, optional={"CAFile": st.just("/ca"), "SNI": st.just("s")}
)
_exported = st.fixed_dictionaries(
    {"Name": names, "Consumers": st.sampled_from([[{"Peer": "p"}], [{"Partition": "q"}]])}
)
#: Entries that no chain is made of, and that forbid or need others.
around: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _entry(
        "terminating-gateway",
        Services=st.lists(_linked, max_size=3, unique_by=lambda one: one["Name"]),
    ),
    st.fixed_dictionaries(
        {
            "Kind": st.just("exported-services"),
            "Name": st.just("default"),
            "Services": st.lists(_exported, max_size=2, unique_by=lambda one: one["Name"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "Kind": st.just("jwt-provider"),
            "Name": _provider,
            "JSONWebKeySet": st.just({"Local": {"Filename": "/keys"}}),
        },
        optional={"Issuer": st.just("me")},
    ),
    _entry(
        "service-intentions",
        Sources=st.just([{"Name": "x", "Action": "allow"}]),
        JWT=_provider.map(_asking),
    ),
    _entry("service-intentions", Sources=_provider.map(_permitted)),
    st.fixed_dictionaries(
        {"Kind": st.just("mesh"), "AllowEnablingPermissiveMutualTLS": st.booleans()}
    ),
    _entry("service-defaults", Protocol=protocols, MutualTLSMode=st.just("permissive")),
)
deletions = st.one_of(
    st.sampled_from(
        [("proxy-defaults", "global"), ("mesh", "mesh"), ("exported-services", "default")]
    ),
    st.tuples(
        st.sampled_from(
            ["service-defaults", "service-splitter", "service-router", "service-resolver",
             "service-intentions", "ingress-gateway", "terminating-gateway"]
        ),
        names,
    ),
    st.tuples(st.just("jwt-provider"), _provider),
)  # fmt: skip
