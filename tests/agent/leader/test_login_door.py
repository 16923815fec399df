"""What a server has of logins before anybody comes, and what it becomes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from agent.backend.logins import Login, Logout
from agent.backend.operations import LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH
from agent.errors import RequestError
from agent.leader.login_door import OUTCOMES, LoginDoor
from raftstore.errors import NoLeader
from tests.agent.connect.cluster import StateBackend

STRANGER = Login(method="none", bearer="secret-bearer", address="10.0.0.1:1", node="n1").encode()


def door(backend: StateBackend) -> LoginDoor:
    return LoginDoor(backend, datacenter="dc1")


async def test_before_the_first_login_there_are_names_and_figures_at_zero() -> None:
    shut = door(StateBackend())
    assert set(shut.methods) == {LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH}
    assert shut.stats().logins == dict.fromkeys(OUTCOMES, 0)
    assert not any(value for value in asdict(shut.stats()).values() if isinstance(value, int))
    assert shut.explain() == {"Outcomes": dict.fromkeys(OUTCOMES, 0), "Last": []}
    await shut.close()
    assert shut._keeper is None


async def test_of_many_who_come_first_one_opens_it_and_all_are_counted() -> None:
    shut = door(StateBackend())
    begun = shut.stats()
    tries = [shut.methods[LOGIN](STRANGER, 5.0) for _ in range(3)]
    refused = await asyncio.gather(*tries, return_exceptions=True)
    assert [getattr(each, "status", None) for each in refused] == [403] * 3
    assert str(refused[0]).endswith('auth method "none" not found')
    assert shut.stats() is begun and begun.logins["unknown method"] == 3
    told = str(shut.explain())
    assert told.count("'AuthMethod': 'none'") == 3 and "secret-bearer" not in told
    await shut.close()


@pytest.mark.parametrize("method", [LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH])
async def test_what_cannot_be_read_is_refused(method: str) -> None:
    shut = door(StateBackend())
    for payload in (b"", b"[]", b"{", b"\xff"):
        with pytest.raises(Exception, match=r".") as caught:
            await shut.methods[method](payload, 5.0)
        assert not isinstance(caught.value, AssertionError | KeyError | TypeError), caught.value
    assert sum(shut.stats().logins.values()) == 0
    await shut.close()


async def test_nobody_logs_out_who_is_not_in_and_a_lost_leader_is_told() -> None:
    backend = StateBackend()
    shut = door(backend)
    gone = Logout(secret="5ec2e700-0000-4000-8000-000000000001").encode()
    with pytest.raises(RequestError) as caught:
        await shut.methods[LOGOUT](gone, 5.0)
    assert (caught.value.status, caught.value.text) == (403, "ACL not found")
    backend.down = True
    for method, payload in ((LOGIN, STRANGER), (LOGOUT, gone)):
        with pytest.raises(NoLeader):
            await shut.methods[method](payload, 5.0)
    assert shut.stats().logouts == 0
    await shut.close()
