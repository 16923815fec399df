"""Upstreams without requests keep to their limit of connections."""

from proxy.config import ProxyConfig
from proxy.departures import Departures
from proxy.l7.settings import Limits, UpstreamSettings
from proxy.source import Endpoint, MeshState, UpstreamSpec

SPEC = UpstreamSpec(name="db", bind_port=1)
HOST = Endpoint(address="10.0.0.1", port=1)


def test_connections_over_the_limit_are_refused_until_one_ends() -> None:
    limits = UpstreamSettings(limits=Limits(connections_max=2))
    state = MeshState(trust_domain="t", datacenter="dc1", settings={SPEC.key: limits})
    departures = Departures(ProxyConfig())
    cores = []
    for _ in range(2):
        core = departures.to_service(state, SPEC, [HOST])
        assert core is not None
        assert core.expected.name == "db"
        departures.began(core)
        cores.append(core)
    assert departures.to_service(state, SPEC, [HOST]) is None
    departures.ended(cores[0])
    departures.ended(cores[0])
    core = departures.to_service(state, SPEC, [HOST])
    assert core is not None
    departures.began(core)
    assert departures.to_service(state, SPEC, [HOST]) is None


def test_a_connection_that_never_began_does_not_count() -> None:
    limits = UpstreamSettings(limits=Limits(connections_max=1))
    state = MeshState(settings={SPEC.key: limits})
    departures = Departures(ProxyConfig())
    assert departures.to_service(state, SPEC, [HOST]) is not None
    assert departures.to_service(state, SPEC, [HOST]) is not None
