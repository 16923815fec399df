"""What is told of the datacenters, also where there is no pool of their servers."""

from __future__ import annotations

from agent.explain.datacenters import explain_datacenters
from agent.wan.datacenters import by_datacenter
from gossip import Member
from gossip.coordinates import Coordinate
from tests.agent.wan.test_members import member


class Pool:
    joins_failed = 2
    last_error = "10.0.0.9:8302: refused"
    stopped = ""

    def servers(self) -> dict[str, list[Member]]:
        return by_datacenter([member("a.east"), member("b.west", "10.9.0.1", dc="west")])

    def datacenters(self) -> list[str]:
        return ["east", "west"]

    def distance_s(self, datacenter: str) -> float:
        return 0.25 if datacenter == "west" else float("inf")

    def missing(self) -> tuple[str, ...]:
        return ("10.0.0.9:8302",)

    def coordinate(self, name: str = "") -> Coordinate | None:
        return Coordinate() if name == "b.west" else None


def test_servers_distances_and_who_is_missing() -> None:
    assert explain_datacenters(Pool(), "east") == {
        "Datacenter": "east",
        "Pool": "running",
        "NotJoinedYet": ["10.0.0.9:8302"],
        "JoinsFailed": 2,
        "LastError": "10.0.0.9:8302: refused",
        "Datacenters": [
            {
                "Name": "east",
                "RoundTrip_s": None,
                "Servers": [
                    {"Name": "a", "Address": "10.0.0.1:8301", "Status": "alive", "Measured": False}
                ],
            },
            {
                "Name": "west",
                "RoundTrip_s": 0.25,
                "Servers": [
                    {"Name": "b", "Address": "10.9.0.1:8301", "Status": "alive", "Measured": True}
                ],
            },
        ],
    }


def test_an_agent_outside_says_why() -> None:
    found = explain_datacenters(None, "east")
    assert isinstance(found, dict)
    assert str(found["Pool"]).startswith("none")
