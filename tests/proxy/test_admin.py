"""The admin listener, and what requests through two sidecars come to there."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.access_log import AccessLogs
from proxy.telemetry.settings import Telemetry
from tests.proxy.l7.test_gateway import Make, Pair, make  # noqa: F401  (a fixture)
from tests.proxy.mesh import until

#: What is tested does not depend on the loop.
ONE_LOOP = True

GET = b"GET /a?k=v HTTP/1.1\r\nHost: db\r\nUser-Agent: me\r\n\r\n"


async def ask(port: int, path: str, host: str = "127.0.0.1:1") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    raw = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_metrics_edges_and_explain(make: Make) -> None:  # noqa: F811
    pair: Pair = await make()
    ports = [await each.open_admin(port=0) for each in (pair.web, pair.db)]
    for _ in range(3):
        await pair.ask(GET)
    status, body = await ask(ports[1], "/metrics")
    text = body.decode()
    assert status == 200
    assert (
        'lictor_proxy_requests_total{service="db",dc="dc1",direction="inbound",code="200"'
        ',grpc_status="",method="GET"} 3' in text
    )
    assert 'lictor_proxy_intention_decisions_total{service="db",dc="dc1",source="web"' in text
    status, body = await ask(ports[0], "/metrics")
    assert 'direction="outbound",upstream="db",subset="",target_dc="db",code="200"' in body.decode()
    (edge,) = json.loads((await ask(ports[1], "/edges"))[1])
    assert time.time() - 60 < edge.pop("LastAt") <= time.time()
    assert edge == {"Source": "web", "Destination": "db", "Result": "ok", "Requests": 3}
    assert json.loads((await ask(ports[1], "/explain"))[1])["listeners"]["public"]["open"]
    assert (await ask(ports[0], "/nothing"))[0] == 404
    assert (await ask(ports[0], "/metrics", "evil.example:80"))[0] == 403


async def test_a_tap_shows_requests_as_they_end(make: Make) -> None:  # noqa: F811
    pair = await make()
    port = await pair.db.open_admin(port=0)
    looking = asyncio.get_running_loop().create_task(ask(port, "/tap?count=2&seconds=30"))
    await until(lambda: bool(pair.db._http.observer.taps), "somebody looks on", 30)
    for _ in range(2):
        await pair.ask(GET)
    status, body = await looking
    lines = [json.loads(line) for line in body.splitlines() if line.startswith(b"{")]
    assert status == 200 and len(lines) == 2
    assert lines[0]["path"] == "/a?k=<redacted>" and lines[0]["peer"].endswith("/svc/web")
    await until(lambda: not pair.db._http.observer.taps, "nobody looks on", 30)


async def test_the_access_log_has_one_line_for_each(make: Make, tmp_path: Path) -> None:  # noqa: F811
    pair = await make()
    path = tmp_path / "log"
    told = Telemetry(access_logs=AccessLogs(kind="file", path=str(path)))
    for name in ("web", "db"):
        pair.mesh.sources[name].change(telemetry=told)
    await pair.ask(GET)

    def lines() -> list[dict[str, Any]]:
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    await until(lambda: len(lines()) == 2, "both sides have logged", 30)
    outward, inward = sorted(lines(), key=lambda each: each["dir"], reverse=True)
    assert (outward["dir"], outward["upstream"], outward["tries"]) == ("out", "db", 1)
    assert inward["trace"] == outward["trace"] and inward["req_id"] == outward["req_id"]
    assert inward["decision"] == "allow" and inward["ua"] == "me"
    assert (inward["code"], inward["path"]) == (200, "/a?k=v")


async def test_no_line_of_the_access_log_is_lost_at_the_end(
    make: Make,  # noqa: F811
    tmp_path: Path,
) -> None:
    pair = await make()
    path = tmp_path / "log"
    logs = AccessLogs(kind="file", path=str(path))
    pair.mesh.sources["web"].change(telemetry=Telemetry(access_logs=logs))
    await pair.ask(GET)
    await pair.web.close()
    assert len(path.read_text().splitlines()) == 1


async def test_a_second_proxy_takes_another_port(make: Make) -> None:  # noqa: F811
    pair = await make()
    first = await pair.web.open_admin(port=0)
    second = await pair.db.open_admin(port=first)
    assert second and second != first


async def test_what_is_no_request_has_a_line_as_well(make: Make, tmp_path: Path) -> None:  # noqa: F811
    pair = await make()
    path = tmp_path / "log"
    logs = AccessLogs(kind="file", path=str(path))
    pair.mesh.sources["web"].change(telemetry=Telemetry(access_logs=logs))
    await pair.ask(b"GET / HTTP/1.1\r\nHost: db\r\nHost: db\r\n\r\n")
    short = b"POST / HTTP/1.1\r\nHost: db\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    await pair.ask(short)

    def lines() -> list[dict[str, Any]]:
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    await until(lambda: len(lines()) == 2, "both have a line", 30)
    assert [each["code"] for each in lines()] == [400, 400]
    assert all("DPE" in each["flags"] for each in lines())


async def test_metrics_of_hosts_and_of_what_happened_stand_at_zero_and_count(make: Make) -> None:  # noqa: F811
    pair = await make()
    port = await pair.web.open_admin(port=0)
    before = (await ask(port, "/metrics"))[1].decode()
    for name in ("hedges", "faults", "mirrored", "intention_cut", "tls_handshake_failures"):
        assert f"# TYPE lictor_proxy_{name}_total counter" in before
    of_db = 'service="web",dc="dc1",upstream="db",target="db"'
    assert f'lictor_proxy_endpoints{{{of_db},state="healthy",priority="0"}} 1' in before
    for _ in range(2):
        await pair.ask(GET)
    after = (await ask(port, "/metrics"))[1].decode()
    assert f'lictor_proxy_lb_picks_total{{{of_db},policy="adaptive"}} 2' in after
    assert f'lictor_proxy_ejected{{{of_db},reason="failures"}} 0' in after


def documented() -> dict[str, tuple[str, set[str]]]:
    """The metrics of the manual: their kinds and labels."""
    found = {}
    text = (Path(__file__).parents[2] / "docs/operate/sidecars.md").read_text()
    for line in text.splitlines():
        cells = [each.strip() for each in line.strip("|").split("|")]
        if len(cells) == 4 and cells[1] in ("counter", "gauge", "histogram"):
            found[cells[0].strip("`")] = cells[1], {s for s in cells[2].split(", ") if s}
    return found


async def test_the_manual_says_what_a_sidecar_counts(make: Make) -> None:  # noqa: F811
    pair = await make()
    before = pair.web.metrics()
    await pair.ask(GET)
    told: dict[str, tuple[str, set[str]]] = {}
    for text in (before, pair.web.metrics()):
        for family in text_string_to_metric_families(text):
            name = family.name.removeprefix("lictor_proxy_")
            name += "_total" if family.type == "counter" else ""
            labels = told.setdefault(name, (family.type, set()))[1]
            for sample in family.samples:
                labels |= sample.labels.keys() - {"service", "dc", "le"}
    told["requests_total"][1].difference_update({"upstream", "subset", "target_dc"})
    told["request_duration_seconds"][1].difference_update({"upstream", "subset", "target_dc"})
    assert told == documented()
