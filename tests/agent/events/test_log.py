"""The last events of an agent, and why others were not kept."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from agent.events.event import PREFIX, UserEvent, encode
from agent.events.log import KEPT, EventLog


@dataclass(frozen=True)
class Told:
    ltime: int
    name: str
    payload: bytes


class Ring:
    """A log and what it sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.log = EventLog("n1", send=lambda *told: self.sent.append(told), now=lambda: 7.0)

    def tell(self, number: int, **changes: str) -> None:
        event = UserEvent(id=f"{number:032x}", name=f"e{number}", **changes)  # type: ignore[arg-type]
        self.log.arrived(Told(number, PREFIX + event.name, encode(event)))

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.log.list(lambda _: True)[0]]


@pytest.fixture
def ring() -> Ring:
    made = Ring()
    made.log.ready(tuple)
    return made


def test_the_last_events_are_kept_oldest_first(ring: Ring) -> None:
    assert ring.log.list(lambda _: True) == ([], 1)
    for number in range(1, KEPT + 4):
        ring.tell(number)
    assert len(ring.names) == KEPT
    assert (ring.names[0], ring.names[-1]) == ("e4", f"e{KEPT + 3}")
    _, index = ring.log.list(lambda event: event.name == "e9")
    assert index == 9


def test_what_is_not_for_us_is_counted_and_explained(ring: Ring) -> None:
    ring.tell(1, node_filter="other")
    ring.log.arrived(Told(2, "deploy", b"v1"))
    ring.log.arrived(Told(3, PREFIX + "x", b"\xc1"))
    ring.tell(4)
    stats = ring.log.stats()
    assert ring.names == ["e4"]
    assert (stats.received, stats.kept) == (4, 1)
    assert {k: n for k, n in stats.passed_over.items() if n} == {
        "node_filter": 1,
        "foreign": 1,
        "malformed": 1,
    }
    explained = ring.log.explain()
    assert [each["Reason"] for each in explained["Last"]] == [  # type: ignore[index, call-overload]
        "",
        "malformed: not msgpack: FormatError",
        "not an event of this API",
        "node filter",
    ]


def test_events_wait_until_it_is_known_what_runs_here() -> None:
    ring = Ring()
    ring.tell(1, service_filter="web")

    class Web:
        name = "web"
        tags = ()

    assert ring.names == []
    ring.log.ready(lambda: [Web()])
    ring.tell(2, service_filter="web")
    assert ring.names == ["e1", "e2"]


def test_who_waits_is_woken_once_by_what_is_kept(ring: Ring) -> None:
    woken: list[int] = []
    ring.log.watch_once(lambda: woken.append(1))
    cancel = ring.log.watch_once(lambda: woken.append(2))
    ring.tell(1, node_filter="other")
    assert woken == []
    cancel()
    ring.tell(2)
    ring.tell(3)
    assert woken == [1]


def test_what_is_fired_goes_to_the_ring_under_consuls_name(ring: Ring) -> None:
    event = UserEvent(id="1", name="deploy", payload=b"x")
    ring.log.fire(event)
    assert ring.sent == [("consul:event:deploy", encode(event))]
    assert ring.log.stats().fired == 1


def test_a_command_is_handed_on_where_it_is_allowed_and_is_never_listed() -> None:
    asked: list[bytes] = []
    ring, other = Ring(), Ring()
    ring.log.ready(tuple, asked.append)
    other.log.ready(tuple)
    for number, filters in enumerate(({}, {"node_filter": "other"}), 1):
        event = UserEvent(id=str(number), name="_rexec", payload=b"job", **filters)
        for each in (ring, other):
            each.log.arrived(Told(number, PREFIX + "_rexec", encode(event)))
    assert asked == [b"job"]
    assert (ring.names, other.names) == ([], [])
    reasons = [
        [each["Reason"] for each in log.explain()["Last"]]  # type: ignore[index, call-overload]
        for log in (ring.log, other.log)
    ]
    assert reasons == [
        ["node filter", "remote execution"],
        ["node filter", "remote execution is disabled"],
    ]
