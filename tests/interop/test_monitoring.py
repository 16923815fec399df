"""Monitoring that finds its targets through Consul follows what is registered here."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, fresh_address
from tests.interop.clients import program
from tests.ports import free_port
from tests.waiting import eventually

pytestmark = pytest.mark.interop

#: How long a change may take to be seen: the programs ask every second, on a busy machine.
SEEN_S = 30.0
CONSUL_SD = "consul_sd_configs: [{{server: '{}:8500', services: [watched]}}]"
#: Debian's Prometheus is built without discovery by Consul, so it takes our own.
HTTP_SD = (
    "http_sd_configs: [{{url: 'http://{}:8500/v1/discovery/prometheus?service=watched',"
    " refresh_interval: 1s}}]"
)
SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: found
    {discovery}
    relabel_configs:
      - {{source_labels: [__meta_consul_service_id], target_label: id}}
      - {{source_labels: [__meta_consul_tags], target_label: tags}}
"""


@contextlib.contextmanager
def running(folder: Path, *command: str) -> Iterator[None]:
    """A foreign program for the time of the block; its output is shown when the block fails."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield
        except BaseException:
            print((folder / "log").read_text(errors="replace")[-3000:])
            raise
        finally:
            process.kill()
            process.wait(10)


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def register(agent: AgentProcess, number: int, port: int) -> None:
    agent.put(
        "/v1/agent/service/register",
        {"Name": "watched", "ID": f"watched-{number}", "Address": agent.address, "Port": port,
         "Tags": ["blue"], "Meta": {"rack": "r1"}},
    )  # fmt: skip


def follow(agent: AgentProcess, targets: str) -> None:
    """Instances come, change and go; ``targets`` is where the program shows what it scrapes."""

    def seen() -> dict[str, str]:
        active = fetch(targets)["data"]["activeTargets"]
        return {each["labels"]["id"]: each["labels"]["instance"] for each in active}

    def shows(expected: dict[int, int]) -> None:
        wanted = {f"watched-{n}": f"{agent.address}:{port}" for n, port in expected.items()}
        eventually(lambda: seen() == wanted, within_s=SEEN_S, what=f"{wanted} seen")

    register(agent, 1, 7001)
    shows({1: 7001})
    register(agent, 2, 7002)
    shows({1: 7001, 2: 7002})
    register(agent, 1, 7003)
    shows({1: 7003, 2: 7002})
    for number in (1, 2):
        agent.put(f"/v1/agent/service/deregister/watched-{number}")
    shows({})


@pytest.mark.skipif(program("vmagent") is None, reason="victoria-metrics is not installed")
def test_vmagent(open_agent: AgentProcess, tmp_path: Path) -> None:
    config = tmp_path / "scrape.yml"
    config.write_text(SCRAPE.format(discovery=CONSUL_SD.format(open_agent.address)))
    listen = f"{fresh_address()}:{free_port()}"
    command = (
        str(program("vmagent")), f"-promscrape.config={config}", f"-httpListenAddr={listen}",
        f"-remoteWrite.url=http://{listen}/none", f"-remoteWrite.tmpDataPath={tmp_path / 'data'}",
        "-promscrape.consulSDCheckInterval=1s",
    )  # fmt: skip
    with running(tmp_path, *command):
        follow(open_agent, f"http://{listen}/api/v1/targets")


@pytest.mark.long
@pytest.mark.skipif(program("prometheus") is None, reason="prometheus is not installed")
def test_prometheus(open_agent: AgentProcess, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    discovery = HTTP_SD.format(open_agent.address)
    config.write_text(SCRAPE.format(discovery=discovery))
    listen = f"{fresh_address()}:{free_port()}"
    command = (
        str(program("prometheus")), f"--config.file={config}",
        f"--web.listen-address={listen}", f"--storage.tsdb.path={tmp_path / 'data'}",
    )  # fmt: skip
    with running(tmp_path, *command):
        follow(open_agent, f"http://{listen}/api/v1/targets?state=active")
