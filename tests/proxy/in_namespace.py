"""Run in a network namespace of its own: a transparent sidecar, its rules (nftables, or iptables
where that is the argument), and an application that knows of neither. Prints what the application
came to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import uvloop

from agent.redirect import apply, rules
from agent.redirect.rules import Wanted
from proxy.doors import TRANSPARENT, TRANSPARENT_6
from proxy.server import PUBLIC
from proxy.source import Endpoint, Transparent, UpstreamSpec
from tests.proxy.mesh import DATACENTER, Mesh, endpoint, until

#: The application is somebody else than the sidecar, which runs as root here.
APPLICATION_UID = 65534
OUTSIDE, OUTSIDE_6, LINKED, INSTANCE = "10.9.9.9", "fd00::9", "10.9.9.7", "10.9.9.8"
ASK = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
led = False
try:
    family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(5)
        connection.connect((sys.argv[2], int(sys.argv[3])))
        led = True
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while more := connection.recv(100):
            data += more
    print(data.decode() or "refused")
except OSError:
    print("refused" if led else "not led")
"""


async def ask(address: str, port: int) -> str:
    """What the application gets from an address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK, str(APPLICATION_UID), address, str(port),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode().strip()


def answering(more: bytes) -> object:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(data + more)
        writer.write_eof()

    return serve


WANTED = rules.check(Wanted(proxy_uid="0"))


def lead() -> None:
    """Put the rules in force."""
    if sys.argv[1:] == ["iptables"]:
        apply.iptables(WANTED)
    else:
        apply.nftables(rules.nftables(WANTED))


def undo() -> None:
    """And take them away."""
    if sys.argv[1:] == ["iptables"]:
        apply.iptables_undo()
    else:
        apply.nftables(rules.nftables_undo())


async def main() -> None:
    mesh = Mesh()
    async with mesh.stack:
        app = await mesh.app(answering(b" through the mesh"))  # type: ignore[arg-type]
        db = await mesh.sidecar("db", app_port=app)
        cache = await mesh.sidecar("cache", app_port=app)
        at = mesh.sources["cache"].state.own
        assert at is not None
        mesh.sources["cache"].change(own=replace(at, listen_address=INSTANCE, listen_port=21000))
        await until(lambda: cache.port(PUBLIC) == 21000, "the instance is there", 20)
        web = await mesh.sidecar("web")
        source = mesh.sources["web"]
        spec = UpstreamSpec(
            name="db", virtual_ip="240.0.0.7", destinations=(LINKED,), destination_port=443
        )
        direct = UpstreamSpec(name="cache", virtual_ip="240.0.0.9", dialed_directly=True)
        instance = Endpoint(address=INSTANCE, port=21000, datacenter=DATACENTER)
        own = source.state.own
        assert own is not None
        source.change(
            own=replace(own, upstreams=(spec, direct), transparent=Transparent(port=15001)),
            endpoints={spec.key: (endpoint(db),), direct.key: (instance,)},
        )
        for door in (TRANSPARENT, TRANSPARENT_6):
            await until(lambda door=door: web.port(door) == 15001, "the listener is open", 20)  # type: ignore[misc]
        as_it_is = answering(b" as it is")
        outside = [
            await asyncio.start_server(as_it_is, address, 8080)  # type: ignore[arg-type]
            for address in (OUTSIDE, OUTSIDE_6)
        ]
        lead()
        sys.stdout.write(f"virtual: {await ask('240.0.0.7', 80)}\n")
        sys.stdout.write(f"an instance: {await ask(INSTANCE, 21000)}\n")
        sys.stdout.write(f"linked: {await ask(LINKED, 443)}\n")
        sys.stdout.write(f"another port there: {await ask(LINKED, 80)}\n")
        sys.stdout.write(f"outside: {await ask(OUTSIDE, 8080)}\n")
        sys.stdout.write(f"outside by IPv6: {await ask(OUTSIDE_6, 8080)}\n")
        sys.stdout.write(f"nobody: {await ask('240.0.0.8', 80)}\n")
        source.change(mesh_destinations_only=True)
        sys.stdout.write(f"mesh only, outside: {await ask(OUTSIDE, 8080)}\n")
        sys.stdout.write(f"mesh only, by IPv6: {await ask(OUTSIDE_6, 8080)}\n")
        sys.stdout.write(f"mesh only, virtual: {await ask('240.0.0.7', 80)}\n")
        undo()
        sys.stdout.write(f"after undo: {await ask('240.0.0.7', 80)}\n")
        sys.stdout.write(f"after undo, outside: {await ask(OUTSIDE, 8080)}\n")
        for each in outside:
            each.close()


if __name__ == "__main__":
    here = [f"{one}/32" for one in (OUTSIDE, LINKED, INSTANCE)] + [f"{OUTSIDE_6}/128"]
    commands = [
        "link set lo up",
        *(f"address add {one} dev lo" for one in here),
        "route add default dev lo",
    ]
    for words in commands:
        subprocess.run(["ip", *words.split()], check=True)
    uvloop.run(main())
