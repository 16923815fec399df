"""What the leader writes for access control, and deletes."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from agent.acl.builtin import ANONYMOUS_ID, BUILTIN_POLICIES, GLOBAL_MANAGEMENT_ID
from agent.backend.operations import BOOTSTRAP_ACL
from agent.config.schema import AclConfig, AclTokens
from agent.leader.access import REAP_MAX, RESET_FILE, AccessKeeper, management_token
from raftstore import definition_commands as dc
from raftstore import definition_queries as dq
from raftstore import definitions as d
from raftstore import wire
from raftstore.codec import codec_for
from raftstore.commands import Applied, Outcome
from raftstore.errors import StoreError
from tests.agent.http.rig import StateBackend

NOW = 1000.0
MANAGEMENT = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"


class Setting:
    def __init__(self, folder: Path | None = None, *, secret: str = "", enabled: bool = True):
        self.backend = StateBackend()
        self.time = NOW
        self.keeper = AccessKeeper(
            self.backend,
            AclConfig(enabled=enabled, tokens=AclTokens(initial_management=secret)),
            data_dir=str(folder) if folder else "",
            unix_clock=lambda: self.time,
            interval_s=0.001,
        )

    async def tokens(self) -> dict[str, d.ACLToken]:
        found = await self.backend.ask(dq.ListACLTokens())
        return {token.accessor: token for token in found.value}

    async def bootstrap(self) -> Outcome:
        token = management_token("Bootstrap Token", secret=str(uuid.uuid4()), now=NOW)
        raw = await self.keeper.methods[BOOTSTRAP_ACL](codec_for(d.ACLToken).encode(token), 5.0)
        return wire.decode_outcome(raw)


async def test_what_every_cluster_has_is_written_once() -> None:
    setting = Setting(secret=MANAGEMENT)
    await setting.keeper.ensure()
    tokens = await setting.tokens()
    assert len(tokens) == 2
    assert tokens.pop(ANONYMOUS_ID).policies == ()
    (management,) = tokens.values()
    assert (management.secret, management.policies) == (MANAGEMENT, (GLOBAL_MANAGEMENT_ID,))
    policies = (await setting.backend.ask(dq.ListACLPolicies())).value
    assert {policy.id for policy in policies} == set(BUILTIN_POLICIES)
    secret = (await setting.backend.ask(dq.GetACLFact("server"))).value
    index = setting.backend.acl_index
    await setting.keeper.ensure()
    assert setting.backend.acl_index == index, "the next leader finds it all"
    assert (await setting.backend.ask(dq.GetACLFact("server"))).value == secret


async def test_what_operators_changed_is_left_as_it_is() -> None:
    setting = Setting()
    await setting.keeper.ensure()
    anonymous = (await setting.tokens())[ANONYMOUS_ID]
    changed = d.ACLToken(
        accessor=ANONYMOUS_ID, secret=anonymous.secret, policies=(GLOBAL_MANAGEMENT_ID,), content={}
    )
    await setting.backend.change(dc.SetACLToken(changed))
    await setting.keeper.ensure()
    assert (await setting.tokens())[ANONYMOUS_ID].policies == (GLOBAL_MANAGEMENT_ID,)


async def test_an_initial_management_token_takes_the_place_of_bootstrap() -> None:
    setting = Setting(secret=MANAGEMENT)
    await setting.keeper.ensure()
    assert not isinstance(await setting.bootstrap(), Applied)


async def test_bootstrap_works_once_and_again_after_a_reset(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    await setting.keeper.ensure()
    assert isinstance(await setting.bootstrap(), Applied)
    fact = (await setting.backend.ask(dq.GetACLFact("bootstrap"))).value
    assert not isinstance(await setting.bootstrap(), Applied)
    file = tmp_path / RESET_FILE
    for wrong in (str(fact.modify_index + 1), "", "x" * 1000, "-1"):
        file.write_text(wrong)
        assert not isinstance(await setting.bootstrap(), Applied), wrong
        assert not file.exists(), "a file counts once"
    file.write_text(f"{fact.modify_index}\n")
    assert isinstance(await setting.bootstrap(), Applied)
    file.write_text(str(fact.modify_index))
    assert not isinstance(await setting.bootstrap(), Applied), "the index was for one reset"


async def test_expired_tokens_are_deleted_and_no_others() -> None:
    setting = Setting()
    for number in range(REAP_MAX + 10):
        expires_at = NOW - 1 if number < REAP_MAX + 5 else NOW + 5
        token = d.ACLToken(
            accessor=f"a{number}", secret=f"s{number}", expires_at=expires_at, content={}
        )
        await setting.backend.change(dc.SetACLToken(token))
    await setting.backend.change(
        dc.SetACLToken(d.ACLToken(accessor="never", secret="s", content={}))
    )
    assert [await setting.keeper.reap() for _ in range(3)] == [REAP_MAX, 5, 0]
    assert len(await setting.tokens()) == 6
    setting.time += 6
    assert await setting.keeper.reap() == 5
    assert set(await setting.tokens()) == {"never"}


async def test_a_leader_goes_on_after_a_failure() -> None:
    setting = Setting()
    setting.backend.failure = StoreError("not now")
    running = asyncio.ensure_future(setting.keeper.run())  # noqa: TID251
    await asyncio.sleep(0.01)
    assert not running.done()
    setting.backend.failure = None
    token = d.ACLToken(accessor="a", secret="s", expires_at=NOW - 1, content={})
    await setting.backend.change(dc.SetACLToken(token))
    async with asyncio.timeout(5):
        while not setting.keeper.reaped:
            await asyncio.sleep(0.001)
    assert set(await setting.tokens()) == {ANONYMOUS_ID}
    running.cancel()


async def test_without_access_control_nothing_is_written() -> None:
    setting = Setting(enabled=False)
    await setting.keeper.run()
    assert await setting.tokens() == {}
