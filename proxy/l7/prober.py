"""Asks the hosts of a target whether they are well, as long as it is told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from proxy.balance.hosts import Host
from proxy.errors import HttpViolation
from proxy.http1.body import Framing
from proxy.http1.head import Request
from proxy.l7.attempts import peer_of
from proxy.l7.hosts import TargetHosts
from proxy.l7.mirror import CopiedBody, Nowhere
from proxy.l7.relaying import Began, Outgoing, Replay, ask, give
from proxy.l7.request_state import Surroundings
from proxy.l7.settings import Probing

log = logging.getLogger("lictor.proxy.l7.prober")

#: Hosts of one target that are asked at the same time.
PROBES_MAX = 32


async def probe(hosts: TargetHosts, around: Surroundings, current: Callable[[], bool]) -> None:
    """Ask all hosts, again and again, until these are not the current ones any more."""
    probing = hosts.settings.probing
    assert probing is not None
    places = asyncio.Semaphore(PROBES_MAX)

    async def one(host: Host) -> None:
        async with places:
            well = await _is_well(hosts, host, probing, around)
        if hosts.probes is not None and hosts.probes.heard(host.key, well=well):
            log.info(
                "host is %s by probes address=%s:%d",
                "well again" if well else "not well", host.address, host.port,
            )  # fmt: skip

    while current():
        await asyncio.gather(*(one(host) for host in hosts.hosts))
        # Not all sidecars at the same time.
        await around.sleep(probing.interval_s * around.rng.uniform(0.9, 1.1))


async def _is_well(hosts: TargetHosts, host: Host, probing: Probing, around: Surroundings) -> bool:
    peer = peer_of(hosts.target, host, around.trust_domain())
    try:
        async with asyncio.timeout(probing.timeout_s):
            pipe = await around.pool.dial(peer, around.contexts(), probing.timeout_s)
            try:
                if not probing.path:
                    return True
                headers = (("Host", hosts.target.service), ("User-Agent", "lictor-probe"))
                request = Request("GET", probing.path, 1, headers)
                replay = Replay(CopiedBody((), Framing(), ()))
                out = Outgoing("GET", probing.path, headers)
                result = await ask(pipe, out, request, replay, around.limits, probing.timeout_s)
                if not isinstance(result, Began):
                    return False
                await give(pipe, result, Nowhere(), (), around.limits)
                return 200 <= result.head.status < 300
            finally:
                pipe.finish()
    except (OSError, TimeoutError, HttpViolation):
        return False
