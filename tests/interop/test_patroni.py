"""Patroni keeps PostgreSQL with lictor as its Consul: bootstrap, switchover, lost leaders."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.e2e.cluster import cluster
from tests.interop.patroni import SCOPE, TTL_S, Member, absent, members
from tests.waiting import eventually

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(900),
    pytest.mark.long,
    pytest.mark.skipif(bool(absent()), reason=absent()),
]
#: How long Patroni may take for a step on a busy machine: starting PostgreSQL, copying, promoting.
STEP_S = 120.0


class Writer:
    """Writes a row at a time to whoever is the primary, and remembers those acknowledged."""

    def __init__(self, all_: list[Member]) -> None:
        self._members = list(all_)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: list[int] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            member = self._members[0]
            number += 1
            try:
                member.sql(f"INSERT INTO rows VALUES ({number})")
            except OSError:  # no primary, or the row's fate is open
                self._members.append(self._members.pop(0))
                self._stop.wait(0.2)
            else:
                self.acknowledged.append(number)

    def goes_on(self) -> None:
        """Wait until ten more rows are acknowledged."""
        goal = len(self.acknowledged) + 10
        eventually(lambda: len(self.acknowledged) >= goal, within_s=STEP_S, what="writes go on")


def primary(asked: Member, count: int, *, other_than: str = "") -> str:
    """The primary's name, once ``count`` members run and all replicas follow it."""

    def settled() -> str:
        seen = asked.ask("/cluster")["members"]
        leaders = [m["name"] for m in seen if m["role"] == "leader" and m["state"] == "running"]
        following = [m for m in seen if m["role"] != "leader" and m["state"] == "streaming"]
        synchronous = [m for m in seen if m["role"] == "sync_standby"]
        if len(leaders) == 1 and len(following) == count - 1 and synchronous:
            return "" if leaders[0] == other_than else str(leaders[0])
        raise LookupError(seen)

    return eventually(settled, within_s=STEP_S, what=f"a primary and {count - 1} replicas")


def test_patroni(tmp_path: Path) -> None:
    with cluster(tmp_path) as lictor:
        servers = lictor.servers(3)
        agents = [lictor.add(f"c{i}").ready() for i in (1, 2, 3)]
        with members(agents) as all_:
            by_name = {member.name: member for member in all_}
            for member in all_:
                member.start()
            eventually(lambda: all_[0].ask("/cluster"), within_s=STEP_S, what="pg1 answers")
            first = primary(all_[0], 3)
            by_name[first].sql("CREATE TABLE rows (number int)")

            def named(role: str) -> list[str]:
                return agents[0].dns(f"{role}.{SCOPE}.service.consul")

            def announced(name: str) -> None:
                eventually(
                    lambda: named("primary") == [by_name[name].address],
                    within_s=STEP_S, what=f"DNS names {name} as the primary",
                )  # fmt: skip

            announced(first)
            with Writer(all_) as writer:
                writer.goes_on()

                second = standby(all_[0])
                said = by_name[first].control(
                    "switchover", SCOPE, "--leader", first, "--candidate", second, "--force"
                )
                assert primary(all_[0], 3, other_than=first) == second, said
                announced(second)
                writer.goes_on()

                # Losing the registry's leader costs no primary: the session outlives the election.
                timeline = by_name[second].ask("/patroni")["timeline"]
                leader = lictor.by_leader()
                leader.kill()
                survivor = next(server for server in servers if server is not leader)
                eventually(
                    lambda: survivor.leader() not in {"", f"{leader.address}:8300"}, within_s=60.0
                )
                keeps(by_name[second], timeline, writer)
                leader.start().ready(60.0)
                writer.goes_on()

                by_name[second].kill()
                left = next(member for member in all_ if member.name != second)
                third = primary(left, 2, other_than=second)
                announced(third)
                writer.goes_on()

                by_name[second].start()
                assert primary(left, 3) == third
            kept = {int(row) for row in by_name[third].sql("SELECT number FROM rows").split()}
            assert set(writer.acknowledged) - kept == set(), "acknowledged rows are lost"


def standby(asked: Member) -> str:
    """Who has all that is acknowledged: only this one may become the primary."""
    seen = asked.ask("/cluster")["members"]
    return next(str(m["name"]) for m in seen if m["role"] == "sync_standby")


def keeps(member: Member, timeline: int, writer: Writer) -> None:
    """For longer than a session lives without renewal, the primary stays and takes writes."""
    done = threading.Event()
    alarm = threading.Timer(1.5 * TTL_S / 2, done.set)
    alarm.start()
    try:
        while not done.is_set():
            seen = member.ask("/patroni")
            assert (seen["role"], seen["timeline"]) == ("primary", timeline), seen
            writer.goes_on()
    finally:
        alarm.cancel()
