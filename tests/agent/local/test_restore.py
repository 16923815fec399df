"""What of the files still counts after a restart."""

from __future__ import annotations

from dataclasses import replace

from agent.config.schema import AgentConfig
from agent.definitions import CheckDefinition
from agent.local.restore import config_check_ids, config_service_ids, restore, resumed
from agent.local.services import LocalCheck, LocalService
from agent.local.stored import KeptState, Loaded
from raftstore.records import Check, CheckId, Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST, ttl, web


def service(id_: str) -> LocalService:
    return LocalService(record=Service(node=HOST, id=ServiceId(id_), name=ServiceName(id_)))


def check(id_: str, owner: str = "") -> LocalCheck:
    record = Check(node=HOST, id=CheckId(id_), service_id=ServiceId(owner))
    return LocalCheck(record=record, definition=ttl(id_, service_id=ServiceId(owner)))


def test_what_the_configuration_defines_now_is_dropped_from_disk() -> None:
    loaded = Loaded((service("a"), service("b")), (check("x", "a"), check("y")), ())
    restored = restore(
        loaded, config_services={ServiceId("a")}, config_checks={CheckId("y")}, unix_now=0.0
    )
    assert [s.record.id for s in restored.services] == ["b"]
    assert [c.record.id for c in restored.checks] == ["x"]  # its service is there, from a file
    assert restored.purge.gone_services == ("a",) and restored.purge.now_in_files == ("y",)


def test_a_check_without_its_service_is_dropped() -> None:
    loaded = Loaded((), (check("x", "gone"),), ())
    restored = restore(loaded, config_services=(), config_checks=(), unix_now=0.0)
    assert restored.checks == () and restored.purge.gone_checks == ("x",)


def test_ttl_state_counts_until_it_expires() -> None:
    state = KeptState(check_id=CheckId("x"), status="passing", output="o", expires_at=100.0)
    loaded = Loaded((), (check("x"),), (state,))
    alive = restore(loaded, config_services=(), config_checks=(), unix_now=70.0)
    assert (alive.checks[0].record.status, alive.checks[0].record.output) == ("passing", "o")
    assert alive.ttl_left_s == {"x": 30.0}
    expired = restore(loaded, config_services=(), config_checks=(), unix_now=100.0)
    assert expired.checks[0].record.status == "critical" and not expired.ttl_left_s


def test_a_state_without_its_check_is_dropped() -> None:
    states = tuple(
        KeptState(check_id=CheckId(key), status="passing", output="", expires_at=0.0)
        for key in ("x", "filed", "gone")
    )
    loaded = Loaded((), (check("x"),), states)
    restored = restore(loaded, config_services=(), config_checks={CheckId("filed")}, unix_now=0.0)
    assert restored.purge.gone_checks == ("gone",)


def probed(**fields) -> LocalCheck:
    record = Check(node=HOST, id=CheckId("x"), status=fields.get("status", "critical"))
    definition = CheckDefinition(id=CheckId("x"), tcp="h:1", interval_s=1.0, **fields)
    return LocalCheck(record=record, definition=definition)


def test_what_a_probe_saw_last_counts_until_it_looks_again() -> None:
    seen = KeptState(check_id=CheckId("x"), status="warning", output="o", expires_at=0.0)
    loaded = Loaded((), (probed(status="passing"),), (seen,))
    restored = restore(loaded, config_services=(), config_checks=(), unix_now=1e9)
    assert (restored.checks[0].record.status, restored.checks[0].record.output) == ("warning", "o")
    assert not restored.ttl_left_s


def test_the_status_that_a_file_gives_beats_what_a_probe_saw() -> None:
    seen = KeptState(check_id=CheckId("x"), status="critical", output="o", expires_at=0.0)
    given = replace(probed(status="passing"), source="local")
    assert resumed(given, seen, 0.0) == (given, 0.0)
    silent = replace(probed(), source="local")
    assert resumed(silent, seen, 0.0)[0].record.output == "o"


def test_ids_of_the_configuration_include_those_of_sidecars() -> None:
    definition = web(checks=(ttl(),), sidecar=web(name=ServiceName("")))
    config = AgentConfig(node_name="n", services=(definition,), checks=(ttl("alone"),))
    assert config_service_ids(config) == {"web", "web-sidecar-proxy"}
    ids = config_check_ids(config)
    assert {
        "alone",
        "service:web",
        "service:web-sidecar-proxy:1",
        "service:web-sidecar-proxy:2",
    } <= ids
    own = replace(definition, sidecar=web(name=ServiceName(""), checks=(ttl("mine"),)))
    assert "mine" in config_check_ids(replace(config, services=(own,)))
