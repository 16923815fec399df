"""Where connections go that the kernel led to the proxy: by decision, and in a real namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from proxy.source import Endpoint, MeshState, OwnService, Transparent, UpstreamSpec
from proxy.transparent import (
    Destinations,
    PassOn,
    Refuse,
    ToInstance,
    ToUpstream,
    destinations,
)

WEB = UpstreamSpec(name="web", virtual_ip="240.0.0.1")
DB = UpstreamSpec(name="db", virtual_ip="240.0.0.2", dialed_directly=True)
HOST = Endpoint(address="10.0.0.9", port=21000)


def state(**fields: object) -> MeshState:
    own = OwnService(name="me", upstreams=(WEB, DB), transparent=Transparent())
    given = {"own": own, "endpoints": {DB.key: (HOST,), WEB.key: (HOST,)}, **fields}
    return MeshState(**given)  # type: ignore[arg-type]


def test_virtual_addresses_instances_and_the_rest() -> None:
    found = destinations(state(), [("127.0.0.1", 15001)])
    assert found.way("240.0.0.1", 80) == ToUpstream(WEB)
    assert found.way("240.0.0.2", 1234) == ToUpstream(DB)
    assert found.way("10.0.0.9", 21000) == ToInstance(DB, HOST)
    assert found.way("10.0.0.9", 22) == PassOn("10.0.0.9", 22)
    assert found.way("127.0.0.1", 15001) == Refuse("own_address")
    assert found.way("240.9.9.9", 80) == Refuse("unknown_destination")


def test_only_the_mesh_where_that_is_wanted() -> None:
    found = destinations(state(mesh_destinations_only=True))
    assert found.way("10.0.0.1", 22) == Refuse("unknown_destination")
    assert found.way("240.0.0.1", 22) == ToUpstream(WEB)


def test_a_proxy_that_is_not_transparent_knows_nobody() -> None:
    own = OwnService(name="me", upstreams=(WEB,))
    assert destinations(state(own=own)) == Destinations()


def in_namespace(script: str, *tools: str) -> list[str]:
    """What a script prints in a network namespace of its own."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("nft", "unshare", *tools)):
        pytest.skip("needs CAP_NET_ADMIN, nft and unshare")
    if subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", f"tests.proxy.{script}"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(120)
def test_where_it_is_permitted_clear_text_reaches_the_applications_own_port() -> None:
    assert in_namespace("in_two_namespaces", "ip", "nsenter") == [
        "strict: refused",
        "permissive: hello to the application",
        "another port: refused",
        "the sidecar's port: refused",
        "a member: member to the application",
        "counted: 1",
    ]


@pytest.mark.timeout(120)
def test_an_application_reaches_services_by_their_virtual_addresses() -> None:
    assert in_namespace("in_namespace", "ip") == [
        "virtual: hello through the mesh",
        "outside: hello as it is",
        "nobody: refused",
        "after undo: not led",
    ]
