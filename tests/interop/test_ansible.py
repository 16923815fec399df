"""Ansible's consul modules find what they keep here as they left it: a second run does nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.cluster import AgentProcess
from tests.interop.clients import FOLDER, HERE, PYTHON3_CONSUL
from tests.interop.conftest import SECRET

PLAYBOOKS = FOLDER / "bin" / "ansible-playbook"
COLLECTIONS = FOLDER / "ansible"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not PLAYBOOKS.exists() or not (COLLECTIONS / "ansible_collections").exists(),
        reason="Ansible is not in .interop (make interop-clients)",
    ),
]


def play(folder: Path, agent: AgentProcess, playbook: str) -> dict[str, int]:
    """Run a playbook to its end; gives what its recap counts."""
    key = ec.derive_private_key(1234567, ec.SECP256R1()).public_key()
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    values = {
        "agent": agent.address, "node": agent.name, "secret": SECRET, "public_key": public,
        "python": str(FOLDER / "bin" / "python"),
        "older": PYTHON3_CONSUL.command[0] if PYTHON3_CONSUL.there else "",
    }  # fmt: skip
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(folder),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"),
        "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    done = subprocess.run(
        [str(PLAYBOOKS), "-e", json.dumps(values), str(HERE / playbook)],
        capture_output=True, text=True, timeout=280, env=os.environ | own, cwd=folder,
    )  # fmt: skip
    recap = re.search(r"^localhost +: (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode == 0 and recap is not None, done.stdout[-6000:] + done.stderr
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap.group(1))}
    print(done.stdout)
    return counts


def test_a_second_run_changes_nothing(guarded_agent: AgentProcess, tmp_path: Path) -> None:
    first = play(tmp_path, guarded_agent, "playbook_consul.yml")
    assert first["changed"] >= 7
    second = play(tmp_path, guarded_agent, "playbook_consul.yml")
    assert (second["changed"], second["failed"]) == (0, 0)
    assert second["ok"] == first["ok"]
    taken = play(tmp_path, guarded_agent, "playbook_removal.yml")
    assert taken["changed"] == taken["ok"]
