"""Playbooks of a connection's state machine: what happens, and what the core then wants."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.authz import Policy
from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.connection import Connection, Inbound, Outbound, Phase
from proxy.effects import (
    Abort,
    Close,
    CloseWrite,
    Dial,
    Effect,
    HangUp,
    Record,
    Side,
    StartRelay,
)
from proxy.source import AppAddress, Endpoint
from proxy.spiffe import SpiffeId
from tests.proxy.mesh import TRUST_DOMAIN, rule
from tests.strategies import scaled

CONFIG = ProxyConfig(handshake_timeout_s=10.0, local_connect_timeout_s=5.0, dial_attempts_max=3)
APP = AppAddress("127.0.0.1", 8080)
DOWN, UP = Side.DOWNSTREAM, Side.UPSTREAM


def peer(name: str = "web", trust_domain: str = TRUST_DOMAIN) -> PeerCertificate:
    return PeerCertificate(SpiffeId.service(trust_domain, "dc1", name), 1, 1e12)


def policy(*rules: object, default_allow: bool = True) -> Policy:
    return Policy(
        destination="db",
        trust_domain=TRUST_DOMAIN,
        rules=rules,  # type: ignore[arg-type]
        default_allow=default_allow,
    )


def inbound() -> Inbound:
    return Inbound(destination="db", app=APP, config=CONFIG, now=100.0)


def relaying() -> Inbound:
    core = inbound()
    core.secured(peer(), policy=policy(), now=101.0)
    core.dialled(None, now=102.0)
    return core


def events(effects: list[Effect]) -> list[object]:
    return [(each.event, each.reason) if isinstance(each, Record) else each for each in effects]


def test_an_allowed_client_leads_to_a_dial_and_then_to_the_relay() -> None:
    core = inbound()
    assert (core.phase, core.deadline) == (Phase.HANDSHAKE, 110.0)
    assert core.start(now=100.0) == []
    assert core.secured(peer(), policy=policy(), now=101.0) == [Dial(APP)]
    assert (core.phase, core.deadline) == (Phase.DIALLING, 106.0)
    assert core.dialled(None, now=102.0) == [StartRelay()]
    assert (core.phase, core.deadline) == (Phase.RELAYING, None)


def test_a_denied_client_is_closed_in_order_and_nothing_is_dialled() -> None:
    core = inbound()
    effects = core.secured(peer(), policy=policy(rule("web", "db", "deny")), now=101.0)
    assert events(effects) == [
        ("denied", "intention_denied"),
        Close("intention_denied", CONFIG.linger_s),
    ]
    record = effects[0]
    assert isinstance(record, Record)
    assert (record.destination, record.source) == ("db", peer().identity.uri)
    assert record.detail.startswith("Matched L4 intention: default/web => default/db")
    assert (core.phase, core.deadline) == (Phase.ENDED, None)


def test_no_handshake_in_time_is_an_abort() -> None:
    core = inbound()
    assert core.tick(now=109.9) == []
    assert events(core.tick(now=110.0)) == [
        ("handshake", "handshake_timeout"),
        Abort("handshake_timeout"),
    ]


def test_a_failed_handshake_is_closed_so_that_the_alert_arrives() -> None:
    core = inbound()
    assert events(core.insecure("expired", "certificate has expired", now=101.0)) == [
        ("handshake", "expired"),
        Close("expired", CONFIG.linger_s),
    ]


def test_an_application_that_refuses_or_hangs_closes_the_connection() -> None:
    for hangs in (False, True):
        core = inbound()
        core.secured(peer(), policy=policy(), now=101.0)
        effects = (
            core.tick(now=106.0)
            if hangs
            else core.dial_failed("connect_failure", "refused", now=102.0)
        )
        assert events(effects) == [
            ("dial", "local_connect_failure"),
            Close("local_connect_failure", CONFIG.linger_s),
        ]


def test_one_end_of_stream_is_passed_on_and_the_second_finishes() -> None:
    for first in (DOWN, UP):
        core = relaying()
        assert core.over(first, now=103.0) == [CloseWrite(first.other)]
        assert core.phase is Phase.RELAYING
        assert core.over(first, now=103.0) == []
        assert core.over(first.other, now=104.0) == [
            CloseWrite(first),
            Close("finished", CONFIG.flush_max_s),
        ]
        assert core.phase is Phase.ENDED


def test_a_broken_half_resets_the_other() -> None:
    core = relaying()
    assert core.lost(UP, "connection_reset", now=103.0) == [Abort("connection_reset")]
    assert core.lost(DOWN, "closed", now=103.0) == []


def test_new_rules_cut_a_relayed_connection_in_the_same_step() -> None:
    core = relaying()
    assert core.rules_changed(policy(rule("web", "db", "allow")), now=103.0) == []
    assert events(core.rules_changed(policy(rule("web", "db", "deny")), now=104.0)) == [
        ("cut", "intention_changed"),
        Close("intention_changed", CONFIG.linger_s),
    ]
    assert core.rules_changed(policy(rule("web", "db", "deny")), now=105.0) == []


def test_new_rules_cut_a_connection_that_still_dials_and_its_late_dial_is_hung_up() -> None:
    core = inbound()
    core.secured(peer(), policy=policy(), now=101.0)
    assert Close("intention_changed", CONFIG.linger_s) in core.rules_changed(
        policy(default_allow=False), now=102.0
    )
    assert core.dialled(None, now=103.0) == [HangUp()]


def test_a_changed_default_cuts_who_was_let_in_by_default() -> None:
    core = relaying()
    assert events(core.rules_changed(policy(default_allow=False), now=103.0))[0] == (
        "cut",
        "intention_changed",
    )


def test_a_drain_gives_time_and_then_resets() -> None:
    core = relaying()
    assert core.drain(30.0, now=200.0) == []
    assert core.tick(now=229.0) == []
    assert core.tick(now=230.0) == [Abort("drain_timeout")]


# Outbound.

ENDPOINTS = [Endpoint(address="10.0.0.1", port=1), Endpoint(address="10.0.0.2", port=2)]


def outbound(endpoints: list[Endpoint] = ENDPOINTS) -> Outbound:
    return Outbound(
        upstream="db", expected=peer("db").identity, candidates=endpoints, config=CONFIG
    )


def test_the_right_service_is_relayed_to() -> None:
    core = outbound()
    assert core.start(now=1.0) == [Dial(ENDPOINTS[0])]
    assert core.deadline == 6.0
    assert core.dialled(peer("db"), now=2.0) == [StartRelay()]
    assert core.deadline is None


def test_another_identity_is_hung_up_on_and_the_next_endpoint_is_dialled() -> None:
    for wrong in (peer("evil"), peer("db", "other.consul"), None):
        core = outbound()
        core.start(now=1.0)
        assert events(core.dialled(wrong, now=2.0)) == [
            ("identity", "bad_san"),
            HangUp(),
            Dial(ENDPOINTS[1]),
        ]


def test_when_every_endpoint_has_failed_the_connection_is_closed() -> None:
    core = outbound()
    core.start(now=1.0)
    assert events(core.dial_failed("connect_failure", "x", now=2.0)) == [
        ("dial", "connect_failure"),
        HangUp(),
        Dial(ENDPOINTS[1]),
    ]
    assert core.deadline == 7.0
    assert events(core.tick(now=7.0)) == [
        ("dial", "timeout"),
        HangUp(),
        ("dial", "upstream_connect_failure"),
        Close("upstream_connect_failure", CONFIG.linger_s),
    ]


def test_without_an_endpoint_nothing_is_dialled() -> None:
    core = outbound([])
    assert events(core.start(now=1.0)) == [
        ("dial", "no_healthy_endpoint"),
        Close("no_healthy_endpoint", CONFIG.linger_s),
    ]


def test_no_more_endpoints_are_tried_than_allowed() -> None:
    core = outbound([Endpoint(address="10.0.0.9", port=port) for port in range(1, 100)])
    dials = [each for each in core.start(now=1.0) if isinstance(each, Dial)]
    while core.phase is Phase.DIALLING:
        effects = core.dial_failed("connect_failure", "", now=2.0)
        dials += [each for each in effects if isinstance(each, Dial)]
    assert len(dials) == CONFIG.dial_attempts_max


# Every order of events.

STEPS = st.lists(
    st.sampled_from(
        [
            "start", "secured", "insecure", "dialled", "dial_failed", "over_down", "over_up",
            "lost_down", "lost_up", "allow", "deny", "drain", "tick", "revoked",
        ]
    ),
    max_size=30,
)  # fmt: skip


def step(core: Connection, name: str, now: float) -> list[Effect]:
    match name:
        case "start":
            return core.start(now=now)
        case "secured":
            return core.secured(peer(), policy=policy(), now=now)
        case "insecure":
            return core.insecure("expired", "", now=now)
        case "dialled":
            return core.dialled(peer("db"), now=now)
        case "dial_failed":
            return core.dial_failed("connect_failure", "", now=now)
        case "over_down" | "over_up":
            return core.over(DOWN if name.endswith("down") else UP, now=now)
        case "lost_down" | "lost_up":
            return core.lost(DOWN if name.endswith("down") else UP, "reset", now=now)
        case "allow" | "deny":
            return core.rules_changed(policy(default_allow=name == "allow"), now=now)
        case "drain":
            return core.drain(1.0, now=now)
        case "revoked":
            return core.revoked("why")
        case _:
            return core.tick(now=now)


PAUSES = st.lists(st.sampled_from((0.1, 1.0, 5.0)), min_size=30, max_size=30)


@settings(max_examples=scaled(150), deadline=None)
@given(STEPS, st.booleans(), PAUSES)
def test_a_connection_ends_once_and_does_nothing_afterwards(
    steps: list[str], is_inbound: bool, pauses: list[float]
) -> None:
    core: Connection = inbound() if is_inbound else outbound()
    now, ends, relays = 100.0, 0, 0
    for name, pause in zip(steps, pauses, strict=False):
        if name == "start" and not is_inbound and core.deadline is not None:
            continue  # a shell starts a connection once
        now += pause
        ended_before = core.phase is Phase.ENDED
        effects = step(core, name, now)
        if ended_before:
            assert all(isinstance(each, HangUp) for each in effects)
        ends += sum(isinstance(each, Close | Abort) for each in effects)
        relays += sum(isinstance(each, StartRelay) for each in effects)
        assert ends <= 1
        assert relays <= 1
        assert (core.phase is Phase.ENDED) == (ends == 1)
        if core.phase is Phase.ENDED:
            assert core.deadline is None
        if name == "deny" and is_inbound and core.peer is not None:
            assert core.phase is Phase.ENDED
