"""What TLS between servers costs: committed writes beside the same without, and one handshake.

Both clusters stand at the same time and are measured in turn; the load runs in the leader's process
(``raft_bench``). A handshake is taken without sockets, each side's processor time by itself.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from agent import tls_authority as authority
from agent.backend.rpc.tls import Own, RpcTls
from agent.certificates import TlsConfig
from tests.bench import raft_bench
from tests.bench.table import Rounds, row
from tests.ports import three_ports

HANDSHAKES = 200


def make_files(folder: Path) -> None:
    """An authority, and a certificate for each server of ``raft_bench``."""
    now = datetime.now(UTC)
    ca_key = authority.generate_key()
    request = authority.AuthorityRequest(domain="consul", days=2)
    made = authority.make_authority(request, key=ca_key, serial=1, now=now)
    (folder / "ca.pem").write_bytes(authority.certificate_pem(made))
    for number, node_id in enumerate(raft_bench.IDS, 2):
        key = authority.generate_key()
        wanted = authority.CertificateRequest(
            role=authority.SERVER, datacenter="dc1", domain="consul", days=1, node_id=node_id
        )
        signer = authority.Signer(made, ca_key)
        issued = authority.issue(wanted, signer, key=key, serial=number, now=now)
        (folder / f"{node_id}.pem").write_bytes(authority.certificate_pem(issued))
        (folder / f"{node_id}-key.pem").write_bytes(authority.key_pem(key))


def load(folder: Path, node_id: str) -> RpcTls:
    """One server's certificates from there."""
    config = TlsConfig(
        ca_file=str(folder / "ca.pem"),
        cert_file=str(folder / f"{node_id}.pem"),
        key_file=str(folder / f"{node_id}-key.pem"),
        verify_incoming=True,
    )
    return RpcTls(config, Own(datacenter="dc1", domain="consul.", server=True, node_id=node_id))


def handshakes(folder: Path, number: int = HANDSHAKES) -> tuple[float, float]:
    """Milliseconds of processor time of a mutual handshake: who is dialled, who dials."""
    ours, theirs = load(folder, "a"), load(folder, "b")
    spent = {True: 0.0, False: 0.0}
    for _ in range(number):
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = theirs.peer_context().wrap_bio(down, up, server_hostname=ours.server_name)
        server = ours.server_context().wrap_bio(up, down, server_side=True)
        for _ in range(3):
            for side in (client, server):
                began = time.thread_time()
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                spent[side is server] += time.thread_time() - began
    return spent[True] / number * 1000, spent[False] / number * 1000


@contextlib.contextmanager
def files() -> Iterator[Path]:
    """A folder with what ``make_files`` makes."""
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name))
        yield Path(name)


def bench(rounds: Rounds) -> None:
    """Lines beside plain, and a sentence about handshakes."""
    with (
        files() as folder,
        raft_bench.three(three_ports()) as plain,
        raft_bench.three(three_ports(), tls=folder) as secure,
    ):
        for servers in (plain, secure):
            servers.measure("write 64 1 128")
        for outstanding in (1, 64, 256):
            line = f"write {outstanding} {rounds.seconds} 128"
            taken = [(plain.measure(line), secure.measure(line)) for _ in range(rounds.count)]
            ratio = median(over.per_second / bare.per_second for bare, over in taken)
            bare, over = (
                median(sum(rate.cpu_us) for rate in each) for each in zip(*taken, strict=True)
            )
            row(
                f"store over TLS: writes, {outstanding} outstanding",
                [over for _, over in taken],
                ratio,
                f"of plain; {over:.0f} us of cpu a write (all three), plain {bare:.0f}",
            )
        dialled, dialling = handshakes(folder)
    print(
        f"\na mutual TLS handshake: {dialled:.2f} ms of processor time where it is taken, "
        f"{dialling:.2f} ms where it is made (mean of {HANDSHAKES})\n",
        flush=True,
    )
