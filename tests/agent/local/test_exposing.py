"""Which checks go through a sidecar, and what is asked then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.definitions import CheckDefinition
from agent.local.exposing import GRPC_PATH, ExposePorts, Exposing, exposable
from raftstore.records import CheckId, ExposePath, Service, ServiceId, ServiceName

WEB = ServiceId("web")
PROXY = Service(id=ServiceId("web-proxy"), name=ServiceName("web-proxy"))


def check(id_: str = "c", **fields: Any) -> CheckDefinition:
    return CheckDefinition(id=CheckId(id_), interval_s=1.0, **fields)


def exposing(lowest: int = 21500, highest: int = 21502, address: str = "") -> Exposing:
    return Exposing(ExposePorts(lowest, highest, address))


@pytest.mark.parametrize(
    ("given", "asked", "path"),
    [
        (
            {"http": "http://localhost:8080/health?full=1"},
            {"http": "http://127.0.0.1:21500/health?full=1"},
            ("/health", 8080, "http"),
        ),
        ({"http": "http://10.0.0.1"}, {"http": "http://127.0.0.1:21500"}, ("/", 80, "http")),
        (
            {"grpc": "127.0.0.1:9000/some.Service"},
            {"grpc": "127.0.0.1:21500/some.Service"},
            (GRPC_PATH, 9000, "http2"),
        ),
        ({"grpc": "[::1]:9000"}, {"grpc": "127.0.0.1:21500"}, (GRPC_PATH, 9000, "http2")),
    ],
)
def test_a_check_is_asked_through_its_port(given: Any, asked: Any, path: Any) -> None:
    ways = exposing()
    one = check(**given)
    assert ways.follow(WEB, [one], PROXY) == ("c",)
    for name, value in asked.items():
        assert getattr(ways.asked(one), name) == value
    local, port, protocol = path
    assert ways.paths(WEB) == (
        ExposePath(path=local, listener_port=21500, local_path_port=port, protocol=protocol),
    )


@pytest.mark.parametrize(
    "given",
    [
        {"http": "https://localhost:8443/"},
        {"http": "http://localhost:99999/"},
        {"http": "http://[broken/"},
        {"grpc": "127.0.0.1:9000", "grpc_use_tls": True},
        {"grpc": "no-port"},
        {"tcp": "127.0.0.1:1"},
        {"ttl_s": 1.0},
    ],
)
def test_what_cannot_go_through_a_port_in_the_clear_is_asked_as_before(given: Any) -> None:
    ways, one = exposing(), check(**given)
    assert not exposable(one)
    assert ways.follow(WEB, [one], PROXY) == ()
    assert ways.asked(one) is one and ways.port(one.id) == 0


def test_where_the_sidecar_listens_is_asked() -> None:
    one = check(http="http://localhost:1/")
    ways = exposing(address="10.9.9.9")
    ways.follow(WEB, [one], PROXY)
    assert ways.asked(one).http == "http://10.9.9.9:21500/"
    given = Service(id=PROXY.id, name=PROXY.name, address="fd00::1")
    assert ways.follow(WEB, [one], given) == ("c",)
    assert ways.asked(one).http == "http://[fd00::1]:21500/"


def test_ports_stay_are_no_others_and_run_out() -> None:
    ways = exposing()
    a, b, c = (check(name, http="http://localhost:1/") for name in "abc")
    ways.follow(WEB, [a, b], PROXY, lambda: {21501})
    assert (ways.port(a.id), ways.port(b.id)) == (21500, 21502)
    assert ways.follow(WEB, [c, b], PROXY, lambda: {21501}) == ("a",)
    assert (ways.port(c.id), ways.port(b.id)) == (0, 21502)
    assert ways.follow(WEB, [c, b], PROXY) == ("c",)
    assert ways.follow(WEB, [c, b], None) == ("c", "b")
    assert ways.paths(WEB) == ()
    off = exposing(0, 0)
    assert off.follow(WEB, [a], PROXY) == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["x", "y"]), st.sets(st.sampled_from("abcdef")), st.booleans()),
        max_size=12,
    )
)
def test_no_two_checks_have_one_port(steps: list[tuple[str, set[str], bool]]) -> None:
    ways = exposing(21500, 21508)
    held: dict[str, list[CheckDefinition]] = {}
    for owner, names, on in steps:
        checks = [check(f"{owner}{name}", http="http://localhost:1/") for name in sorted(names)]
        held[owner] = checks if on else []
        ways.follow(ServiceId(owner), checks, PROXY if on else None)
        ports = [ways.port(one.id) for several in held.values() for one in several]
        given_out = [port for port in ports if port]
        assert len(set(given_out)) == len(given_out)
        assert len(given_out) == min(len(ports), 9) or 0 in ports
