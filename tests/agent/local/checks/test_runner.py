"""Checks run side by side within a bound, and what a stalled loop spoils is not believed."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from dataclasses import replace

import pytest

from agent.definitions import CheckDefinition
from agent.local.checks import probes as module
from agent.local.checks.runner import CheckRunner
from raftstore.records import CheckId
from tests.agent.local.parts import ttl, until


class Eager(random.Random):
    """The first run of every check comes almost at once."""

    def random(self) -> float:
        return 0.01


@pytest.fixture
async def runner():
    reports = []
    runner = CheckRunner(
        reports.append, concurrent_max=2, programs_max=2, output_max=100, rng=Eager()
    )
    runner.seen = reports
    yield runner
    await runner.stop()


def stand_still(seconds: float) -> None:
    """The whole process is paused, as by a signal or a starved machine."""
    time.sleep(seconds)


def tcp(id_: str, target: str, **fields) -> CheckDefinition:
    return CheckDefinition(id=CheckId(id_), tcp=target, interval_s=1.0, **fields)


async def test_a_probe_is_run_and_reported(runner) -> None:
    runner.put(tcp("down", "127.0.0.1:1"))
    report = await until(lambda: runner.seen and runner.seen[0])
    assert (report.check_id, report.status, report.seen) == ("down", "critical", "critical")
    assert report.output.endswith("connection refused")
    assert report.cause == "tcp probe, failure 1 of 1"
    assert 0.0 <= report.duration_s < 10.0


async def test_it_is_run_again_an_interval_later(runner) -> None:
    runner.put(tcp("down", "127.0.0.1:1"))
    started = time.monotonic()
    await until(lambda: len(runner.seen) == 2)
    assert time.monotonic() - started >= 1.0


async def test_a_hastened_check_passes_as_soon_as_something_listens(runner) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        check = tcp("late", f"127.0.0.1:{listener.getsockname()[1]}")
        runner.put(replace(check, interval_s=60.0))
        runner.hasten(CheckId("late"))
        await until(lambda: runner.seen and runner.seen[0].status == "critical")
        listener.listen()
        began = time.monotonic()
        await until(lambda: runner.seen[-1].status == "passing")
        assert time.monotonic() - began < 1.0


async def test_no_more_probes_than_the_bound_run_at_once(runner) -> None:
    open_now, most = 0, 0
    let_go = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await let_go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        open_now -= 1
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for number in range(6):
            runner.put(CheckDefinition(id=CheckId(str(number)), http=url, interval_s=1.0))
        await until(lambda: open_now == 2)
        let_go.set()
        await until(lambda: {report.check_id for report in runner.seen} == set("012345"))
    assert most == 2
    assert all(report.status == "passing" for report in runner.seen)


async def test_slow_programs_do_not_keep_connections_waiting(runner, tmp_path) -> None:
    running = tmp_path / "running"
    running.mkdir()
    script = (
        f"touch {running}/$$; ls {running} | wc -l >> {tmp_path}/seen; sleep 0.3; rm {running}/$$"
    )
    for number in range(6):
        args = ("/bin/sh", "-c", script)
        runner.put(CheckDefinition(id=CheckId(f"s{number}"), args=args, interval_s=1.0))
    runner.put(tcp("quick", "127.0.0.1:1"))
    await until(lambda: {report.check_id for report in runner.seen} >= set("s0 s5 quick".split()))
    await until(lambda: len({report.check_id for report in runner.seen}) == 7)
    assert runner.seen[0].check_id == "quick"
    assert max(map(int, (tmp_path / "seen").read_text().split())) <= 2
    assert max(report.waited_s for report in runner.seen) >= 0.5


async def test_a_removed_check_is_heard_no_more(runner) -> None:
    runner.put(tcp("a", "127.0.0.1:1"))
    runner.put(tcp("b", "127.0.0.1:1"))
    runner.remove(CheckId("a"))
    await until(lambda: len(runner.seen) >= 2)
    assert {report.check_id for report in runner.seen} == {"b"}


async def test_checks_cancelled_before_their_first_step_free_their_place(runner) -> None:
    for number in range(4):
        runner.put(tcp(str(number), "127.0.0.1:1"))
    await pause(0.0)
    stand_still(0.02)
    runner._due()  # their tasks are made, and have not begun
    for number in range(4):
        runner.remove(CheckId(str(number)))
    runner.put(tcp("last", "127.0.0.1:1"))
    await until(lambda: any(report.check_id == "last" for report in runner.seen))
    assert runner.stats.probes_current <= 1


async def test_a_ttl_check_expires_unless_it_reports(runner) -> None:
    runner.put(ttl("t", ttl_s=1.0))
    for _ in range(6):
        runner.refresh_ttl(CheckId("t"))
        await pause(0.25)
    assert runner.seen == []
    report = await until(lambda: runner.seen and runner.seen[0])
    assert (report.status, report.output) == ("critical", "TTL expired")
    assert len(runner.seen) == 1


async def pause(seconds: float) -> None:
    """Let real time pass, as the one who reports in time does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    await until(lambda: loop.time() >= end)


async def test_a_ttl_does_not_expire_because_we_stood_still(runner) -> None:
    runner.put(ttl("t", ttl_s=0.9))
    await pause(0.3)
    stand_still(1.2)  # the whole process stands still, and its clients' updates wait unread
    await asyncio.sleep(0)
    await pause(0.3)
    assert runner.seen == [] and runner.stats.loop_stalls >= 1
    await until(lambda: runner.seen)  # but without any update it does in the end


async def test_a_probe_that_timed_out_while_we_stood_still_is_repeated(runner) -> None:
    answers = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        answers += 1
        if answers == 1:
            stand_still(2.0)  # stands still with the probe under way and beyond its timeout
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        check = CheckDefinition(id=CheckId("h"), http=url, interval_s=1.0, timeout_s=1.0)
        runner.put(check)
        await until(lambda: runner.seen)
    assert runner.stats.runs_discarded == 1
    assert [report.status for report in runner.seen] == ["passing"]


async def test_a_failure_while_we_stood_still_is_repeated_but_not_for_ever(runner) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stand_still(0.9)  # and the other side has lost its patience
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        runner.put(CheckDefinition(id=CheckId("h"), http=url, interval_s=1.0))
        await until(lambda: runner.seen, within_s=20.0)
    assert (runner.stats.runs, runner.stats.runs_discarded) == (4, 3)
    assert [report.status for report in runner.seen] == ["critical"]


async def test_a_probe_that_breaks_is_critical_and_goes_on(runner, monkeypatch) -> None:
    async def broken(*_: object) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(module, "probe_tcp", broken)
    runner.put(tcp("a", "127.0.0.1:1"))
    await until(lambda: len(runner.seen) == 2)
    assert "a defect" in runner.seen[0].output


async def test_thresholds_keep_a_result_from_counting(runner) -> None:
    runner.put(tcp("a", "127.0.0.1:1", failures_before_critical=2))
    await until(lambda: runner.seen)
    assert runner.seen[0].status == "critical"  # the first counts at once
    runner._checks[CheckId("a")].thresholds.judge("passing")
    await until(lambda: len(runner.seen) == 3)
    assert [report.status for report in runner.seen] == ["critical", None, "critical"]
