"""From a definition to what is registered, and what the agent's policy refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.definitions import CheckDefinition
from agent.errors import RequestError
from agent.local.registration import build_check, build_service
from raftstore.records import CheckId, ServiceId, ServiceName
from tests.agent.local.parts import local_state, policy, ttl, web

SCRIPT = CheckDefinition(name="s", args=("true",), interval_s=10.0)


def test_a_service_brings_its_sidecar_and_all_checks() -> None:
    definition = web(port=80, checks=(ttl(),), sidecar=web(name=ServiceName("")))
    built = build_service(definition, policy(), local_state(), "remote")
    assert [(s.record.id, s.sidecar) for s in built.services] == [
        ("web", False),
        ("web-sidecar-proxy", True),
    ]
    assert [c.record.id for c in built.checks] == [
        "service:web",
        "service:web-sidecar-proxy:1",
        "service:web-sidecar-proxy:2",
    ]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "remote",
            "Scripts are disabled on this agent from remote calls; to enable, configure "
            "'enable_script_checks' to true",
        ),
        (
            "local",
            "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
            "'enable_local_script_checks' to true",
        ),
    ],
)
def test_scripts_are_refused_unless_they_are_enabled(source, text) -> None:
    state = local_state()
    for check in (SCRIPT, replace(SCRIPT, docker_container_id="x")):
        with pytest.raises(RequestError) as refused:
            build_check(check, policy(), state, source)
        assert (refused.value.status, refused.value.text) == (500, text)
    allowed = policy(scripts_by_request=True, scripts_by_file=True)
    assert build_check(SCRIPT, allowed, state, source).checks[0].record.type == "script"


def test_files_may_be_allowed_scripts_that_requests_may_not() -> None:
    by_file = policy(scripts_by_file=True)
    build_check(SCRIPT, by_file, local_state(), "local")
    with pytest.raises(RequestError):
        build_check(SCRIPT, by_file, local_state(), "remote")


def test_a_check_of_an_unknown_service_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        build_check(ttl("c", service_id=ServiceId("nope")), policy(), local_state(), "remote")
    assert (refused.value.status, refused.value.text) == (500, 'ServiceID "nope" does not exist')


def test_what_cannot_be_run_is_refused_instead_of_never_running() -> None:
    check = CheckDefinition(name="c", interval_s=1.0, os_service="x")
    with pytest.raises(RequestError, match="not supported on this platform"):
        build_check(check, policy(), local_state(), "remote")


def test_registering_again_keeps_status_and_output() -> None:
    state = local_state()
    first = build_check(ttl("c"), policy(), state, "remote").checks[0]
    state.put_check(first, 0.0)
    state.update_check(CheckId("c"), "passing", "fine", 1.0)
    again = build_check(ttl("c", notes="new"), policy(), state, "remote").checks[0]
    assert (again.record.status, again.record.output) == ("passing", "fine")
    assert again.record.notes == "new"


def test_short_times_are_raised_with_a_warning() -> None:
    check = CheckDefinition(
        name="c", tcp="x:1", interval_s=0.01, deregister_critical_service_after_s=10.0
    )
    built = build_check(check, policy(), local_state(), "remote")
    assert built.checks[0].definition.deregister_critical_service_after_s == 60.0
    assert len(built.warnings) == 2


def test_a_name_that_dns_cannot_carry_is_only_warned_about() -> None:
    built = build_service(web(name=ServiceName("a_b")), policy(), local_state(), "remote")
    assert built.services and "not be discoverable via DNS" in built.warnings[0]


def test_an_agent_holds_no_more_than_its_limit() -> None:
    with pytest.raises(RequestError, match="maximum of 1 services"):
        build_service(
            web(port=1, sidecar=web(name=ServiceName(""))),
            policy(services_max=1),
            local_state(),
            "remote",
        )
    with pytest.raises(RequestError, match="maximum of 0 checks"):
        build_check(ttl("c"), policy(checks_max=0), local_state(), "remote")


def test_a_server_keeps_the_id_of_its_own_service() -> None:
    with pytest.raises(RequestError, match="kept for the servers"):
        build_service(web(name=ServiceName("consul")), policy(server=True), local_state(), "remote")
