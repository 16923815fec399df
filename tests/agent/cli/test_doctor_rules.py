"""What facts mean: each trouble is told at its bound, with a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from agent.cli import doctor_rules as rules
from agent.cli.doctor_rules import Finding, Level
from agent.config.sockaddr import Interface

LO = Interface(name="lo", address="127.0.0.1", prefix_length=8, loopback=True)
ETH = Interface(name="eth0", address="10.0.0.5", prefix_length=24, default=True)
PUBLIC = Interface(name="eth1", address="8.8.4.4", prefix_length=24)


def levels(found: Iterable[Finding]) -> list[str]:
    findings = list(found)
    for finding in findings:
        assert finding.says
        assert bool(finding.fix) or finding.level in {Level.OK, Level.NOTE}, finding
    return [finding.level.value for finding in findings]


def ring(heard: int, *off_s: float | None, **more: Any) -> dict[str, Any]:
    members = [
        {"Name": f"n{at}", "Heard": at < heard, "ClockOff_s": value}
        for at, value in enumerate(off_s)
    ]
    return {"Asked": len(off_s), "Heard": heard, "Members": members, **more}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ring(0), ["note"]),
        (ring(2, 0.0, 0.0), ["ok"]),
        (ring(1, 0.0, None), ["warn"]),
        (ring(0, None, None), ["FAIL"]),
        (ring(1, 0.0, Error="no"), ["warn"]),
        (ring(1, 0.0, Probes=1000, ProbesOnlyByTCP=10), ["ok"]),
        (ring(1, 0.0, Probes=1000, ProbesOnlyByTCP=11), ["ok", "warn"]),
    ],
    ids=["alone", "all", "some", "nobody", "cannot ask", "few by tcp", "many by tcp"],
)
def test_packets(found: dict[str, Any], expected: list[str]) -> None:
    assert levels(rules.reachability(found)) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"Version": "1.0", "ProgramReplaced": False}, "ok"),
        ({"Version": "0.9", "ProgramReplaced": False}, "note"),
        ({"Version": "1.0", "ProgramReplaced": True, "Pid": 7}, "warn"),
        ({}, "note"),
    ],
    ids=["same", "other version", "replaced", "says nothing"],
)
def test_the_program(found: dict[str, Any], expected: str) -> None:
    assert levels(rules.program(found, "1.0")) == [expected]


@pytest.mark.parametrize(
    ("off_s", "level", "says"),
    [
        ((None,), "", ""),
        ((0.0, 0.49), "ok", "2 other clocks agree"),
        ((0.0, 0.0, 0.5), "warn", "n2 is ahead by at least 0.5 s"),
        ((0.0, 0.0, -6.0), "FAIL", "n2 is behind by at least 6.0 s"),
        ((6.0, 6.0, 0.0), "FAIL", "this host's clock is at least 6.0 s behind most"),
        ((-1.0, -1.0, 0.0), "warn", "this host's clock is at least 1.0 s ahead of most"),
        ((6.0,), "FAIL", "n0 is ahead"),
    ],
)
def test_clocks(off_s: tuple[float | None, ...], level: str, says: str) -> None:
    found = list(rules.clocks(ring(len(off_s), *off_s)))
    assert levels(found) == ([level] if level else [])
    assert not says or says in found[0].says


@pytest.mark.parametrize(
    ("advertised", "interfaces", "others", "level"),
    [
        ("10.0.0.5", [LO, ETH], ["10.0.0.6"], "ok"),
        ("127.0.0.1", [LO], [], "ok"),
        ("127.0.0.2", [LO], ["127.0.0.3"], "ok"),
        ("127.0.0.1", [LO, ETH], ["10.0.0.6"], "FAIL"),
        ("10.9.9.9", [LO, ETH], ["10.0.0.6"], "note"),
        ("8.8.4.4", [LO, ETH, PUBLIC], ["10.0.0.6"], "warn"),
        ("8.8.4.4", [PUBLIC], ["8.8.8.8"], "ok"),
    ],
)
def test_addresses(
    advertised: str, interfaces: list[Interface], others: list[str], level: str
) -> None:
    assert levels(rules.address(advertised, interfaces, others)) == [level]


@pytest.mark.parametrize(
    ("slow_s", "server", "level"),
    [(0.019, True, "ok"), (0.02, True, "warn"), (0.1, True, "FAIL"), (0.1, False, "warn")],
)
def test_disks(slow_s: float, server: bool, level: str) -> None:
    assert levels(rules.disk([0.001] * 36 + [slow_s] * 4, "d", server=server)) == [level]


def test_the_rest() -> None:
    assert levels(rules.leader("")) == ["FAIL"]
    assert levels(rules.clock_source(None)) == []
    assert levels(rules.clock_source(False)) == ["warn"]
    assert levels(rules.disk_space(5, 100, "d")) == ["warn"]
    assert levels(rules.files(65_536, 10, server=True)) == ["ok"]
    assert levels(rules.files(1024, 10, server=True)) == ["warn"]
    assert levels(rules.files(1024, 10, server=False)) == ["ok"]
    assert levels(rules.files(1024, 1000, server=False)) == ["FAIL"]
    assert levels(rules.resolver("no answer", "unknown", "n")) == ["FAIL", "note"]
    assert levels(rules.resolver("", "", "n")) == ["ok", "ok"]
    assert levels(rules.encryption(False)) == ["note"]
