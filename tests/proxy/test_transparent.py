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


def test_addresses_outside_mean_the_service_that_names_them() -> None:
    places = ("10.1.0.1", "FD00:0::7", "bank.example")
    bank = UpstreamSpec(name="bank", destinations=places, destination_port=443)
    own = OwnService(name="me", upstreams=(WEB, bank), transparent=Transparent())
    found = destinations(state(own=own, mesh_destinations_only=True))
    assert found.way("10.1.0.1", 443) == found.way("fd00::7", 443) == ToUpstream(bank)
    assert found.way("10.1.0.1", 80) == Refuse("unknown_destination")
    assert len(found.outside) == 2  # the kernel knows no names


def test_only_the_mesh_where_that_is_wanted() -> None:
    found = destinations(state(mesh_destinations_only=True))
    assert found.way("10.0.0.1", 22) == Refuse("unknown_destination")
    assert found.way("240.0.0.1", 22) == ToUpstream(WEB)


def test_a_proxy_that_is_not_transparent_knows_nobody() -> None:
    own = OwnService(name="me", upstreams=(WEB,))
    assert destinations(state(own=own)) == Destinations()


def in_namespace(script: str, *tools: str, argument: str = "") -> list[str]:
    """What a script prints in a network namespace of its own."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("nft", "unshare", *tools)):
        pytest.skip("needs CAP_NET_ADMIN, nft and unshare")
    if subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", f"tests.proxy.{script}", *filter(None, [argument])],
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
@pytest.mark.parametrize("backend", ["nftables", pytest.param("iptables", marks=pytest.mark.long)])
def test_an_application_reaches_services_by_their_addresses(backend: str) -> None:
    tools = ("iptables", "ip6tables") if backend == "iptables" else ()
    assert in_namespace("in_namespace", "ip", *tools, argument=backend) == [
        "virtual: hello through the mesh",
        "an instance: hello through the mesh",
        "linked: hello through the mesh",
        "another port there: refused",
        "outside: hello as it is",
        "outside by IPv6: hello as it is",
        "nobody: refused",
        "mesh only, outside: refused",
        "mesh only, by IPv6: refused",
        "mesh only, virtual: hello through the mesh",
        "after undo: not led",
        "after undo, outside: hello as it is",
    ]
