"""What the access log has of connections whose requests are not seen."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from proxy.authz import Rule
from proxy.telemetry.access_log import standard
from proxy.telemetry.entry import Entry
from tests.proxy.mesh import Mesh, until
from tests.proxy.test_server import ask, close, connect

ONE_LOOP = True


def listening(mesh: Mesh, name: str) -> list[Entry]:
    told: list[Entry] = []
    mesh.proxies[name]._http.observer.sinks = (told.append,)
    return told


def line(entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(standard(entry))
    return told


async def turned_away(port: int) -> None:
    """Connect, and see that nothing comes."""
    reader, writer = await connect(port)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    await close(writer)


async def test_a_connection_is_one_line_at_each_side(mesh: Mesh) -> None:
    app = await mesh.app()
    port = await mesh.pair(app)
    web, db = listening(mesh, "web"), listening(mesh, "db")
    reader, writer = await connect(port)
    assert await ask(reader, writer, b"hello") == b"hello"
    await close(writer)
    await until(lambda: len(web) == len(db) == 1, "both sides tell")
    out, into = line(web[0]), line(db[0])
    for told in (out, into):
        assert (told["proto"], told["rx"], told["tx"], told["flags"]) == ("tcp", 5, 5, "")
        assert told["tries"] == 1 and told["tls"] == "TLSv1.3" and told["dur_ms"] >= 0
        assert (told["code"], told["method"], told["path"]) == (0, "", "")
    assert (out["dir"], out["service"], out["upstream"], out["target"]) == (
        "out",
        "web",
        "db",
        "db",
    )
    assert out["endpoint"].startswith("127.0.0.1:") and out["peer"].endswith("/svc/db")
    assert (into["dir"], into["service"], into["decision"]) == ("in", "db", "allow")
    assert into["endpoint"] == f"127.0.0.1:{app}" and into["peer"].endswith("/svc/web")


async def test_who_is_not_let_in_and_who_is_not_there_have_their_flags(mesh: Mesh) -> None:
    port = await mesh.pair(
        await mesh.app(), rules=[Rule(source="web", destination="db", action="deny")]
    )
    web, db = listening(mesh, "web"), listening(mesh, "db")
    await turned_away(port)
    await until(lambda: len(db) == len(web) == 1, "the denial is told")
    told = line(db[0])
    assert (told["flags"], told["decision"], told["endpoint"]) == ("RBAC", "deny", "")
    await mesh.proxies["db"].close()
    await turned_away(port)
    await until(lambda: len(web) == 2, "the failure is told")
    assert line(web[1])["flags"] in ("UF", "UC")  # the warm connection may just be ending
