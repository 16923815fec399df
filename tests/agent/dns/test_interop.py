"""Foreign DNS servers pass our names on unchanged, and HAProxy follows what SRV says."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import pytest

from agent.cli.dns_snippets import PROGRAMS, Agent
from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import DnsServer
from raftstore.records import (
    CRITICAL,
    PASSING,
    WARNING,
    Check,
    CheckId,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    Weights,
)
from tests.agent.dns.catalog import Catalog
from tests.e2e.cluster import fresh_address
from tests.ports import free_port

pytestmark = pytest.mark.interop

#: How long a foreign program may take to start on a busy machine, in seconds.
START_S = 40.0


def program(name: str) -> str | None:
    """Where a server program is; Debian keeps them off an ordinary user's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def wanted(name: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(program(name) is None, reason=f"{package} is not installed")


def register(
    catalog: Catalog,
    name: str,
    number: int,
    *,
    address: str = "",
    status: str = PASSING,
    weights: Weights = Weights(1, 1),  # noqa: B008  frozen value
    tags: tuple[str, ...] = (),
) -> None:
    node = Node(name=NodeName(f"node-{number}"), address=f"10.1.0.{number}", meta={"rack": "r1"})
    service = Service(
        node=node.name, id=ServiceId(name), name=ServiceName(name), port=8000 + number,
        address=address, weights=weights, tags=tags,
    )  # fmt: skip
    check = Check(node=node.name, id=CheckId(f"c-{name}"), status=status, service_id=service.id)
    catalog.register(node, service, (check,))


def populated(rng: random.Random) -> Catalog:
    """Services of all shapes: many and few instances, both families, sick ones, host names."""
    catalog = Catalog()
    for service in range(12):
        for number in rng.sample(range(1, 30), rng.randint(1, 6)):
            address = rng.choice(
                ["", "", f"192.0.2.{number}", f"2001:db8::{number}", "node-1.node.consul"]
            )
            register(
                catalog, f"s{service}", number, address=address,
                status=rng.choice([PASSING, PASSING, WARNING, CRITICAL]),
                weights=Weights(rng.randint(1, 9), 1),
                tags=tuple(rng.sample(["blue", "green"], rng.randint(0, 2))),
            )  # fmt: skip
    register(catalog, "web", 1)
    return catalog


def corpus(rng: random.Random) -> list[tuple[str, str]]:
    names = [f"s{n}.service.consul." for n in range(12)]
    names += [f"blue.s{n}.service.consul." for n in range(0, 12, 3)]
    names += [f"_s{n}._tcp.service.dc1.consul." for n in range(0, 12, 4)]
    names += [f"node-{n}.node.consul." for n in (1, 5, 77)]
    names += ["never.service.consul.", "SHOUT.service.consul."]
    # Other types of addr names get the address as well, as recorded: strict servers drop that.
    asked = [("c0000201.addr.dc1.consul.", "A")]
    asked += [(name, qtype) for name in names for qtype in ("A", "AAAA", "SRV", "TXT")]
    rng.shuffle(asked)
    return asked


def with_files(folder: Path, **files: str) -> dict[str, Path]:
    made = {}
    for name, text in files.items():
        made[name] = folder / name
        made[name].write_text(text)
    return made


def dnsmasq(folder: Path, host: str, port: int, agent: Agent) -> list[str]:
    text = PROGRAMS["dnsmasq"](agent).text + (
        f"port={port}\nlisten-address={host}\nbind-interfaces\nno-resolv\nno-hosts\n"
        f"cache-size=0\nuser=root\npid-file={folder}/pid\nlog-facility=-\n"
    )
    conf = with_files(folder, conf=text)["conf"]
    return [str(program("dnsmasq")), "--keep-in-foreground", f"--conf-file={conf}"]


def unbound(folder: Path, host: str, port: int, agent: Agent) -> list[str]:
    text = (
        f"server:\n  interface: {host}\n  port: {port}\n  chroot: ''\n  username: ''\n"
        f"  directory: '{folder}'\n  pidfile: '{folder}/pid'\n  use-syslog: no\n"
        "  num-threads: 1\n  access-control: 127.0.0.0/8 allow\n"
        "remote-control:\n  control-enable: no\n"
    ) + PROGRAMS["unbound"](agent).text
    conf = with_files(folder, conf=text)["conf"]
    return [str(program("unbound")), "-d", "-p", "-c", str(conf)]


def bind(folder: Path, host: str, port: int, agent: Agent) -> list[str]:
    text = (
        f'options {{ directory "{folder}"; listen-on port {port} {{ {host}; }}; '
        "listen-on-v6 { none; }; recursion yes; allow-query { any; }; pid-file none; "
        'session-keyfile none; dnssec-validation no; validate-except { "consul"; }; };\n'
        "controls { };\n"
    ) + PROGRAMS["bind"](agent).text
    conf = with_files(folder, conf=text)["conf"]
    return [str(program("named")), "-g", "-n", "1", "-c", str(conf)]


def knot(folder: Path, host: str, port: int, agent: Agent) -> list[str]:
    text = (
        f"net.listen('{host}', {port}, {{ kind = 'dns' }})\n"
        "cache.size = 10 * MB\ntrust_anchors.remove('.')\n"
    ) + PROGRAMS["knot"](agent).text
    conf = with_files(folder, conf=text)["conf"]
    return [str(program("kresd")), "-n", "-c", str(conf), str(folder)]


Starter = Callable[[Path, str, int, Agent], list[str]]


@contextlib.asynccontextmanager
async def running(command: list[str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=folder)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()


async def ask(host: str, port: int, name: str, qtype: str) -> dns.message.Message:
    query = dns.message.make_query(name, qtype, use_edns=0, payload=1232)
    return await dns.asyncquery.udp(query, host, port=port, timeout=3, one_rr_per_rrset=True)


def told(message: dns.message.Message) -> tuple[str, frozenset[str]]:
    """What must not change on the way: the code and the records, in whatever order."""
    records = frozenset(
        f"{rrset.name.to_text().lower()} {rrset.to_text().split(' ', 2)[2]}"
        for rrset in message.answer
    )
    return dns.rcode.to_text(message.rcode()), records


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "starter",
    [
        pytest.param(dnsmasq, marks=wanted("dnsmasq", "dnsmasq-base"), id="dnsmasq"),
        pytest.param(unbound, marks=wanted("unbound", "unbound"), id="unbound"),
        pytest.param(bind, marks=wanted("named", "bind9"), id="bind"),
        pytest.param(knot, marks=wanted("kresd", "knot-resolver"), id="knot"),
    ],
)
async def test_a_forwarder_gives_the_answers_that_we_give(starter: Starter, tmp_path: Path) -> None:
    rng = random.Random(4)
    server = DnsServer(AgentConfig(node_name="n", dns=DnsConfig()), populated(rng))
    await server.listen(((fresh_address(), 0),))
    try:
        await compare(server, starter, rng, tmp_path)
    finally:
        await server.stop()


async def compare(server: DnsServer, starter: Starter, rng: random.Random, tmp_path: Path) -> None:
    own_host, own_port = server.addresses[0]
    # named listens on addresses of interfaces only.
    host = "127.0.0.1" if starter is bind else fresh_address()
    port = free_port(host)
    command = starter(tmp_path, host, port, Agent(domain="consul", host=own_host, port=own_port))
    async with running(command, tmp_path) as process:
        await until_it_answers(process, host, port, tmp_path)
        for name, qtype in corpus(rng):
            ours, theirs = (
                told(await ask(own_host, own_port, name, qtype)),
                told(await ask(host, port, name, qtype)),
            )
            if qtype in {"TXT", "AAAA"} and any(" CNAME " in record for record in ours[1]):
                continue  # our aliases come with addresses; others look the end up anew
            if theirs != ours:  # one of several aliases is drawn for each question
                several = [told(await ask(own_host, own_port, name, qtype)) for _ in range(30)]
                assert theirs in several, (name, qtype, ours)


async def until_it_answers(
    process: asyncio.subprocess.Process, host: str, port: int, folder: Path
) -> None:
    try:
        async with asyncio.timeout(START_S):
            while True:
                assert process.returncode is None, (folder / "log").read_text()
                with contextlib.suppress(OSError, dns.exception.DNSException):
                    if (await ask(host, port, "web.service.consul.", "A")).answer:
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"it does not answer: {(folder / 'log').read_text()}") from None


HAPROXY = """\
global
  stats socket {folder}/stats mode 600 level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 5s
  timeout server 5s
resolvers agent
  nameserver here {host}:{port}
  accepted_payload_size 8192
  resolve_retries 3
  timeout resolve 200ms
  timeout retry 200ms
  hold valid 200ms
  hold obsolete 200ms
  hold nx 200ms
listen web
  bind {listen}
  default-server resolvers agent resolve-prefer ipv4 init-addr none
  server-template web 6 _web._tcp.service.consul
"""


@wanted("haproxy", "haproxy")
@pytest.mark.skipif(sys.platform != "linux", reason="unix sockets of haproxy")
@pytest.mark.timeout(180)
async def test_haproxy_fills_a_template_follows_weights_and_drains(tmp_path: Path) -> None:
    catalog = Catalog()
    register(catalog, "web", 1, weights=Weights(256 * 10, 1))
    register(catalog, "web", 2, weights=Weights(256 * 20, 1))
    server = DnsServer(AgentConfig(node_name="n"), catalog)
    await server.listen((("127.0.0.1", 0),))
    host, port = server.addresses[0]
    listen = f"127.0.0.1:{free_port()}"
    conf = HAPROXY.format(folder=tmp_path, host=host, port=port, listen=listen)
    path = with_files(tmp_path, conf=conf)["conf"]

    async def weights() -> dict[str, int]:
        """Address with port -> weight, of the servers that are in use."""
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "stats"))
        writer.write(b"show servers state web\n")
        text = (await reader.read()).decode()
        writer.close()
        rows = [line.split() for line in text.splitlines() if line and line[0].isdigit()]
        # Fields: 4 address, 6 administrative state (0x20: no address), 7 weight, 18 port.
        return {
            f"{row[4]}:{row[18]}": int(row[7])
            for row in rows
            if len(row) > 18 and row[4] != "-" and not int(row[6]) & 0x20
        }

    async def until(expected: dict[str, int]) -> None:
        seen: object = None
        try:
            async with asyncio.timeout(START_S):
                while True:
                    with contextlib.suppress(OSError):
                        seen = await weights()
                        if seen == expected:
                            return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"expected {expected}, saw {seen}") from None

    async with running([str(program("haproxy")), "-db", "-f", str(path)], tmp_path):
        await until({"10.1.0.1:8001": 10, "10.1.0.2:8002": 20})
        register(catalog, "web", 1, weights=Weights(256 * 40, 1))
        await until({"10.1.0.1:8001": 40, "10.1.0.2:8002": 20})
        register(catalog, "web", 3, weights=Weights(256 * 5, 1))
        await until({"10.1.0.1:8001": 40, "10.1.0.2:8002": 20, "10.1.0.3:8003": 5})
        register(catalog, "web", 2, weights=Weights(0, 1))
        await until({"10.1.0.1:8001": 40, "10.1.0.2:8002": 0, "10.1.0.3:8003": 5})
        register(catalog, "web", 1, status=CRITICAL, weights=Weights(256 * 40, 1))
        await until({"10.1.0.2:8002": 0, "10.1.0.3:8003": 5})
    await server.stop()
