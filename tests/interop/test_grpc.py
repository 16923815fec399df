"""Google's gRPC library through two sidecars: calls of every kind, errors, deadlines, an end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from proxy.authz import Permission, Rule
from proxy.balance.hosts import Host
from proxy.l7.routes import read_chain
from proxy.source import UpstreamSpec
from tests.e2e.cluster import ROOT
from tests.proxy.mesh import Mesh, endpoint

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

PYTHON = os.environ.get("LICTOR_GRPC_PYTHON") or str(ROOT / ".interop" / "bin" / "python")
SCRIPT = str(Path(__file__).parent / "script_grpc.py")
SPEC = UpstreamSpec(name="db", bind_port=-1)


@cache
def there() -> bool:
    try:
        done = subprocess.run([PYTHON, "-c", "import grpc"], capture_output=True, timeout=60)
    except OSError:
        return False
    return done.returncode == 0


@contextlib.asynccontextmanager
async def application() -> AsyncIterator[int]:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(PYTHON, SCRIPT, "serve", stdin=pipe, stdout=pipe)
    assert child.stdin is not None and child.stdout is not None
    try:
        yield int(await asyncio.wait_for(child.stdout.readline(), 60))
    finally:
        child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), 30)
        except TimeoutError:
            child.kill()


async def test_calls_of_every_kind_pass_two_sidecars() -> None:
    if not there():
        pytest.skip("grpcio is absent: make interop-clients")
    no_secret = Permission(action="deny", path_form="prefix", path="/t.Test/Secret")
    rest = Permission(action="allow", path_form="prefix", path="/")
    rule = Rule(
        source="web", destination="db", action="", permissions=2, matches=(no_secret, rest),
        precedence=9,
    )  # fmt: skip
    chain = read_chain(
        {
            "Protocol": "grpc",
            "StartNode": "resolver:db",
            "Nodes": {"resolver:db": {"Type": "resolver", "Resolver": {"Target": "db"}}},
            "Targets": {"db": {"Service": "db", "Datacenter": "dc1"}},
        }
    )
    mesh = Mesh()
    async with application() as port, mesh.stack:
        db = await mesh.sidecar("db", app_port=port, rules=[rule])
        mesh.sources["db"].change(protocol="grpc")
        web = await mesh.sidecar("web", upstreams=[SPEC], endpoints={SPEC.key: (endpoint(db),)})
        host = Host(("n1", "db"), "127.0.0.1", endpoint(db).port)
        mesh.sources["web"].change(chains={SPEC.key: chain}, hosts={"db": (host,)})
        child = await asyncio.create_subprocess_exec(
            PYTHON, SCRIPT, "call", str(web.port(SPEC.key)), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(child.communicate(), 150)
    told = [json.loads(line) for line in out.splitlines()]
    assert len(told) == 12, told
    assert not [each for each in told if each["trouble"]]
