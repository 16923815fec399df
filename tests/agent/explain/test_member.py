"""Members are explained as data, unknown ones are a clear error."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import pytest

from agent.errors import RequestError
from agent.explain.member import explain_member, plain


class Kind(enum.Enum):
    FAILED = 4


@dataclass(frozen=True)
class Seen:
    name: str
    changed_at: float
    quarantined_until: float
    status: Kind
    causes: tuple[str, ...]


def test_what_gossip_and_the_leader_know_stands_side_by_side() -> None:
    seen = Seen("c1", 1.5, 0.0, Kind.FAILED, ("no ack", "suspicion ran out"))
    told = explain_member({"c1": seen}.get, lambda name: [f"{name} made critical"], ["c1"])
    assert told == {
        "Gossip": {
            "Name": "c1",
            "ChangedAt": "1970-01-01T00:00:01.500+00:00",
            "QuarantinedUntil": None,
            "Status": "failed",
            "Causes": ["no ack", "suspicion ran out"],
        },
        "Leader": ["c1 made critical"],
    }


@pytest.mark.parametrize(("arguments", "status"), [([], 400), (["nobody"], 404)])
def test_a_member_nobody_knows_is_an_error(arguments: list[str], status: int) -> None:
    with pytest.raises(RequestError) as error:
        explain_member(lambda name: None, lambda name: None, arguments)
    assert error.value.status == status


def test_plain_leaves_json_as_it_is() -> None:
    assert plain({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
