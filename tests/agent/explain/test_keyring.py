"""What is told of the ring's keys: who holds which, if they agree, how the last change went."""

from __future__ import annotations

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from agent.config.schema import AgentConfig
from agent.explain.keyring import KeyedPool, explain_keyring, fingerprint
from gossip import KeyOperation
from tests.agent.http.keyed import KeyedRing, SeenMember

OLD, NEW = bytes(range(32)), bytes(range(100, 132))


class Pool:
    """The members of a keyed ring."""

    def __init__(self, ring: KeyedRing) -> None:
        self.ring = ring
        self.ring_keys = ring.keys

    def members(self) -> list[SeenMember]:
        return [SeenMember(name) for name in self.ring.rings]


async def told(ring: KeyedRing) -> Any:
    config = AgentConfig(node_name="n1", gossip_keys=(OLD,))
    return await explain_keyring(config, cast("KeyedPool", Pool(ring)))


async def test_members_keys_and_disagreement() -> None:
    ring = KeyedRing("n1", "n2")
    for each in ring.rings.values():
        each.install(OLD)
    assert (await told(ring))["Agree"] is True
    ring.rings["n2"].install(NEW)
    found = await told(ring)
    assert found["Agree"] is False
    assert len(found["Members"]["n1"]["Keys"]) == 1
    assert len(found["Members"]["n2"]["Keys"]) == 2
    assert found["Members"]["n2"]["Primary"] == found["Members"]["n1"]["Primary"]
    assert found["File"].startswith("none")
    assert found["Last"] is None


async def test_a_refused_change_and_a_silent_member_are_told() -> None:
    ring = KeyedRing("n1", "n2")
    for each in ring.rings.values():
        each.install(OLD)
    await ring.keys.change(KeyOperation.USE, NEW)
    ring.silent = {"n2"}
    found = await told(ring)
    assert found["Last"]["Refused"] is True
    assert set(found["Last"]["Failed"]) == {"n1", "n2"}
    assert found["Members"]["n2"]["Message"] == "no answer"
    assert found["Running"] is None
    assert json.dumps(found)


@given(st.text())
def test_a_fingerprint_never_shows_the_key(key: str) -> None:
    shown = fingerprint(key)
    assert len(shown) == 12
    assert int(shown, 16) >= 0
