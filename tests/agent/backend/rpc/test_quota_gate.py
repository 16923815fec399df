"""Which requests of client agents count, and against what."""

from __future__ import annotations

from agent.backend.rpc import calls
from agent.backend.rpc.quota_gate import QuotaGate
from agent.quotas import Quotas, RequestLimits


def gate(**rates: float) -> QuotaGate:
    limits = RequestLimits(mode="enforcing", **rates)  # type: ignore[arg-type]
    return QuotaGate(Quotas(limits), lambda client: client == "server")


def asked(asking: QuotaGate, method: str, payload: bytes = b"", client: str = "c") -> bool:
    return asking.refuses(method, payload, client, 0.0)


def test_reads_and_writes_count_and_nothing_else() -> None:
    bounded = gate(read_rate=1, write_rate=1)
    assert [asked(bounded, calls.ASK) for _ in range(2)] == [False, True]
    assert [asked(bounded, calls.CHANGE) for _ in range(2)] == [False, True]
    free = (calls.READ_INDEX, calls.LEADER, calls.RAFT_SERVERS, calls.BOOTSTRAP_VIEW,
            "resolve-token", calls.AGENT_CERTIFICATE)  # fmt: skip
    assert not any(asked(bounded, method) for method in free for _ in range(3))


def test_what_a_server_passes_on_was_counted_where_it_came_in() -> None:
    bounded = gate(read_rate=0)
    assert not asked(bounded, calls.ASK, client="server")
    assert asked(bounded, calls.ASK)


def test_a_call_in_somebodys_name_counts_for_its_token() -> None:
    bounded = gate(token_write_rate=1)
    one, two = (calls.write_as(secret, calls.CHANGE, b"x") for secret in ("a", "b"))
    assert [asked(bounded, calls.AS, each) for each in (one, one, two)] == [False, True, False]
    assert not asked(bounded, calls.AS, b"rubbish")


def test_without_bounds_nothing_is_looked_at() -> None:
    assert not asked(QuotaGate(Quotas(RequestLimits()), lambda _: False), calls.AS, b"rubbish")
