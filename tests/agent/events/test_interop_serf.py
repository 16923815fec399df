"""User events between our agents and a real `serf`, both ways."""

from __future__ import annotations

import contextlib
import pathlib
import time

import pytest

from agent.events.event import UserEvent, encode
from agent.events.log import EventLog
from gossip import MemberStatus
from tests.gossip.rings import Watched, eventually, quick
from tests.gossip.test_interop_serf import SERF, serf_agent

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(SERF is None, reason="the serf program is not installed"),
]


async def test_events_go_both_ways_as_they_do_between_consuls_agents(
    tmp_path: pathlib.Path,
) -> None:
    log = EventLog("n0", send=lambda n, p: member.gossip.user_event(n, p), now=time.time)
    log.ready(tuple)
    member = Watched(quick("n0"), on_user_event=log.arrived)
    heard = tmp_path / "heard"
    handler = f"user=(echo $SERF_USER_EVENT; cat) >> {heard}"
    await member.gossip.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(member.gossip.stop)
        agent = serf_agent(member.address, tmp_path / "serf.log", f"-event-handler={handler}")
        real = await stack.enter_async_context(agent)
        await eventually(lambda: member.status("real") is MemberStatus.ALIVE, "joined")

        ours = UserEvent(id="b54fe110-7af5-cafc-d1fb-afc8ba432b1c", name="ours", payload=b"v1")
        log.fire(ours)
        whole = b"consul:event:ours\n" + encode(ours)
        await eventually(lambda: heard.exists() and whole in heard.read_bytes(), "heard by serf")

        theirs = UserEvent(id="theirs", name="theirs", payload=b"v2", node_filter="^n")
        raw = encode(theirs).decode("utf-8", "surrogateescape")
        assert "dispatched" in await real.command("event", "consul:event:theirs", raw)
        assert "dispatched" in await real.command("event", "-coalesce=false", "deploy", "v1")
        await eventually(lambda: log.stats().received == 3, "heard from serf")
        assert log.stats().passed_over["foreign"] == 1
        assert [event.name for event in log.list(lambda _: True)[0]] == ["ours", "theirs"]
