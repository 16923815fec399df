"""Settings of upstreams: what is read, and that mistakes cost only themselves."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.settings import Faults, Hedging, Limits, Mirroring, Probing, UpstreamSettings, read

END = "2030-01-01T00:00:00Z"
END_AT = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def test_nothing_said_is_the_default() -> None:
    assert read({}) == UpstreamSettings()
    assert read({}).plain


def test_consuls_settings_are_read_in_both_spellings() -> None:
    made = read(
        {
            "limits": {"max_connections": 0, "max_pending_requests": 7},
            "passive_health_check": {"MaxFailures": 2, "Interval": 3_000_000_000},
        }
    )
    assert made.limits == Limits(connections_max=0, pending_max=7)
    assert (made.outliers.max_failures, made.outliers.interval_s) == (2, 3.0)
    again = read(
        {"passive_health_check": {"interval": "4s", "enforcing_consecutive_5xx": 0,
                                  "base_ejection_time": "1m"}}
    )  # fmt: skip
    assert again.outliers.interval_s == 4.0
    assert (again.outliers.enforcing_percent, again.outliers.base_ejection_s) == (0, 60.0)


def test_ours_are_read() -> None:
    made = read(
        {
            "lictor_lb": "p2c_ewma",
            "lictor_per_try_timeout": "300ms",
            "lictor_hedge_after": "p95",
            "lictor_mirror": {"upstream": "shadow", "percent": 5, "until": END},
            "lictor_fault": {"delay": "100ms", "delay_percent": 10, "until": END, "header": "x-f"},
            "lictor_active_check": {"path": "/healthz", "interval": "2s", "down": 1},
            "lictor_slow_start": "30s",
            "lictor_failback_delay": "5s",
            "lictor_min_local_hosts": 2,
            "lictor_proxy_protocol": "require",
        }
    )
    assert made == UpstreamSettings(
        balancer="p2c_ewma",
        per_try_timeout_s=0.3,
        hedging=Hedging(percentile=0.95),
        mirroring=Mirroring(upstream="shadow", percent=5, until_at=END_AT),
        faults=Faults(delay_s=0.1, delay_percent=10, header="x-f", until_at=END_AT),
        probing=Probing(path="/healthz", interval_s=2.0, down=1),
        slow_start_s=30.0,
        failback_delay_s=5.0,
        local_hosts_min=2,
        proxy_protocol="require",
    )
    assert not made.plain


def test_what_is_made_up_wants_an_end() -> None:
    made = read({"lictor_mirror": {"upstream": "a"}, "lictor_fault": {"abort": 503}})
    assert (made.mirroring, made.faults) == (None, None)
    assert len(made.problems) == 2


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**12) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["until", "percent", "path", "interval", "max_connections", "MaxFailures"]),
        inner, max_size=3),
)  # fmt: skip
KEYS = (
    "limits", "passive_health_check", "lictor_lb", "lictor_hedge_after", "lictor_mirror",
    "lictor_fault", "lictor_active_check", "lictor_slow_start", "lictor_min_local_hosts",
    "lictor_proxy_protocol", "lictor_per_try_timeout", "lictor_retry_non_idempotent",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JUNK))
def test_nothing_makes_it_fail(config: dict[str, object]) -> None:
    made = read(config)
    assert made.limits.connections_max >= 0
    assert made.slow_start_s >= 0
