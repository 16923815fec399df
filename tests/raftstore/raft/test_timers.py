"""The timers ring when they should, once, and not after they were called off."""

import asyncio
import time

from raftstore.errors import Refused
from raftstore.raft.callers import Waiting
from raftstore.raft.requests import Outcome
from raftstore.raft.timers import Alarm, CallerTimer, Graces
from tests.raftstore.raft.cluster import until


async def test_an_alarm_rings_once_after_the_soonest_deadline():
    rung = []
    alarm = Alarm(time.monotonic, lambda: rung.append(time.monotonic()))
    began = time.monotonic()
    alarm.set(began + 60)
    alarm.set(began + 0.03)
    alarm.set(began + 0.2)  # later: it stays as it is
    await until(lambda: bool(rung))
    assert rung[0] - began > 0.03  # never early: the engine compares strictly
    alarm.again_in(0.01)
    await until(lambda: len(rung) == 2)
    alarm.set(float("inf"))
    alarm.again_in(0.01)
    alarm.cancel()
    await asyncio.sleep(0.03)
    assert len(rung) == 2


async def test_who_waits_too_long_is_told_and_nobody_else():
    timer, told = CallerTimer(), []
    late, answered, patient = (Waiting(told.append) for _ in range(3))
    timer.watch(late, 0.01)
    timer.watch(answered, 0.01)
    timer.watch(patient, 60.0)
    timer.settle([(answered, Outcome(7))])
    assert told == [Outcome(7)]
    await until(lambda: len(told) == 2)
    assert isinstance(told[1], Refused)
    timer.cancel()
    await asyncio.sleep(0.06)
    assert len(told) == 2


async def test_a_link_that_does_not_come_back_is_told_of():
    over = []
    graces = Graces(0.02, over.append)
    graces.begin("a")
    graces.begin("b")
    graces.end("b")
    graces.end("never gone")
    await until(lambda: over == ["a"])
    graces.begin("c")
    graces.cancel()
    await asyncio.sleep(0.04)
    assert over == ["a"]
