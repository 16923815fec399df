"""The search agrees with trying all orders, and never calls a real register wrong."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from jepsen_lite.checkers import Validity, linearizable
from jepsen_lite.generator import CAS, READ, WRITE
from jepsen_lite.history import FAIL, INFO, INVOKE, OK, Op, pair
from jepsen_lite.models import Call, Register


def simulate(seed: int, steps: int, *, lies: bool) -> list[Op]:
    """Clients of one register in memory. Operations take effect somewhere between their ends;
    some outcomes are unknown. With ``lies`` reads may show any value ever written."""
    rng = random.Random(seed)
    ops: list[Op] = []
    state: str | None = None
    written: list[str | None] = [None]
    busy: dict[str, tuple[Op, str | None, str]] = {}

    def add(**fields: object) -> Op:
        op = Op(index=len(ops), key="k", **fields)  # type: ignore[arg-type]
        ops.append(op)
        return op

    for number in range(steps):
        process = f"p{rng.randrange(3)}"
        if process not in busy:
            f = rng.choice([WRITE, READ, CAS])
            value = None if f == READ else f"v{number}"
            expected = rng.choice(written) if f == CAS else None
            mode = "consistent" if f == READ else ""
            invoked = add(
                process=process, type=INVOKE, f=f, value=value, expected=expected, mode=mode
            )
            outcome, shown = OK, value
            if f == READ:
                shown = rng.choice(written) if lies and rng.random() < 0.5 else state
            elif f == WRITE or state == expected:
                written.append(value)
                state = value
            else:
                outcome = FAIL
            busy[process] = (invoked, shown, outcome)
        else:
            invoked, shown, outcome = busy.pop(process)
            if invoked.f != READ and rng.random() < 0.2:
                outcome = INFO
            add(process=process, type=outcome, f=invoked.f, value=shown)
    return ops


def brute_force(ops: list[Op]) -> bool:
    """Whether any subset of the unknown operations and any order explains the history."""
    spans = [span for span in map(linearizable.span_of, pair(ops)) if span is not None]
    must = [span for span in spans if span.must]
    may = [span for span in spans if not span.must]
    for size in range(len(may) + 1):
        for extra in itertools.combinations(may, size):
            for order in itertools.permutations([*must, *extra]):
                if all(
                    not later.end < earlier.start
                    for at, earlier in enumerate(order)
                    for later in order[at + 1 :]
                ) and runs([span.call for span in order]):
                    return True
    return False


def runs(calls: list[Call]) -> bool:
    model, state = Register(), None
    for call in calls:
        allowed, state = model.step(state, call)
        if not allowed:
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 60))
def test_a_real_register_is_never_called_wrong(seed: int, steps: int) -> None:
    verdict = linearizable.check(simulate(seed, steps, lies=False))
    assert verdict.validity is not Validity.INVALID


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(2, 11))
def test_the_search_agrees_with_trying_all_orders(seed: int, steps: int) -> None:
    ops = simulate(seed, steps, lies=True)
    verdict = linearizable.check(ops)
    if verdict.checked:
        assert (verdict.validity is Validity.VALID) == brute_force(ops)


def test_lies_are_found() -> None:
    found = [
        linearizable.check(simulate(seed, 40, lies=True)).validity is Validity.INVALID
        for seed in range(30)
    ]
    assert sum(found) > 20
