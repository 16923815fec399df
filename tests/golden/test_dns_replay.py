"""The recorded DNS scenarios against a whole agent: HTTP in, DNS out, one process a configuration."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.cluster import fresh_address
from tests.golden import dns_scenarios

pytestmark = [pytest.mark.e2e, pytest.mark.replay]
player = dns_scenarios.load_player()
PROGRAM = Path(sys.executable).parent / "lictor"


def cases() -> list[Any]:
    """All scenarios, those of one configuration side by side."""
    found = []
    for name in dns_scenarios.names():
        group = dns_scenarios.scenario(name).get("config", "default")
        reason = dns_scenarios.NOT_YET.get(name)
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found.append(pytest.param((group, name), id=f"{group}-{name}", marks=marks))
    return sorted(found, key=lambda case: str(case.id))


class Agents:
    """One agent at a time, kept as long as the same configuration is wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._group = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._addresses: tuple[str, tuple[str, int]] | None = None
        self._broken: dict[str, str] = {}
        self._upstreams: list[Any] = []

    def get(self, group: str) -> tuple[str, tuple[str, int]]:
        """The HTTP address and the DNS address of an agent with this configuration."""
        if group in self._broken:
            pytest.fail(self._broken[group])
        if group != self._group or self._addresses is None:
            self.stop()
            self._start(group)
        assert self._addresses is not None
        return self._addresses

    def _start(self, group: str) -> None:
        # The usual ports, as recorded, on an address that no other agent of this machine has.
        address = fresh_address()
        for upstream, zone in dns_scenarios.upstreams(group, address).items():
            self._upstreams.append(player.Upstream(upstream, zone))
        config = dns_scenarios.config(group, address) | {
            "node_name": "Gold-Host",
            "bind_addr": address,
            "client_addr": address,
            "advertise_addr": "127.0.0.1",
        }
        path = self._folder / f"{group}.json"
        path.write_text(json.dumps(config))
        log_path = self._folder / f"{group}.log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "agent", "-dev", "-config-file", path], stdout=log, stderr=log
            )
        self._group = group
        base = f"http://{address}:8500"
        self._addresses = (base, (address, 8600))
        if not self._ready(base, dns_scenarios.headers(group)):
            last = log_path.read_text().strip().splitlines()[-1:]
            self._broken[group] = f"the agent does not start: {last}"
            self.stop()
            pytest.fail(self._broken[group])

    def _ready(self, base: str, headers: dict[str, str] | None) -> bool:
        """Whether the agent came up; False as soon as its process has ended."""
        assert self._process is not None
        for _ in range(40):
            try:
                player.wait_ready(player.Http(base), headers, limit=0.5)
            except RuntimeError:
                if self._process.poll() is not None:
                    return False
            else:
                return True
        raise AssertionError(f"the agent at {base} is up but never becomes ready")

    def stop(self) -> None:
        for upstream in self._upstreams:
            upstream.close()
        self._upstreams.clear()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self._addresses = None


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    with tempfile.TemporaryDirectory() as folder:
        running = Agents(Path(folder))
        yield running
        running.stop()


@pytest.mark.parametrize("case", cases())
def test_an_agent_answers_as_recorded(
    case: tuple[str, str], agents: Agents, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group, name = case
    base, dns_address = agents.get(group)
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(dns_scenarios.scenario(name)))
    arguments = SimpleNamespace(no_quirks=False, record=False, verbose=False)
    _, failed = player.play(
        str(path), player.Http(base), dns_address, arguments, dns_scenarios.headers(group)
    )
    assert failed == 0, capsys.readouterr().out
