"""Bounds on requests, under a clock moved by hand."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agent.quotas import LOG_PAUSE_S, Quotas, RequestLimits


def quotas(mode: str = "enforcing", **rates: float) -> Quotas:
    return Quotas(RequestLimits(mode=mode, **rates))  # type: ignore[arg-type]


def ask(asked: Quotas, *, write: bool = False, token: str = "", client: str = "c", now: float = 0.0,
        local: bool = False) -> str:  # fmt: skip
    """The bound that was met, "" when the request passed."""
    found = asked.ask(write=write, token=token, client=client, now=now, local=local)
    return "" if found is None else found.kind


def test_without_bounds_nobody_is_asked() -> None:
    assert not quotas().active
    assert not quotas("disabled", read_rate=1).active
    assert all(not ask(quotas("disabled", read_rate=0)) for _ in range(9))


def test_reads_and_writes_of_all_together_have_bounds_of_their_own() -> None:
    both = quotas(read_rate=2, write_rate=1)
    assert [ask(both) for _ in range(3)] == ["", "", "read"]
    assert [ask(both, write=True) for _ in range(2)] == ["", "write"]
    assert [ask(both, now=1.0) for _ in range(3)] == ["", "", "read"]


def test_one_token_and_one_client_do_not_use_up_what_others_have() -> None:
    named = quotas(token_read_rate=1, client_read_rate=2)
    assert [ask(named, token="t") for _ in range(2)] == ["", "token read"]
    assert ask(named, token="u") == ""
    assert ask(named, token="v") == "client read"
    assert ask(named, token="v", client="d") == ""
    assert ask(named, token="", client="e") == ""  # nobody's token has no bound


def test_what_concerns_this_agent_alone_does_not_count_for_all() -> None:
    both = quotas(read_rate=0, client_read_rate=1)
    assert [ask(both, local=True) for _ in range(2)] == ["", "client read"]
    assert ask(both, client="d") == "read"


def test_a_refused_request_uses_nothing_up() -> None:
    both = quotas(read_rate=1, client_read_rate=100)
    assert [ask(both, client=str(n)) for n in range(3)] == ["", "read", "read"]
    assert ask(both, client="9", now=1.0) == ""


def test_permissive_counts_and_lets_pass() -> None:
    counting = quotas("permissive", read_rate=1)
    counting.ask(write=False, token="", client="c", now=0.0)
    over = counting.ask(write=False, token="", client="c", now=0.0)
    assert over is not None
    assert not over.refused
    assert counting.stats().let_pass["read"] == 1
    assert counting.stats().refused["read"] == 0


def test_rpc_of_a_client_agent_is_bounded_whatever_the_mode() -> None:
    rpc = Quotas(RequestLimits(rpc_rate=1, rpc_burst=2))
    assert [ask(rpc) for _ in range(3)] == ["", "", "rpc"]
    over = rpc.ask(write=True, token="", client="", now=0.0)
    assert over is not None
    assert over.refused


def test_it_says_when_to_come_back_and_is_not_logged_each_time() -> None:
    slow = quotas(read_rate=0.1)
    ask(slow)
    over = [slow.ask(write=False, token="", client="", now=0.0) for _ in range(2)]
    assert [each.retry_s for each in over if each] == [10, 10]
    assert [each.news for each in over if each] == [True, False]
    later = slow.ask(write=False, token="", client="", now=LOG_PAUSE_S - 1)
    assert later is not None
    assert not later.news
    never = quotas(write_rate=0).ask(write=True, token="", client="", now=0.0)
    assert never is not None
    assert never.retry_s == 60


def test_counters_are_there_from_the_start_and_a_change_takes_over() -> None:
    changed = quotas(read_rate=0)
    assert set(changed.stats().refused) == {
        "read", "write", "token read", "token write", "client read", "client write", "rpc",
    }  # fmt: skip
    assert ask(changed) == "read"
    changed.change(RequestLimits())
    assert ask(changed) == ""
    assert changed.stats().refused["read"] == 1


def test_invented_tokens_are_remembered_in_bounds() -> None:
    most = 40
    many = quotas(token_write_rate=5, names_max=most)
    for number in range(most + 10):
        ask(many, write=True, token=str(number))
    assert many.stats().buckets_held == most


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0, 2)), max_size=80),
)
def test_nobody_gets_more_than_a_burst_and_the_rate(
    asked: list[tuple[int, int, float]],
) -> None:
    bounded, now = quotas(read_rate=4, token_read_rate=2, client_read_rate=3), 0.0
    by_token, by_client, passed = Counter[int](), Counter[int](), 0
    for token, client, pause in asked:
        now += pause
        if not ask(bounded, token=f"t{token}", client=f"c{client}", now=now):
            by_token[token] += 1
            by_client[client] += 1
            passed += 1
    slack = 1e-6
    assert passed <= 4 + 4 * now + slack
    assert all(n <= 2 + 2 * now + slack for n in by_token.values())
    assert all(n <= 3 + 3 * now + slack for n in by_client.values())
