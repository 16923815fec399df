"""Supervision of real child processes."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from agent.connect.sidecars import Sidecars, SidecarSpec
from tests.proxy.mesh import until

FOREVER = "import signal, sys; print('ready', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()"
)
ENDS = "print('bye', flush=True); raise SystemExit(3)"

Make = Callable[..., Sidecars]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Sidecars] = []

    def build(script: str, **options: object) -> Sidecars:
        def command(spec: SidecarSpec) -> Sequence[str]:
            return (sys.executable, "-c", script, spec.proxy_id)

        sidecars = Sidecars(
            http_addr="127.0.0.1:1",
            command=command,
            rng=random.Random(1),
            backoff_s=(0.01, 0.05),
            **options,  # type: ignore[arg-type]
        )
        made.append(sidecars)
        return sidecars

    yield build
    for sidecars in made:
        await sidecars.stop()


def pid_of(sidecars: Sidecars, proxy_id: str) -> int:
    return int(sidecars.explain().get(proxy_id, {}).get("pid") or 0)


def ready(sidecars: Sidecars, *proxy_ids: str) -> bool:
    known = sidecars.explain()
    return all("ready" in known.get(each, {}).get("last_lines", ()) for each in proxy_ids)


async def test_what_is_wanted_runs_and_what_is_not_wanted_ends(make: Make) -> None:
    sidecars = make(FOREVER)
    sidecars.reconcile([SidecarSpec("a"), SidecarSpec("b")])
    await until(lambda: ready(sidecars, "a", "b"), "both run")
    first, second = pid_of(sidecars, "a"), pid_of(sidecars, "b")
    assert sidecars.stats().running == 2
    sidecars.reconcile(["b"])  # an id alone will do
    await until(lambda: not alive(first), "a ends")
    assert pid_of(sidecars, "b") == second
    assert alive(second)
    assert set(sidecars.explain()) == {"b"}


async def test_a_child_that_ends_is_started_again_and_its_last_words_are_kept(make: Make) -> None:
    sidecars = make(ENDS)
    sidecars.reconcile([SidecarSpec("a")])
    await until(lambda: sidecars.stats().restarts >= 3, "three restarts")
    known = sidecars.explain()["a"]
    assert "bye" in known["last_lines"]
    assert known["exit_code"] in {3, None}
    assert known["restarts"] >= 3


async def test_a_killed_child_comes_back_with_another_process(make: Make) -> None:
    sidecars = make(FOREVER)
    sidecars.reconcile([SidecarSpec("a")])
    await until(lambda: ready(sidecars, "a"), "it runs")
    first = pid_of(sidecars, "a")
    os.kill(first, signal.SIGKILL)
    await until(lambda: pid_of(sidecars, "a") not in {0, first}, "it runs again")


async def test_each_start_and_end_of_a_child_is_told(make: Make) -> None:
    told: list[str] = []
    sidecars = make(FOREVER, on_change=told.append)
    sidecars.reconcile(["a"])
    await until(lambda: ready(sidecars, "a"), "it runs")
    assert told == ["a"]
    os.kill(pid_of(sidecars, "a"), signal.SIGKILL)
    await until(lambda: sidecars.stats().started == 2, "it runs again")
    assert told == ["a"] * 3


async def test_a_child_that_ignores_sigterm_is_killed(make: Make) -> None:
    sidecars = make(STUBBORN, stop_timeout_s=0.2)
    sidecars.reconcile([SidecarSpec("a")])
    await until(lambda: ready(sidecars, "a"), "it runs")
    pid = pid_of(sidecars, "a")
    await sidecars.stop()
    assert not alive(pid)
    assert sidecars.stats().killed == 1


SLOW_DRAIN = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: print('draining', flush=True))\n"
    "signal.signal(signal.SIGINT, lambda *_: sys.exit(0))\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()"
)


async def test_the_end_of_the_agent_does_not_wait_for_a_drain_under_way(make: Make) -> None:
    sidecars = make(SLOW_DRAIN)
    sidecars.reconcile([SidecarSpec("a"), SidecarSpec("b")])
    await until(lambda: ready(sidecars, "a", "b"), "both run")
    pids = [pid_of(sidecars, each) for each in ("a", "b")]
    sidecars.reconcile([SidecarSpec("b")])  # a drains and would take its 37 s
    began = time.monotonic()
    await sidecars.stop()
    assert time.monotonic() - began < 2.0
    assert not [pid for pid in pids if alive(pid)]
    assert sidecars.stats().killed == 0


async def test_a_new_token_replaces_the_child_after_the_old_one_has_ended(
    make: Make, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    script = (
        "import os, signal, sys\n"
        f"out = open({str(marks)!r}, 'a', buffering=1)\n"
        "def end(*_): out.write('end\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "out.write('start ' + os.environ.get('CONSUL_HTTP_TOKEN', '-') + '\\n')\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    sidecars = make(script)
    sidecars.reconcile([SidecarSpec("a", token="one")])
    await until(lambda: ready(sidecars, "a"), "it runs")
    sidecars.reconcile([SidecarSpec("a", token="two")])
    await until(lambda: marks.read_text().count("start") == 2, "the new one runs")
    assert marks.read_text().splitlines() == ["start one", "end", "start two"]


async def test_a_command_that_cannot_start_is_tried_again(make: Make) -> None:
    sidecars = Sidecars(
        http_addr="x", command=lambda spec: ("/nonexistent/program",), backoff_s=(0.01, 0.02)
    )
    sidecars.reconcile([SidecarSpec("a")])
    await until(lambda: sidecars.stats().restarts >= 2, "two attempts")
    assert "No such file" in sidecars.explain()["a"]["last_lines"][-1]
    await sidecars.stop()


async def test_stopping_leaves_no_orphan_and_starts_nothing_more(make: Make) -> None:
    sidecars = make(FOREVER)
    sidecars.reconcile([SidecarSpec(f"p{number}") for number in range(3)])
    await until(lambda: ready(sidecars, "p0", "p1", "p2"), "all run")
    pids = [pid_of(sidecars, f"p{number}") for number in range(3)]
    await sidecars.stop()
    assert not [pid for pid in pids if alive(pid)]
    sidecars.reconcile([SidecarSpec("late")])
    assert sidecars.stats().running == 0


async def test_a_flood_of_output_is_bounded(make: Make) -> None:
    sidecars = make("print('x' * 1_000_000); print('y\\n' * 2000); " + FOREVER)
    sidecars.reconcile([SidecarSpec("a")])
    await until(lambda: ready(sidecars, "a"), "it gets through")
    assert sidecars.stats().lines_dropped > 0
    assert all(len(line) <= 4096 for line in sidecars.explain()["a"]["last_lines"])


async def test_the_own_command_names_the_proxy_and_keeps_the_token_off_the_command_line() -> None:
    sidecars = Sidecars(http_addr="127.0.0.1:8500")
    command = sidecars._own_command(SidecarSpec("web-sidecar-proxy", token="secret"))
    assert list(command) == [
        sys.executable, "-m", "agent", "connect", "proxy",
        "-proxy-id", "web-sidecar-proxy", "-http-addr", "127.0.0.1:8500",
    ]  # fmt: skip


async def test_a_child_with_another_token_is_replaced_and_goes_on_until_it_ends_by_itself(
    make: Make, tmp_path: Path
) -> None:
    sidecars = make(FOREVER, handover_dir=tmp_path)
    sidecars.reconcile([SidecarSpec("a", token="one")])
    await until(lambda: ready(sidecars, "a"), "it runs")
    first = pid_of(sidecars, "a")
    sidecars.reconcile([SidecarSpec("a", token="two")])
    await until(lambda: pid_of(sidecars, "a") not in {0, first}, "the other one runs as well")
    assert alive(first) and sidecars.stats().running == 2
    os.kill(first, signal.SIGKILL)  # as if it had given its sockets away
    await until(lambda: sidecars.stats().running == 1, "only the other one is left")
    assert sidecars.stats().restarts == 0
    sidecars.reconcile([])
    await until(lambda: sidecars.stats().running == 0, "it ends, as it is not wanted")


async def test_a_child_is_replaced_again_before_the_first_replacement_is_over(
    make: Make, tmp_path: Path
) -> None:
    sidecars = make(FOREVER, handover_dir=tmp_path)
    for count, token in enumerate(("one", "two", "three"), start=1):
        sidecars.reconcile([SidecarSpec("a", token=token)])
        await until(lambda count=count: sidecars.stats().running == count, "one more runs")  # type: ignore[misc]
        await until(lambda: ready(sidecars, "a"), "it is ready")
    sidecars.reconcile([])
    await until(lambda: sidecars.stats().running == 0, "all of them end")


async def test_what_is_not_wanted_any_more_ends_also_where_it_was_being_replaced(
    make: Make, tmp_path: Path
) -> None:
    sidecars = make(FOREVER, handover_dir=tmp_path)
    sidecars.reconcile([SidecarSpec("a", token="one")])
    await until(lambda: ready(sidecars, "a"), "it runs")
    sidecars.reconcile([SidecarSpec("a", token="two")])
    await until(lambda: sidecars.stats().running == 2, "both run")
    sidecars.reconcile([])
    await until(lambda: sidecars.stats().running == 0, "both end")


async def test_children_of_another_state_of_the_program_are_replaced(
    make: Make, tmp_path: Path
) -> None:
    states = ["old"]
    sidecars = make(FOREVER, handover_dir=tmp_path, program=lambda: states[-1])
    sidecars.reconcile(["a", "b"])
    await until(lambda: ready(sidecars, "a", "b"), "both run")
    assert await sidecars.upgrade() == 0
    before = pid_of(sidecars, "a")
    states.append("new")
    assert await sidecars.upgrade() == 2
    await until(lambda: pid_of(sidecars, "a") not in {0, before}, "another one runs")
    assert await sidecars.upgrade() == 0


async def test_children_that_are_to_outlive_the_agent_are_let_go(
    make: Make, tmp_path: Path
) -> None:
    sidecars = make(FOREVER, handover_dir=tmp_path, outlives_s=5.0)
    sidecars.reconcile(["a"])
    await until(lambda: ready(sidecars, "a"), "it runs")
    pid = pid_of(sidecars, "a")
    await sidecars.stop()
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not alive(pid), "it has ended")
