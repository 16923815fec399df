"""A leaf that has ended takes its proxy out of use, and nothing else."""

from __future__ import annotations

from agent.local.leaf_health import LeafStanding, leaf_check, told, wanted
from raftstore.records import Proxy, Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST

WEB = Service(node=HOST, id=ServiceId("web"), name=ServiceName("web"))
PROXY = Service(
    node=HOST,
    id=ServiceId("web-proxy"),
    name=ServiceName("web-proxy"),
    tags=("z",),
    kind="connect-proxy",
    proxy=Proxy(destination_service_name=ServiceName("web")),
)


def test_only_proxies_of_an_ended_leaf_are_told() -> None:
    leaves = {"web": LeafStanding(100.0, "No cluster leader"), "db": LeafStanding(1.0)}
    assert wanted([WEB, PROXY], leaves, 99.9) == {}
    assert wanted([WEB, PROXY], leaves, 100.0) == {
        "web-proxy": 'The leaf certificate of service "web" has expired: No cluster leader'
    }
    assert wanted([PROXY], {"web": LeafStanding(1.0)}, 2.0)[ServiceId("web-proxy")].endswith(
        "it is being renewed"
    )
    assert wanted([WEB, PROXY], {}, 1e12) == {}


def test_the_check_is_of_the_proxy_and_known_again() -> None:
    record = leaf_check(HOST, PROXY, "why").record
    assert (record.id, record.status, record.output) == ("connect:web-proxy", "critical", "why")
    assert (record.service_id, record.service_tags) == ("web-proxy", ("z",))
    assert told([record]) == {"web-proxy"}
