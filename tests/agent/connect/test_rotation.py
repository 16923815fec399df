"""Rotations over the real state machine, and ten years of them on a clock of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.backend.authority import INSTALL_CA, REQUEST_CA, CAWish
from agent.backend.rpc import calls
from agent.connect import ca
from agent.connect.authority import BUSY, Authority
from agent.connect.renewal import renew_at
from agent.errors import RequestError
from proxy.spiffe import SpiffeId
from raftstore.errors import NoLeader
from raftstore.queries import GetCAConfig, GetCARoots
from tests.agent.connect.cluster import StateBackend
from tests.agent.connect.keeper import Keeper
from tests.agent.connect.paths import load_chain, verifies

RSA = {"PrivateKeyType": "rsa", "PrivateKeyBits": 2048}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def made(**config: Any) -> tuple[StateBackend, Authority, Clock]:
    backend, clock = StateBackend(), Clock()
    authority = Authority(backend, datacenter="dc1", config=config, now=clock)
    await authority.ensure_root()
    backend.signer = authority.sign_leaf
    return backend, authority, clock


async def roots_of(backend: StateBackend) -> Any:
    return (await backend.ask(GetCARoots())).value


async def csr(backend: StateBackend, name: str = "web") -> str:
    trust_domain = (await roots_of(backend)).trust_domain
    return ca.make_csr(ca.generate_key(), SpiffeId.service(trust_domain, "dc1", name))


async def test_another_kind_of_key_is_a_rotation_and_a_ttl_is_none() -> None:
    backend, authority, _ = await made()
    first = (await roots_of(backend)).roots
    await authority.configure(CAWish(config={"LeafCertTTL": "24h"}))
    assert (await roots_of(backend)).roots == first
    await authority.configure(CAWish(config=RSA))
    found = (await roots_of(backend)).roots
    assert [root.active for root in found] == [False, True]
    assert (found[1].private_key_type, found[1].private_key_bits) == ("rsa", 2048)
    assert len(found[1].intermediate_certs) == 1 and found[0].rotated_out_at
    config = (await backend.ask(GetCAConfig())).value
    assert config is not None and config.config["LeafCertTTL"] == "24h"
    await authority.configure(CAWish(config=RSA))
    assert len((await roots_of(backend)).roots) == 2, "the same again"


async def test_a_root_that_is_brought_and_never_shown() -> None:
    backend, authority, clock = await made()
    cluster = (await roots_of(backend)).trust_domain.removesuffix(".consul")
    key = ca.generate_key("ec", 384)
    mine = ca.make_root(key=key, cluster_id=cluster, serial=3, name_part="mine0000", now=clock())
    given = {"PrivateKey": mine.secret.private_key, "RootCert": mine.public.root_cert}
    await authority.configure(CAWish(config=given))
    found = (await roots_of(backend)).roots
    assert found[-1].id == mine.public.id and found[-1].active
    config = (await backend.ask(GetCAConfig())).value
    assert config is not None and config.config["PrivateKey"] == "<redacted>"
    assert mine.secret.private_key not in repr(config)
    # What was read can be written back.
    await authority.configure(CAWish(config={**config.config, "LeafCertTTL": "48h"}))
    assert (await roots_of(backend)).roots == found
    other = {**given, "PrivateKey": ca.key_pem(ca.generate_key("ec", 384))}
    with pytest.raises(RequestError, match="does not belong"):
        await authority.configure(CAWish(config=other))
    assert (await roots_of(backend)).roots == found


async def test_one_change_at_a_time_and_a_lost_race_changes_nothing() -> None:
    backend, authority, _ = await made()
    both = await asyncio.gather(
        authority.configure(CAWish(rotate=True)),
        authority.configure(CAWish(rotate=True)),
        return_exceptions=True,
    )
    assert sorted(str(one) for one in both) == ["None", BUSY]
    other = Authority(backend, datacenter="dc1", config={})
    raced = await asyncio.gather(
        authority.configure(CAWish(rotate=True)),
        other.configure(CAWish(rotate=True)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, RequestError) for one in raced) == 1
    found = (await roots_of(backend)).roots
    assert sum(root.active for root in found) == 1 and len(found) == 3


async def test_signing_is_bounded_by_places_where_no_rate_is_set() -> None:
    config = {"CSRMaxPerSecond": 0, "CSRMaxConcurrent": 2}
    backend, authority, _ = await made(**config)
    requests = [await csr(backend, f"s{at}") for at in range(20)]
    signed = await asyncio.gather(*(authority.sign_leaf(one) for one in requests))
    assert len({one.serial_number for one in signed}) == 20


async def test_no_leaf_of_a_root_that_was_replaced_meanwhile() -> None:
    backend, authority, clock = await made(CSRMaxPerSecond=0)
    request = await csr(backend)
    signed, _ = await asyncio.gather(
        authority.sign_leaf(request), authority.configure(CAWish(rotate=True))
    )
    known = await roots_of(backend)
    assert verifies(signed.cert_pem, [root.root_cert for root in known.roots], clock())


class Holder:
    """An agent with one service: holds a leaf, knows roots as it last heard, renews by rule."""

    def __init__(self, backend: StateBackend, clock: Clock, name: str, rng: random.Random) -> None:
        self._backend, self._clock, self._name, self._rng = backend, clock, name, rng
        self.chain = ""
        self.roots: list[str] = []
        self._signer, self._due_at = "", 0.0

    async def step(self) -> None:
        """What an agent does when time has passed; nothing while servers do not answer."""
        try:
            known = await roots_of(self._backend)
            self.roots = [root.root_cert for root in known.roots]
            active = next(root for root in known.roots if root.active)
            now = self._clock().timestamp()
            if active.signing_key_id != self._signer or now >= self._due_at:
                request = await csr(self._backend, self._name)
                self.chain = (await self._backend.sign_leaf(request)).cert_pem
                self._signer = active.signing_key_id
                leaf = load_chain(self.chain)[0]
                self._due_at = renew_at(
                    leaf.not_valid_before_utc.timestamp(),
                    leaf.not_valid_after_utc.timestamp(),
                    now=now,
                    rng=self._rng,
                )
        except NoLeader:
            pass


def test_a_year_of_renewals_and_rotations_with_servers_down_at_bad_moments() -> None:
    asyncio.run(years(1, rotate))


@pytest.mark.long
def test_ten_years_of_renewals_and_rotations_with_servers_down_at_bad_moments() -> None:
    asyncio.run(years(10, rotate))


@pytest.mark.long
def test_ten_years_below_a_root_that_is_kept_elsewhere() -> None:
    asyncio.run(years(10, below_a_keeper()))


Turn = Callable[[Authority, Clock, random.Random], Awaitable[None]]


def below_a_keeper() -> Turn:
    """Each turn another intermediate, for a year or for less; the first begins with the root."""
    keepers: list[Keeper] = []

    async def turn(authority: Authority, clock: Clock, rng: random.Random) -> None:
        if not keepers:
            keepers.append(Keeper(clock.now, days=20 * 365))
            await authority.configure(CAWish(config={"ExternalSigner": True}))
        keepers[0].now = clock.now
        asked = await authority.methods[REQUEST_CA](calls.pack(rng.random() < 0.5), 1.0)
        signed = keepers[0].intermediate(asked.decode(), days=rng.choice([365, 200]))
        await authority.methods[INSTALL_CA](calls.pack(signed, False), 1.0)

    return turn


async def years(count: int, turn: Turn) -> None:
    """Steps of six hours, leaves of thirty days. Servers are down for less than the tenth of a
    leaf's life that is left after the last renewal, often around rotations."""
    rng = random.Random(4711)
    backend, authority, clock = await made(CSRMaxPerSecond=0, LeafCertTTL="720h")
    holders = [Holder(backend, clock, name, rng) for name in ("web", "api", "db")]
    for holder in holders:
        await holder.step()
    seen: list[str] = []
    down_until = clock.now
    rotate_at = clock.now + timedelta(days=30)
    end = clock.now + timedelta(days=365 * count)
    while clock.now < end:
        clock.now += timedelta(hours=6)
        backend.down = clock.now < down_until
        if not backend.down and rng.random() < 0.01:
            down_until = clock.now + timedelta(hours=rng.choice([12, 24, 48]))
        if clock.now >= rotate_at and not backend.down:
            rotate_at = clock.now + timedelta(days=rng.randint(40, 120))
            await turn(authority, clock, rng)
            if rng.random() < 0.5:  # nobody hears of it at first
                down_until = clock.now + timedelta(hours=rng.choice([12, 24, 48]))
        if not backend.down:
            await authority.prune()
        backend.down = clock.now < down_until
        order = rng.sample(holders, len(holders))
        for holder in order[: rng.randint(1, 3)] if rng.random() < 0.2 else order:
            await holder.step()
        for one in holders:
            for other in holders:
                assert verifies(one.chain, other.roots, clock.now), clock.now
        active = [root.id for root in backend.machine.ca.roots if root.active]
        assert len(active) == 1
        if not seen or seen[-1] != active[0]:
            assert active[0] not in seen, "a root came back by itself"
            seen += active
        assert len(backend.machine.ca.roots) <= 3
        backend.machine.check()
    if turn is rotate:
        assert len(seen) > 3 * count and authority.stats().pruned > 2.5 * count
    else:
        assert len(seen) == 2, "one that was made here, and the keeper's"


async def rotate(authority: Authority, _clock: Clock, rng: random.Random) -> None:
    kind = rng.choice([{"PrivateKeyType": "ec", "PrivateKeyBits": 384}, {}, {}, {}])
    await authority.configure(CAWish(config=kind, rotate=not kind or rng.random() < 0.5))
