"""Run in a network namespace of its own: a transparent sidecar, its rules, and an application that
knows of neither. Prints what the application came to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import uvloop

from agent.redirect import apply, rules
from agent.redirect.rules import Wanted
from proxy.doors import TRANSPARENT
from proxy.source import Transparent, UpstreamSpec
from tests.proxy.mesh import Mesh, endpoint, until

#: The application is somebody else than the sidecar, which runs as root here.
APPLICATION_UID = 65534
OUTSIDE = "10.9.9.9"
ASK = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
led = False
try:
    with socket.socket() as connection:
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


async def main() -> None:
    mesh = Mesh()
    async with mesh.stack:
        app = await mesh.app(answering(b" through the mesh"))  # type: ignore[arg-type]
        db = await mesh.sidecar("db", app_port=app)
        web = await mesh.sidecar("web")
        spec = UpstreamSpec(name="db", virtual_ip="240.0.0.7")
        own = mesh.sources["web"].state.own
        assert own is not None
        mesh.sources["web"].change(
            own=replace(own, upstreams=(spec,), transparent=Transparent(port=15001)),
            endpoints={spec.key: (endpoint(db),)},
        )
        await until(lambda: web.port(TRANSPARENT) == 15001, "the listener is open", 20)
        outside = await asyncio.start_server(
            answering(b" as it is"),
            OUTSIDE,
            8080,  # type: ignore[arg-type]
        )
        apply.nftables(rules.nftables(rules.check(Wanted(proxy_uid="0"))))
        sys.stdout.write(f"virtual: {await ask('240.0.0.7', 80)}\n")
        sys.stdout.write(f"outside: {await ask(OUTSIDE, 8080)}\n")
        sys.stdout.write(f"nobody: {await ask('240.0.0.8', 80)}\n")
        apply.nftables(rules.nftables_undo())
        sys.stdout.write(f"after undo: {await ask('240.0.0.7', 80)}\n")
        outside.close()


if __name__ == "__main__":
    for words in ("link set lo up", f"address add {OUTSIDE}/32 dev lo", "route add default dev lo"):
        subprocess.run(["ip", *words.split()], check=True)
    uvloop.run(main())
