"""The search agrees with trying all orders, and never calls a real register wrong."""

import itertools
import random
import time
from dataclasses import replace

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


def long_history(seed: int, count: int, keys: int, clients: int, unknown: float) -> list[Op]:
    """A correct run of registers in memory; unknown operations happen now, late, or never."""
    rng = random.Random(seed)
    ops: list[Op] = []
    state: dict[str, int] = {}
    busy: dict[int, tuple[Op, int | None, bool]] = {}
    names = list(range(clients))
    begun = 0
    while begun < count or busy:
        client = rng.choice(names) if begun < count else next(iter(busy))
        if client not in busy:
            begun += 1
            key, f = f"k{rng.randrange(keys)}", rng.choice([WRITE, READ])
            op = Op(
                index=len(ops),
                process=str(client),
                type=INVOKE,
                f=f,
                key=key,
                value=begun if f == WRITE else None,
                mode="consistent" if f == READ else "",
            )
            ops.append(op)
            busy[client] = (op, None, False)
            continue
        op, shown, happened = busy[client]
        lost = op.f == WRITE and rng.random() < unknown / 2
        if not happened and not lost:
            if op.f == WRITE:
                assert isinstance(op.value, int)
                state[op.key] = op.value
            busy[client] = (op, state.get(op.key), True)
            continue
        del busy[client]
        outcome = INFO if op.f == WRITE and (lost or rng.random() < unknown) else OK
        value = op.value if op.f == WRITE else shown
        ops.append(
            Op(index=len(ops), process=op.process, type=outcome, f=op.f, key=op.key, value=value)
        )
    return ops


def test_long_histories_are_judged_in_time() -> None:
    """100,000 operations over 100 keys by 32 clients in 30 s, and one key with 5,000 operations of
    which a tenth has an unknown outcome in 60 s; they take about one second each."""
    began = time.process_time()
    wide = linearizable.check(long_history(1, 100_000, 100, 32, 0.01))
    assert wide.validity is Validity.VALID
    assert wide.checked > 95_000
    assert time.process_time() - began < 30
    began = time.process_time()
    deep = linearizable.check(long_history(2, 5_000, 1, 10, 0.1))
    assert deep.validity is Validity.VALID
    assert time.process_time() - began < 60


def test_a_counterexample_is_made_small() -> None:
    ops = long_history(3, 2_000, 1, 5, 0.05)
    reads = [op for op in ops if op.type == OK and op.f == READ and op.value is not None]
    old, late = reads[5], reads[-1]
    ops = [replace(op, value=old.value) if op.index == late.index else op for op in ops]
    (problem,) = linearizable.check(ops).problems
    assert f"read {old.value}" in problem
    assert problem.count("\n") < 10
