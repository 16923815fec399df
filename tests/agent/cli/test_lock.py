"""`lock` as a process, against the HTTP API: who waits, who is ended, what is given back."""

from __future__ import annotations

import asyncio
import queue
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.cli import lock, lock_holder
from agent.cli.client import Client as Requests
from agent.cli.client import ClientError, read_options
from agent.cli.flags import parse
from agent.cli.lock_rules import Mutex
from raftstore.commands import KVSet, Register, SessionDestroy
from raftstore.queries import KVGet, KVList, ListSessions
from raftstore.records import SERF_HEALTH, Check, KVPair, Node, Session
from tests.agent.http.rig import Rig, make_config

PROGRAM = Path(sys.executable).parent / "lictor"
#: Ends by itself long after every test has given up.
LONG = "trap 'echo asked; exit 7' TERM; echo begun; while :; do sleep 0.05; done"
WITHIN_S = 20.0


class Site:
    """A served API and the commands that use it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.processes: list[Process] = []

    async def lock(self, *words: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "lock", f"-http-addr={self.rig.url}", *words, stdout=PIPE, stderr=PIPE
        )
        self.processes.append(process)
        return process

    async def begun(self, *words: str) -> Process:
        """A lock that is held by a command that does not end."""
        process = await self.lock(*words, LONG)
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            line = await process.stdout.readline()
            assert line == b"begun\n", (await process.communicate())[1]
        return process

    async def until(self, seen: Callable[[], Any], what: str) -> None:
        """Wait until the state shows something."""
        async with asyncio.timeout(WITHIN_S):
            while not seen():
                touched = asyncio.Event()
                query = KVList("")
                cancel = self.rig.backend.watches.watch_once(
                    (*query.footprint(), ("sessions", "")), touched.set
                )
                await touched.wait()
                cancel()
        assert seen(), what

    def sessions(self) -> tuple[Session, ...]:
        return self.rig.backend.state.answer(ListSessions()).value

    def key(self, key: str) -> KVPair | None:
        return self.rig.backend.state.answer(KVGet(key)).value

    def nothing_left(self) -> bool:
        return not self.sessions() and not self.rig.backend.state.answer(KVList("")).value


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    rig = await Rig(make_config()).start()
    node = Node(name="n1", address="127.0.0.1")
    await rig.backend.change(
        Register(node=node, checks=(Check(node="n1", id=SERF_HEALTH, status="passing"),))
    )
    site = Site(rig)
    try:
        yield site
    finally:
        for process in site.processes:
            if process.returncode is None:
                process.terminate()  # not killed: it has to end its command
                await process.communicate()
        await rig.stop()


async def ended(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("words", [(), ("-n=2",)], ids=["lock", "semaphore"])
async def test_a_signal_ends_the_command_and_gives_the_lock_back(
    site: Site, words: tuple[str, ...]
) -> None:
    process = await site.begun(*words, "p")
    (session,) = site.sessions()
    assert session.ttl == "15s"
    assert session.name.startswith("Consul lock for 'trap")
    process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert (status, out) == (0, "asked\n")
    assert err.endswith("Error running handler: exit status 7\n")
    assert site.nothing_left()


async def test_who_waits_gets_it_when_it_is_given_back(site: Site) -> None:
    first = await site.begun("-name=one", "p")
    second = await site.lock("-name=two", "p", "echo mine")
    await site.until(lambda: len(site.sessions()) == 2, "the second is here")
    pair = site.key("p/.lock")
    assert pair is not None
    assert {s.id: s.name for s in site.sessions()}[pair.session] == "one"
    assert second.returncode is None
    first.terminate()
    assert (await ended(first))[0] == 0
    assert await ended(second) == (0, "mine\n", "")
    assert site.nothing_left()


async def test_a_semaphore_lets_so_many_in_and_no_more(site: Site) -> None:
    first, second = await site.begun("-n=2", "p"), await site.begun("-n=2", "p")
    third = await site.lock("-n=2", "-timeout=300ms", "p", "echo mine")
    status, out, err = await ended(third)
    assert (status, out) == (1, "")
    assert "timeout during lock acquisition" in err
    other = await site.lock("-n=3", "p", "echo mine")
    assert (await ended(other))[2] == (
        "Lock acquisition failed: Semaphore limit conflict (lock: 2, local: 3)\n"
    )
    first.terminate()
    await ended(first)
    again = await site.lock("-n=2", "p", "echo mine")
    assert await ended(again) == (0, "mine\n", "")
    second.terminate()
    await ended(second)
    assert site.nothing_left()


async def test_the_command_is_ended_when_the_lock_is_lost(site: Site) -> None:
    process = await site.begun("p")
    (session,) = site.sessions()
    await site.rig.backend.change(SessionDestroy(session.id))
    status, out, err = await ended(process)
    assert (status, out) == (1, "asked\n")
    assert "Lock lost, killing child: it is not ours any more" in err


async def test_a_key_of_somebody_else_is_left_alone(site: Site) -> None:
    await site.rig.backend.change(KVSet(key="p/.lock", value=b"theirs"))
    process = await site.lock("p", "echo mine")
    assert await ended(process) == (
        1, "", "Lock acquisition failed: Existing key does not match lock use\n"
    )  # fmt: skip
    pair = site.key("p/.lock")
    assert pair is not None and pair.value == b"theirs"
    assert site.sessions() == ()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("p",), "Key prefix and child command must be specified"),
        (("-n=0", "p", "true"), "Lock holder limit must be positive"),
        (("-monitor-retry=-1", "p", "true"), "Number of monitor retries must not be negative"),
        (("-timeout=-1s", "p", "true"), "Timeout must not be negative"),
        (("/", "true"), "Key prefix must not be empty"),
    ],
)
async def test_wrong_words_are_told(site: Site, words: tuple[str, ...], text: str) -> None:
    assert await ended(await site.lock(*words)) == (1, "", f"{text}\n")


async def test_who_waits_can_be_told_to_stop(site: Site) -> None:
    first = await site.begun("p")
    second = await site.lock("p", "echo mine")
    await site.until(lambda: len(site.sessions()) == 2, "the second is here")
    second.terminate()
    status, out, _ = await ended(second)
    assert (status, out) == (1, "")
    assert len(site.sessions()) == 1
    first.terminate()
    assert (await ended(first))[0] == 0


# -- its parts, with shorter times ------------------------------------------------------------


async def opened(site: Site, reasons: list[str]) -> lock_holder.LockHolder:
    options = read_options(parse((), ()), {"CONSUL_HTTP_ADDR": site.rig.url})
    plan = lock_holder.Plan(
        name="t", rules=lambda s: Mutex("p", s), behavior="release", monitor_retries=2
    )
    holder = lock_holder.LockHolder(Requests(options), plan, reasons.append)
    await asyncio.to_thread(holder.open)
    await asyncio.to_thread(holder.acquire)
    return holder


async def soon(seen: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not seen():
            await asyncio.to_thread(threading.Event().wait, 0.01)


async def test_a_session_is_renewed_until_it_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_holder, "RENEW_S", 0.02)
    reasons: list[str] = []
    holder = await opened(site, reasons)
    left_s = holder.expires_in_s
    await soon(lambda: holder.expires_in_s > left_s)
    assert reasons == []
    await site.rig.backend.change(SessionDestroy(site.sessions()[0].id))
    await soon(lambda: reasons)
    assert reasons == ["the session has ended"]
    await asyncio.to_thread(holder.close)
    assert site.key("p/.lock") is None


async def test_without_an_agent_the_lock_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_holder, "PAUSE_S", 0.02)
    reasons: list[str] = []
    holder = await opened(site, reasons)
    holder.watch()
    await site.rig.stop()
    await soon(lambda: reasons)
    assert "connection refused" in reasons[0]
    with pytest.raises(ClientError):
        await asyncio.to_thread(holder.close)


def test_a_session_that_may_have_ended_is_an_event() -> None:
    class Late:
        expires_in_s = -0.1

    event = lock._next(queue.SimpleQueue(), Late())  # type: ignore[arg-type]
    assert event == lock._Lost("the session was not renewed in time")


def test_a_command_that_does_not_want_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "GRACE_S", 0.1)
    events: lock._Events = queue.SimpleQueue()
    child = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM; echo; sleep 60 & wait; wait"],
        stdout=subprocess.PIPE,
        process_group=0,
    )
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        threading.Thread(target=lambda: events.put(lock._Ended(child.wait()))).start()
        events.put(lock._Stopped())
        assert lock._end(child, events, group=True) == -signal.SIGKILL
        assert child.stdout.read() == b"", "what it began has ended with it"
