"""`exec`: run a command on many hosts, by a job among the keys and a user event."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.cli.client import Client, ClientError, expect
from agent.cli.command import Call, Command, help_text
from agent.cli.flags import Flag, Kind
from agent.durations import parse_s
from agent.events.event import REMOTE_EXEC
from agent.events.remote import Job, Place, read_answer
from gossip.patterns import PatternError, compile_pattern

TTL_S = 15.0
#: A request is not held longer than this, so that the session is renewed in time.
HELD_MAX_S = TTL_S / 3
#: The status where a command failed somewhere.
_FAILED_STATUS = 2


@dataclass(slots=True)
class _Heard:
    """What the agents have said."""

    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    failed: bool = False

    def __str__(self) -> str:
        return f"{len(self.ended)} / {len(self.begun)} node(s) completed / acknowledged"


def _exec(call: Call) -> int:
    if not call.args:
        usage = help_text(call.program, COMMANDS[("exec",)])
        return call.fail(f"Must specify a command to execute\n\n{usage}".rstrip())
    problem = _problem(call)
    if problem:
        return call.fail(problem)
    client = call.client()
    try:
        client.read("/v1/agent/self")  # is there an agent at all? As scripts know it
    except ClientError as error:
        return call.fail(f"Error querying {call.title} agent: {error}")
    job = _job(call)
    try:
        with _session(call, client) as session:
            return _run(call, client, Place(call.flags.text("prefix").strip("/"), session), job)
    except ClientError as error:
        return call.fail(str(error))


def _problem(call: Call) -> str:
    flags = call.flags
    for what in ("node", "service", "tag"):
        try:
            compile_pattern(flags.text(what))
        except PatternError as error:
            return f"Failed to compile {what} filter regexp: {error}"
    if flags.text("tag") and not flags.text("service"):
        return "Cannot provide tag filter without service filter."
    if any(parse_s(flags.text(name)) < 0 for name in ("wait", "wait-repl")):
        return "Times to wait must not be negative"
    return ""


def _job(call: Call) -> Job:
    wait_s = parse_s(call.flags.text("wait"))
    if call.args == ("-",):
        return Job(script=call.stdin.read(), wait_s=wait_s)
    if call.flags["shell"]:
        return Job(command=" ".join(call.args), wait_s=wait_s)
    return Job(args=call.args, wait_s=wait_s)


@contextlib.contextmanager
def _session(call: Call, client: Client) -> Iterator[str]:
    """A session that all keys go with; it is ended whatever happens. Raises ClientError."""
    body = {"Name": "Remote Exec", "TTL": f"{TTL_S:.0f}s", "Behavior": "delete"}
    try:
        made = expect(client.put("/v1/session/create", (), json.dumps(body).encode()))
        session = str(made.json()["ID"])
    except ClientError as error:
        raise ClientError(f"Failed to create session: {error}") from None
    _tell(call, f"Created remote execution session: {session}")
    try:
        yield session
    finally:
        try:
            expect(client.put(f"/v1/session/destroy/{session}"))
        except ClientError as error:
            call.fail(f"Failed to destroy session: {error}")


def _run(call: Call, client: Client, place: Place, job: Job) -> int:
    """Put the job, tell of it, show what comes back. Raises ClientError."""
    try:
        _put_job(client, place, job)
        _tell(call, "Uploaded remote execution spec")
        time.sleep(parse_s(call.flags.text("wait-repl")))  # until all servers have it
        event = _fire(call, client, place)
        _tell(call, f"Fired remote execution event: {event}")
        heard = _listen(call, client, place, parse_s(call.flags.text("wait")))
    finally:
        try:
            expect(client.delete(f"/v1/kv/{place.root}", [("recurse", "")]))
        except ClientError as error:
            call.fail(f"Failed to delete the job: {error}")
    call.say(str(heard))
    if not heard.begun:
        call.fail(
            "No agent has taken the job: they refuse jobs unless disable_remote_exec = false is\n"
            "in their configuration, or the filters mean none."
        )
    return _FAILED_STATUS if heard.failed else 0


def _put_job(client: Client, place: Place, job: Job) -> None:
    query = [("acquire", place.session)]
    try:
        taken = expect(client.put(f"/v1/kv/{place.job}", query, job.encoded())).json()
    except ClientError as error:
        raise ClientError(f"Failed to create job file: {error}") from None
    if taken is not True:
        raise ClientError("Failed to create job file: the key is held by another session")


def _fire(call: Call, client: Client, place: Place) -> str:
    query = [(n, v) for n in ("node", "service", "tag") if (v := call.flags.text(n))]
    try:
        fired = expect(client.put(f"/v1/event/fire/{REMOTE_EXEC}", query, place.payload()))
    except ClientError as error:
        raise ClientError(f"Failed to fire event: {error}") from None
    return str(fired.json()["ID"])


def _listen(call: Call, client: Client, place: Place, wait_s: float) -> _Heard:
    """Show what agents say until all have ended, or nobody says anything any more."""
    heard, seen, index = _Heard(), set[str](), 0
    renewed = time.monotonic()
    deadline = time.monotonic() + wait_s
    while (left_s := deadline - time.monotonic()) > 0:
        held_s = min(left_s, HELD_MAX_S)
        query = [("recurse", ""), ("index", str(index)), ("wait", f"{held_s * 1000:.0f}ms")]
        answer = client.get(f"/v1/kv/{place.root}", query)
        pairs: list[dict[str, Any]] = [] if answer.status == 404 else expect(answer).json()
        text = answer.headers.get("x-consul-index", "")
        index = int(text) if text.isdecimal() else 0
        for pair in pairs:
            if pair["Key"] not in seen and _show(call, place, pair, heard):
                # Those that have begun and not ended get twice the time to say something.
                working = heard.begun - heard.ended
                deadline = time.monotonic() + (2 * wait_s if working else wait_s)
            seen.add(pair["Key"])
        if time.monotonic() - renewed > TTL_S / 3:
            expect(client.put(f"/v1/session/renew/{place.session}"))
            renewed = time.monotonic()
    return heard


def _show(call: Call, place: Place, pair: dict[str, Any], heard: _Heard) -> bool:
    """Show what one key says; whether it says anything."""
    import base64

    value = base64.b64decode(pair["Value"] or "")
    line = read_answer(place, pair["Key"], value)
    if line is None:
        return False
    if line.what == "ack":
        heard.begun.add(line.node)
        _tell(call, f"==> {line.node}: acknowledged")
    elif line.what == "exit":
        heard.ended.add(line.node)
        text = f"==> {line.node}: finished with exit code {value.decode('utf-8', 'replace')}"
        if value == b"0":
            call.say(text)
        else:
            heard.failed = True
            call.fail(text)
    elif value:
        for text in value.decode("utf-8", "replace").rstrip("\n").split("\n"):
            call.say(f"    {line.node}: {text}")
    return True


def _tell(call: Call, text: str) -> None:
    if call.flags["verbose"]:
        call.say(text)


COMMANDS: dict[tuple[str, ...], Command] = {
    ("exec",): Command(
        usage="exec [options] [-|COMMAND...]",
        help="Runs a command on all hosts of the datacenter, or on those that the filters mean, and"
        "\nshows what it prints there. With - the command is a script from standard input."
        "\n\nAgents refuse by default: set disable_remote_exec = false where it shall work. Who"
        "\nmay write keys below the prefix can run commands there.",
        run=_exec,
        server=True,
        flags=(
            Flag("node", "Only nodes whose name fits this pattern."),
            Flag("prefix", "Prefix of the keys of jobs.", default="_rexec"),
            Flag("service", "Only nodes with a service whose name fits this pattern."),
            Flag("shell", "Run the command by a shell.", Kind.BOOL, True),
            Flag("tag", "Only nodes where that service has a tag that fits this pattern."),
            Flag("verbose", "Tell what is done.", Kind.BOOL),
            Flag("wait", "End when no host has said anything for so long.", Kind.DURATION, "2s"),
            Flag(
                "wait-repl",
                "Between writing the job and telling agents of it.",
                Kind.DURATION,
                "200ms",
            ),
        ),
    ),
}
