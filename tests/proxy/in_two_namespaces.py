"""Run in a network namespace of its own: a sidecar that mutual TLS is not demanded of, with the
rules that lead to it whatever comes from a second namespace. Prints what a client there came to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import uvloop

from agent.redirect import apply, rules
from agent.redirect.rules import Wanted
from proxy.server import PUBLIC
from proxy.source import Endpoint, Transparent, UpstreamSpec
from tests.proxy.in_namespace import answering
from tests.proxy.mesh import DATACENTER, Mesh, until

HERE, THERE, PORT = "10.5.0.1", "10.5.0.2", 21000
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while more := connection.recv(100):
            data += more
    print(data.decode(errors="replace") if data.isascii() else "refused", end="")
except OSError:
    print("refused", end="")
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True)


async def ask(pid: int, port: int) -> str:
    """What a client in the other namespace gets from a port of ours."""
    process = await asyncio.create_subprocess_exec(
        "nsenter", "-t", str(pid), "-n", sys.executable, "-c", ASK, HERE, str(port),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode().strip() or "refused"


async def main(pid: int) -> None:
    mesh = Mesh()
    async with mesh.stack:
        port = await mesh.app(answering(b" to the application"))  # type: ignore[arg-type]
        db = await mesh.sidecar("db", app_port=port)
        source = mesh.sources["db"]
        own = source.state.own
        assert own is not None
        own = replace(
            own, listen_address="0.0.0.0", listen_port=PORT, transparent=Transparent(port=15001)
        )
        source.change(own=own)
        await until(lambda: db.port(PUBLIC) == PORT, "the listener is open", 30)
        there = Endpoint(address=HERE, port=PORT, datacenter=DATACENTER)
        spec = UpstreamSpec(name="db", bind_port=-1)
        web = await mesh.sidecar("web", upstreams=[spec], endpoints={spec.key: (there,)})
        apply.nftables(rules.nftables(rules.check(Wanted(proxy_uid="0", inbound_port=PORT))))
        sys.stdout.write(f"strict: {await ask(pid, port)}\n")
        source.change(own=replace(own, permissive=True))
        sys.stdout.write(f"permissive: {await ask(pid, port)}\n")
        sys.stdout.write(f"another port: {await ask(pid, 4444)}\n")
        sys.stdout.write(f"the sidecar's port: {await ask(pid, PORT)}\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port(spec.key))
        writer.write(b"member")
        writer.write_eof()
        sys.stdout.write(f"a member: {(await reader.read()).decode()}\n")
        writer.close()
        (counted,) = (
            line for line in db.metrics().splitlines()
            if line.startswith("lictor_proxy_permissive_connections_total")
        )  # fmt: skip
        sys.stdout.write(f"counted: {counted.rpartition(' ')[2]}\n")


if __name__ == "__main__":
    other = subprocess.Popen(["unshare", "-n", "sleep", "300"])
    try:
        run("ip", "link", "set", "lo", "up")
        for _ in range(200):  # until it has a namespace of its own
            made = subprocess.run(
                ["ip", "link", "add", "here", "type", "veth", "peer", "name", "there",
                 "netns", str(other.pid)],
                check=False,
            )  # fmt: skip
            seen = subprocess.run(
                ["nsenter", "-t", str(other.pid), "-n", "ip", "link", "show", "there"],
                check=False, capture_output=True,
            )  # fmt: skip
            ours = subprocess.run(["ip", "link", "show", "there"], check=False, capture_output=True)
            if seen.returncode == 0 and ours.returncode:
                break
            if not made.returncode:
                run("ip", "link", "delete", "here")  # it was still in ours
        run("ip", "address", "add", f"{HERE}/24", "dev", "here")
        run("ip", "link", "set", "here", "up")
        inside = ("nsenter", "-t", str(other.pid), "-n", "ip")
        run(*inside, "address", "add", f"{THERE}/24", "dev", "there")
        run(*inside, "link", "set", "there", "up")
        uvloop.run(main(other.pid))
    finally:
        other.kill()
