"""Probes take a host out after so many failures in a row, and bring it back."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.probes import Probes
from proxy.l7.settings import Probing


def test_down_and_up_again() -> None:
    probes = Probes(Probing(up=2, down=3))
    probes.update("ab")
    assert [probes.heard("a", well=False) for _ in range(2)] == [False, False]
    assert not probes.heard("a", well=True)
    assert [probes.heard("a", well=False) for _ in range(3)] == [False, False, True]
    assert probes.down == {"a"}
    assert [probes.heard("a", well=True) for _ in range(2)] == [False, True]
    assert probes.down == frozenset()
    assert not probes.heard("gone", well=False)


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_it_is_down_exactly_after_a_run(heard: list[bool], up: int, down: int) -> None:
    probes, out, run = Probes(Probing(up=up, down=down)), False, 0
    probes.update("a")
    for well in heard:
        probes.heard("a", well=well)
        run = run + 1 if well == out else 0
        if run == (up if out else down):
            out, run = not out, 0
        assert (probes.down == {"a"}) == out
    probes.update("")
    assert probes.down == frozenset()
