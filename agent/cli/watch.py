"""`watch`: show something, or run a command each time it changes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import textwrap
import time
from types import FrameType
from typing import Any

from agent.cli.client import Client, ClientError, expect
from agent.cli.command import Call, Command, help_text
from agent.cli.flags import Flag, Kind, parse_bool
from agent.watches.plan import KINDS, Plan, WatchError, parse_plan
from agent.watches.progress import News, Progress
from agent.watches.shapes import encoded

#: A command that is told to end has so many seconds for it.
GRACE_S = 5.0
_TEXTS = ("type", "key", "prefix", "service", "state", "name", "filter")


class _HandlerError(Exception):
    """The command could not be run, or failed."""


class _StopError(Exception):
    """A signal asks us to stop."""


class _Signals:
    """A request to stop interrupts what is done, once, and never while a child is being started.

    That child would run on, and nobody would know of it.
    """

    def __init__(self) -> None:
        self._asked = False
        self._holding = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrived)

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if not self._holding:
            self._holding = True  # asked again, we end the child all the same
            raise _StopError

    def hold(self) -> None:
        """From now on a request waits for ``release``."""
        self._holding = True

    def release(self) -> None:
        """From now on a request interrupts; one that has come already does at once."""
        self._holding = self._asked
        if self._asked:
            raise _StopError


def _watch(call: Call) -> int:
    if not call.flags.text("type"):
        return call.fail(
            f"Watch type must be specified\n\n{help_text(call.program, COMMANDS[('watch',)])}"
        )
    try:
        plan = parse_plan(_parameters(call))
    except WatchError as error:
        return call.fail(str(error))
    client = call.client()
    try:
        client.read("/v1/agent/self")  # is there an agent at all? As scripts know it
    except ClientError as error:
        return call.fail(f"Error querying {call.title} agent: {error}")
    try:
        return _follow(call, client, plan, _Signals())
    except _StopError:
        return 0


def _parameters(call: Call) -> dict[str, Any]:
    """The flags as a configuration file would say them. Raises WatchError."""
    flags = call.flags
    given: dict[str, Any] = {name: flags.text(name) for name in _TEXTS if flags.text(name)}
    if flags["tag"]:
        given["tag"] = flags["tag"]
    passing = flags.text("passingonly")
    if passing:
        given["passingonly"] = parse_bool(passing)
        if given["passingonly"] is None:
            raise WatchError(
                "Failed to parse passing only flag: strconv.ParseBool: "
                f'parsing "{passing}": invalid syntax'
            )
    if given["type"] == "agent_service" and "service" in given:
        given["service_id"] = given.pop("service")
    return given


def _follow(call: Call, client: Client, plan: Plan, signals: _Signals) -> int:
    """Ask until the handler fails; without a handler, until there is something to show."""
    progress = Progress(plan)
    while True:
        try:
            news = _ask(client, plan, progress)
        except ClientError as error:
            pause_s = progress.failed()
            call.fail(f"Watch errored: type={plan.kind} error={error} retry={pause_s:.0f}s")
            time.sleep(pause_s)
            continue
        if news is None:
            continue
        if not call.args:
            call.say(encoded(news.data, indent="    "))
            return 0
        try:
            _handle(call, news, signals)
        except _HandlerError as error:
            return call.fail(str(error))


def _ask(client: Client, plan: Plan, progress: Progress) -> News | None:
    answer = client.get(plan.path, progress.query)
    absent = plan.may_be_absent and answer.status == 404
    found = None if absent else expect(answer).json()
    text = answer.headers.get("x-consul-index", "")
    return progress.answered(found, index=int(text) if text.isdecimal() else 0)


def _handle(call: Call, news: News, signals: _Signals) -> None:
    """Run the command with the news on its standard input. Raises _HandlerError."""
    words = list(call.args)
    if call.flags["shell"]:
        words = ["/bin/sh", "-c", " ".join(words)]
    as_of = {"CONSUL_HASH": news.hash} if news.hash else {"CONSUL_INDEX": str(news.index)}
    signals.hold()
    try:
        child = subprocess.Popen(  # noqa: S603  to run what the user says is what this is for
            words, stdin=subprocess.PIPE, env={**os.environ, **as_of}
        )
    except (OSError, ValueError) as error:
        raise _HandlerError(f"Error starting handler: {words[0]}: {error}") from None
    try:
        signals.release()
        with contextlib.suppress(BrokenPipeError):  # it need not read
            child.communicate((encoded(news.data) + "\n").encode("utf-8", "surrogatepass"))
        code = child.wait()
    except _StopError:
        _end(child)
        raise
    if code:
        ended = f"exit status {code}" if code > 0 else f"signal: {signal.strsignal(-code)}"
        raise _HandlerError(f"Error executing handler: {ended}")


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


COMMANDS: dict[tuple[str, ...], Command] = {
    ("watch",): Command(
        usage="watch [options] -type=TYPE [COMMAND...]",
        help="Shows something of the datacenter as JSON. With a COMMAND, runs it now and each time"
        "\nthat changes, with the JSON on its standard input and the index in CONSUL_INDEX, until"
        "\nit fails or the watch is interrupted."
        "\n\n" + textwrap.fill(f"TYPE is {', '.join(KINDS[:-1])} or {KINDS[-1]}.", 78),
        run=_watch,
        server=True,
        flags=(
            Flag("filter", "Expression for services, nodes, service and checks."),
            Flag("key", "Key to watch; for key."),
            Flag("name", "Name of the events, all by default; for event."),
            Flag("passingonly", "true: only instances that pass all checks; for service."),
            Flag("prefix", "Prefix of the keys to watch; for keyprefix."),
            Flag("service", "Service to watch; for service, checks, connect_leaf; an id for"
                 " agent_service."),
            Flag("shell", "Run the command by a shell.", Kind.BOOL, True),
            Flag("state", "State of the checks, any by default; for checks."),
            Flag("tag", "Only instances with this tag; may be repeated; for service.", Kind.LIST),
            Flag("type", "What to watch."),
        ),
    ),
}  # fmt: skip
