"""The os_service check, with a program in the place of systemctl."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.definitions import CheckDefinition
from agent.errors import RequestError
from agent.local.checks import os_service
from agent.local.checks.os_service import judge, probe_os_service
from agent.local.validate import refuse_unsupported


def check(unit: str, **fields) -> CheckDefinition:
    return CheckDefinition(os_service=unit, interval_s=1.0, **fields)


def words_of(systemctl: Path) -> list[str]:
    """What it was asked, if it was."""
    asked = Path(f"{systemctl}.asked")
    return asked.read_text().split() if asked.exists() else []


@pytest.fixture
def systemctl(tmp_path, monkeypatch) -> Path:
    program = tmp_path / "systemctl"
    program.write_text(
        '#!/bin/sh\necho "$@" > "$0.asked"\necho LoadState=loaded\necho ActiveState=active\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return program


async def test_an_active_unit_passes(systemctl) -> None:
    result = await probe_os_service(check("nginx@a.service"))
    assert (result.status, result.output) == ("passing", 'Service "nginx@a.service" is active')
    asked = words_of(systemctl)
    assert asked[0] == "show" and asked[-2:] == ["--", "nginx@a.service"]


@pytest.mark.parametrize(
    ("said", "status", "output"),
    [
        ("LoadState=loaded\nActiveState=activating\n", "warning", 'Service "x" is activating'),
        ("LoadState=loaded\nActiveState=failed\n", "critical", 'Service "x" is failed'),
        ("LoadState=loaded\nActiveState=inactive\n", "critical", 'Service "x" is inactive'),
        (
            "LoadState=not-found\nActiveState=inactive\n",
            "critical",
            'Service "x" is not known to systemd',
        ),
        ("Failed to connect to bus\n", "critical", "systemctl: Failed to connect to bus"),
        ("", "critical", "systemctl: "),
    ],
    ids=["on its way", "failed", "inactive", "unknown", "no bus", "nothing"],
)
def test_the_state_decides(said: str, status: str, output: str) -> None:
    result = judge("x", said)
    assert (result.status, result.output) == (status, output)


@pytest.mark.parametrize("unit", ["-x", "a b", "a;b", ""], ids=["option", "space", "shell", "none"])
async def test_what_is_no_unit_is_not_asked_about(unit, systemctl) -> None:
    assert (await probe_os_service(check(unit))).status == "critical"
    assert words_of(systemctl) == []


async def test_one_that_does_not_answer_is_ended(systemctl) -> None:
    systemctl.write_text("#!/bin/sh\nexec sleep 60\n")
    result = await probe_os_service(check("x", timeout_s=0.2))
    assert result.timed_out and result.output == "systemctl did not answer in time"


async def test_without_the_program_it_is_critical(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = await probe_os_service(check("x"))
    assert result.status == "critical" and result.output.startswith("systemctl cannot be run: ")


def test_it_is_refused_where_systemd_does_not_run(tmp_path, monkeypatch) -> None:
    with pytest.raises(RequestError, match="not supported on this platform"):
        refuse_unsupported(check("x"), os_services=False)
    refuse_unsupported(check("x"), os_services=True)
    monkeypatch.setattr(os_service, "BOOTED", tmp_path)
    assert os_service.systemd_runs()
    monkeypatch.setattr(os_service, "BOOTED", tmp_path / "nothing")
    assert not os_service.systemd_runs()
