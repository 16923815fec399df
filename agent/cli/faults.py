"""`verify` and `drill`: the fault tester, at hand where lictor is installed.

The tester knows lictor from outside only, so it runs as a program of its own: nothing of the agent
is in the process that judges it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_MODULE = "jepsen_lite"


def _verify(call: Call) -> int:
    words = ["verify", *_given(call, "seconds", "seed", "ca-file")]
    one = call.flags.text("http-addr") or call.environ.get("CONSUL_HTTP_ADDR", "")
    agents = call.args or tuple(filter(None, (one,)))
    return _tester(call, [*words, *agents], token=call.flags.text("token"))


def _drill(call: Call) -> int:
    return _tester(call, ["drill", *_given(call, "seed", "nodes", "folder")])


def _given(call: Call, *names: str) -> list[str]:
    return [f"--{name}={call.flags[name]}" for name in names if call.flags[name]]


def _tester(call: Call, words: list[str], *, token: str = "") -> int:
    if importlib.util.find_spec(_MODULE) is None:
        return call.fail(f"the fault tester is not installed: there is no module {_MODULE} here")
    environ = dict(call.environ)
    if token:
        environ["CONSUL_HTTP_TOKEN"] = token
    command = [sys.executable, "-m", _MODULE, *words]
    try:
        return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        return 130


COMMANDS: dict[tuple[str, ...], Command] = {
    ("verify",): Command(
        usage="verify [options] [AGENT ...]",
        help="Tests a running cluster without breaking anything: clients write, read, append and\n"
        "count under keys of their own (lictor-verify/...), which are deleted afterwards. What\n"
        "they saw is judged: linearizable reads, transactions, no loss, nothing counted twice.\n"
        "Name the HTTP addresses of several agents to spread the work over them.\n\n"
        "The exit status is 0 when all promises were kept, 1 when one was broken, 2 when nothing\n"
        "can be said.",
        run=_verify,
        flags=(
            Flag("seconds", "Seconds for each of the three workloads (10).", Kind.UINT),
            Flag("seed", "Number from which the operations are drawn (1).", Kind.UINT),
        ),
    ),
    ("drill",): Command(
        usage="drill [options]",
        help="Starts a cluster that is thrown away, breaks it in one way after the other while\n"
        "clients work, and tells what they saw: how long writes stood still, what failed for\n"
        "certain, what nobody knows, and whether a promise was broken. Takes about a minute.\n"
        "As root on Linux the network between the servers is broken too.",
        run=_drill,
        http=False,
        flags=(
            Flag("folder", "Where histories, reports and the servers' data go (jepsen-runs)."),
            Flag("nodes", "Number of servers (3).", Kind.UINT),
            Flag("seed", "Number from which operations and faults are drawn (1).", Kind.UINT),
        ),
    ),
}
