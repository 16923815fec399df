"""What happens to requests and hosts stands in the metrics, with the words for it."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from proxy.l7.guard import GuardConfig
from proxy.server import Proxy
from proxy.telemetry.entry import Entry
from proxy.telemetry.settings import Telemetry
from tests.proxy.l7.net import GET, net
from tests.proxy.mesh import Mesh, until

#: What is tested does not depend on the loop.
ONE_LOOP = True

BAD = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"


def counted(proxy: Proxy) -> dict[tuple[str, ...], float]:
    """All samples that are not at zero, by name and the values of labels but service and dc."""
    return {
        (sample.name.removeprefix("lictor_proxy_"),
         *(v for k, v in sample.labels.items() if k not in ("service", "dc"))): sample.value
        for family in text_string_to_metric_families(proxy.metrics())
        for sample in family.samples
        if sample.value
    }  # fmt: skip


async def test_each_thing_that_happens_is_counted_where_it_belongs() -> None:
    mesh = Mesh()
    async with mesh.stack:
        split = {"Type": "splitter", "Splits": [{"Weight": 100, "NextNode": "resolver:db"}]}
        destination = {"NumRetries": 1, "RetryOn": ["5xx"]}
        route = {"Definition": {"Match": {"HTTP": {"PathPrefix": "/"}}, "Destination": destination},
                 "NextNode": "split"}  # fmt: skip
        nodes = {"split": split, "r": {"Type": "router", "Routes": [route]}}
        made = await net(mesh, "one", nodes=nodes)
        db = mesh.proxies["db"]
        made.change(telemetry=Telemetry(per_endpoint=True))
        assert (await made.ask())[0] == 200
        made.apps["one"].status = 503
        told: list[Entry] = []
        made.web._http.observer.sinks = (told.append,)
        assert (await made.ask())[0] == 503
        await until(lambda: bool(told), "it is told")
        (again,) = told[0].notes.again
        assert again.code == 503 and 0 < again.after_s <= told[0].duration_s
        assert (told[0].notes.tries, told[0].notes.route, told[0].notes.tls) == (2, 0, "TLSv1.3")
        made.apps["one"].status = 200
        source = mesh.sources["db"]
        limits = {"InstanceLevel": {"RequestsPerSecond": 1000, "Routes": [
            {"PathExact": "/few", "RequestsPerSecond": 0.001, "RequestsMaxBurst": 1}]}}  # fmt: skip
        own = source.state.own
        assert own is not None
        source.change(own=replace(own, guard=GuardConfig(rate_limits=limits)))
        few = GET.replace(b"/ HTTP", b"/few HTTP")
        assert [(await made.ask(few))[0] for _ in range(2)] == [200, 429]
        assert (await made.ask(BAD))[0] == 400
        found = counted(made.web)
        assert found["split_total", "db", "resolver:db"] == 4
        assert found["retries_total", "db", "5xx"] == 1
        assert found["http_rejects_total", "7"] == 1
        place = f"127.0.0.1:{made.hosts['one'].port}"
        assert found["lb_picks_total", "db", "db", "adaptive", place] == 5
        assert found["lb_target_share", "db", "db", "adaptive", place] == 1
        assert found["lb_ewma_seconds", "db", "db", "adaptive", place] > 0
        assert found["connections_total", "outbound", "http"] == 5
        assert found["endpoints", "db", "db", "healthy", "0"] == 1
        assert found["tls_handshakes_total", "outbound", "ok", "TLSv1.3", "false"] >= 1
        assert found["config_version",] > 1
        there = counted(db)
        assert there["rate_limited_total", "/few"] == 1
        assert there["intention_decisions_total", "web", "allow", "l4", "0"] >= 1
        assert there["tls_handshakes_total", "inbound", "ok", "TLSv1.3", "false"] >= 1
        assert there["tunnel_connections", "web.dc1"] >= 1
