"""The small client against real servers: kept connections, TLS, unix sockets, and bad answers."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.http_client import AnswerTooLong, HttpClient, Target, read_target
from tests.proxy.mesh import until

#: What is tested does not depend on the loop.
ONE_LOOP = True

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Place:
    """Gives one answer after the other, in bytes; b"" closes without one, None never answers."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.asked: list[bytes] = []
        self.connections = 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.asked.append(head + await reader.readexactly(int(length or 0)))
                answer = self.answers.pop(0) if self.answers else OK
                if answer is None:
                    await reader.read()
                if not answer:
                    return
                writer.write(answer)
                if b"close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.writers.discard(writer)
            writer.close()


Open = Callable[..., HttpClient]


def certificate_of(host: str, folder: Path) -> Path:
    """A certificate that signs itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "chain.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def clients() -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def make(target: Target, tls: ssl.SSLContext | None = None) -> HttpClient:
            made = HttpClient(
                target,
                total_timeout_s=30.0,
                connect_timeout_s=30.0,
                body_max_bytes=100,
                headers={"X-Consul-Token": "secret"},
                tls=tls,
            )
            stack.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture
async def place() -> AsyncIterator[tuple[Place, Target]]:
    made = Place()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield made, read_target(f"http://127.0.0.1:{port}/under")
    server.close()
    for writer in list(made.writers):
        writer.close()
    await server.wait_closed()


async def test_one_connection_carries_requests_in_turn_and_several_at_once_have_their_own(
    place: tuple[Place, Target], clients: Open
) -> None:
    there, target = place
    client = clients(target)
    for _ in range(3):
        assert (await client.get("/a?b=1")).body == b"ok"
    assert (await client.send("PUT", "/c", b"{}", "application/json")).status == 200
    assert there.connections == 1
    assert there.asked[0].startswith(b"GET /under/a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Consul-Token: secret\r\n" in there.asked[0]
    assert there.asked[3].endswith(b"Content-Length: 2\r\n\r\n{}")
    await asyncio.gather(*(client.get("/") for _ in range(4)))
    assert there.connections == 4


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    place: tuple[Place, Target], clients: Open
) -> None:
    there, target = place
    client = clients(target)
    there.answers = [OK, b"", CLOSES, OK]
    for _ in range(3):  # the second is closed instead of being answered, and asked again
        assert (await client.get("/")).body == b"ok"
    assert (there.connections, len(there.asked)) == (3, 4)


async def test_a_new_connection_that_is_closed_is_an_error(
    place: tuple[Place, Target], clients: Open
) -> None:
    there, target = place
    client = clients(target)
    for broken in (b"", b"rubbish\r\n\r\n", CLOSES.replace(b"Length: 2", b"Length: 9")):
        there.answers = [broken]
        with pytest.raises(OSError):
            await client.get("/")
    assert len(there.asked) == 3


async def test_a_body_longer_than_allowed_is_not_read(
    place: tuple[Place, Target], clients: Open
) -> None:
    there, target = place
    client = clients(target)
    there.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"]
    with pytest.raises(AnswerTooLong, match="longer than 100 bytes"):
        await client.get("/")


async def test_who_does_not_answer_is_not_waited_for(place: tuple[Place, Target]) -> None:
    there, target = place
    there.answers = [None]
    async with HttpClient(
        target, total_timeout_s=0.2, connect_timeout_s=30.0, body_max_bytes=100
    ) as client:
        with pytest.raises(TimeoutError):
            await client.get("/")
        await until(lambda: not there.writers, "closed connection")


async def test_a_unix_socket(tmp_path: Path, clients: Open) -> None:
    there = Place()
    server = await asyncio.start_unix_server(there.serve, tmp_path / "agent")
    client = clients(read_target(f"unix://{tmp_path / 'agent'}"))
    assert (await client.get("/")).body == b"ok"
    await client.close()
    server.close()
    await server.wait_closed()


async def test_tls_is_verified_and_the_name_as_well(tmp_path: Path, clients: Open) -> None:
    there, chain = Place(), certificate_of("localhost", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    knows = ssl.create_default_context(cafile=chain)
    good = clients(read_target(f"https://localhost:{port}"), knows)
    assert (await good.get("/")).body == b"ok"
    for client in (
        clients(read_target(f"https://127.0.0.1:{port}"), knows),
        clients(read_target(f"https://localhost:{port}")),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.get("/")
    await good.close()
    server.close()


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: 1", "/\u00e4"])
async def test_a_path_that_would_be_another_request_is_not_sent(clients: Open, path: str) -> None:
    with pytest.raises(OSError, match="not a path"):
        await clients(read_target("127.0.0.1:1")).get(path)


def test_targets() -> None:
    assert read_target("10.0.0.1:8500") == Target(host="10.0.0.1", port=8500)
    assert read_target("https://agent/x/") == Target(host="agent", port=443, tls=True, prefix="/x")
    assert read_target("http://[::1]:80").authority == "[::1]"
    assert read_target("https://[::1]:80").authority == "[::1]:80"
    assert read_target("unix:///run/a") == Target(socket_path="/run/a")
    with_user = read_target("http://me:p%40ss@agent")
    assert with_user.authorization == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "http://", "http://a:b", "http://a:99999", "unix://x", "http://a?b",
            "http://a/ b", "http://[::1"]
)  # fmt: skip
def test_what_is_no_target(url: str) -> None:
    with pytest.raises(ValueError):
        read_target(url)
