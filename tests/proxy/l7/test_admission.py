"""Bounds of an upstream hold whatever comes and goes."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.admission import Admission, Entry
from proxy.l7.settings import Limits


def test_requests_run_wait_and_overflow() -> None:
    gate = Admission(Limits(connections_max=2, pending_max=1))
    assert [gate.enter() for _ in range(4)] == [Entry.GO, Entry.GO, Entry.WAIT, Entry.OVERFLOW]
    assert gate.free() == 0
    gate.leave()
    assert gate.free() == 1
    gate.begin()
    assert (gate.running, gate.waiting, gate.overflows) == (2, 0, 1)


def test_zero_is_none() -> None:
    for limits in (Limits(connections_max=0), Limits(requests_max=0)):
        assert Admission(limits).enter() is Entry.OVERFLOW
    gate = Admission(Limits(connections_max=1, pending_max=0))
    assert [gate.enter(), gate.enter()] == [Entry.GO, Entry.OVERFLOW]


@given(
    st.builds(Limits, connections_max=st.integers(0, 4), pending_max=st.integers(0, 4),
              requests_max=st.integers(0, 6)),
    st.lists(st.sampled_from("enter leave give_up".split())),
)  # fmt: skip
def test_no_bound_is_ever_passed(limits: Limits, steps: list[str]) -> None:
    gate = Admission(limits)
    for step in steps:
        if step == "enter":
            gate.enter()
        elif step == "leave" and gate.running:
            gate.leave()
        elif step == "give_up" and gate.waiting:
            gate.give_up()
        while gate.free():
            gate.begin()
        assert 0 <= gate.running <= limits.connections_max
        assert 0 <= gate.waiting <= limits.pending_max
        assert gate.running + gate.waiting <= limits.requests_max
        assert not (gate.waiting and gate.running < limits.connections_max), "somebody is forgotten"
