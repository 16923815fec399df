"""What is known of this host."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from agent import host_facts
from agent.host_facts import host_facts as collected


def test_the_host_is_described(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(collected(str(tmp_path))))
    assert facts["Errors"] is None
    assert 0 < facts["Memory"]["available"] <= facts["Memory"]["total"]
    assert 0 <= facts["Disk"]["usedPercent"] <= 100 and facts["Disk"]["path"] == str(tmp_path)
    assert facts["Host"]["hostname"] == socket.gethostname() and facts["Host"]["procs"] > 0
    assert facts["CPU"][0]["cpu"] == 0
    assert facts["CollectionTime"] > 1e18


def test_what_cannot_be_read_is_an_error_and_the_rest_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> None:
        raise FileNotFoundError("no such file: /proc/meminfo")

    monkeypatch.setattr(host_facts, "memory", gone)
    facts = collected("/no/such/folder")
    assert (facts["Memory"], facts["Disk"]) == (None, None)
    assert len(facts["Errors"]) == 2 and facts["Host"]["kernelVersion"]
