"""Full-state exchange: version checks, scaling, and what records claim."""

from __future__ import annotations

from typing import Any

import pytest

from gossip import pushpull
from gossip.errors import RemoteError
from gossip.wire.messages import Alive, Dead, NodeState, State, Suspect
from tests.gossip import vectors

GOOD = bytes((1, 5, 2, 2, 5, 5))


def node(versions: bytes, state: State = State.ALIVE, name: str = "n1") -> NodeState:
    return NodeState(
        incarnation=3,
        name=name,
        address=bytes(4),
        port=1,
        meta=None,
        versions=versions,
        state=state,
    )


@pytest.mark.parametrize("row", vectors.load()["push_pull_scale"], ids=lambda r: str(r["n"]))
def test_the_scale_equals_the_recorded_one(row: dict[str, Any]) -> None:
    assert pushpull.scale(row["n"]) == row["multiplier"]


@pytest.mark.parametrize(
    ("versions", "state", "fits"),
    [
        (GOOD, State.ALIVE, True),
        (bytes((1, 5, 5, 2, 5, 5)), State.ALIVE, True),
        (bytes((1, 5, 2, 6, 7, 6)), State.ALIVE, False),
        (b"", State.ALIVE, False),
        (b"", State.DEAD, False),
        (bytes((3, 5, 3, 2, 5, 5)), State.ALIVE, False),
        (bytes((3, 5, 3, 2, 5, 5)), State.LEFT, True),
    ],
)
def test_everybody_must_understand_what_everybody_speaks(
    versions: bytes, state: State, fits: bool
) -> None:
    nodes = [node(GOOD, name="good"), node(versions, state)]
    if fits:
        pushpull.verify(nodes, [])
    else:
        with pytest.raises(RemoteError, match="incompatible"):
            pushpull.verify(nodes, [])


def test_the_dead_and_the_suspect_become_our_suspicions_and_the_left_have_left() -> None:
    nodes = [node(GOOD, state, state.name) for state in State]
    alive, suspect, dead, left = pushpull.claims(nodes, "me")
    assert isinstance(alive, Alive)
    assert suspect == Suspect(3, "SUSPECT", "me")
    assert dead == Suspect(3, "DEAD", "me")
    assert left == Dead(3, "LEFT", "LEFT")
