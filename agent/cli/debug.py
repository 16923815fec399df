"""`debug`: a folder of what one would ask about an agent that misbehaves, as an archive.

Only what the HTTP API says goes into it, so no key of gossip, mesh or TLS and no token does. Log
lines do: they are the agent's own words.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.cli.client import Client, ClientError
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind
from agent.durations import format_s, parse_s

#: Seconds. An interval is refused in the words for a duration, as in the reference.
DURATION_MIN_S, INTERVAL_MIN_S = 10.0, 5.0

#: Target -> file -> path; asked once.
_ONCE = {
    "agent": {"agent.json": "/v1/agent/self"},
    "host": {"host.json": "/v1/agent/host"},
    "members": {"members.json": "/v1/agent/members"},
    "explain": {
        f"explain-{what}.json": f"/v1/explain/{what}"
        for what in (
            "configuration", "coordinates", "events", "keyring", "limits", "loop", "process",
            "raft", "restore", "ring", "server-port", "sidecars", "watches",
        )
    },
}  # fmt: skip
TARGETS = ("agent", "explain", "host", "logs", "members", "metrics")
#: Names of older and newer releases.
_OTHER_NAMES = {"cluster": "members", "self": "agent"}
#: What there is nothing of here.
_NOT_HERE = frozenset({"pprof"})


class _CaptureError(Exception):
    """The capture cannot begin; the message is for the user."""


@dataclass(slots=True)
class _Capture:
    """One capture: where it goes, what it takes, and what it could not."""

    call: Call
    client: Client
    folder: Path
    targets: tuple[str, ...]
    interval_s: float
    duration_s: float
    missing: list[str] = field(default_factory=list)

    def keep(self, name: str, data: bytes, *, append: bool = False) -> None:
        """Into a file that the owner alone may read."""
        path = self.folder / name
        path.touch(mode=0o600)
        with path.open("ab" if append else "wb") as file:
            file.write(data)

    def failed(self, what: str, error: Exception) -> None:
        """Say and note that something is not in it."""
        if what not in self.missing:
            self.missing.append(what)
            self.call.fail(f"==> Error capturing {what}: {error}")


def _debug(call: Call) -> int:
    if call.args:
        return call.fail("==> debug: Too many arguments provided, expected 0")
    try:
        capture = _prepared(call)
    except _CaptureError as error:
        return call.fail(f"==> Capture validation failed: {error}")
    try:
        _static(capture)
        _dynamic(capture)
        _index(capture)
        saved = _packed(capture) if call.flags["archive"] else str(capture.folder)
    except OSError as error:
        return call.fail(f"==> Error writing {capture.folder}: {error}")
    call.say(f"==> Saved debug archive: {saved}")
    return 0


def _prepared(call: Call) -> _Capture:
    """The capture that the flags ask for, with its folder. Raises _CaptureError."""
    flags = call.flags
    interval_s, duration_s = parse_s(flags.text("interval")), parse_s(flags.text("duration"))
    least = format_s(DURATION_MIN_S)
    if duration_s < DURATION_MIN_S:
        raise _CaptureError(f"duration must be longer than {least}")
    if interval_s < INTERVAL_MIN_S:
        raise _CaptureError(f"interval must be longer than {least}")
    if duration_s < interval_s:
        raise _CaptureError(
            f"duration ({format_s(duration_s)}) must be longer than interval "
            f"({format_s(interval_s)})"
        )
    targets = _targets(call)
    client = call.client()
    try:
        found = client.read("/v1/agent/self")
    except ClientError as error:
        raise _CaptureError(
            f"error querying target agent: {error}. verify connectivity and agent address"
        ) from None
    folder = Path(flags.text("output") or f"{call.program}-debug-{int(time.time())}")
    if folder.exists():
        raise _CaptureError(f"output directory already exists: {folder}")
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise _CaptureError(f"could not create output directory: {error}") from None
    _announce(call, found, folder, targets)
    return _Capture(
        call=call,
        client=client,
        folder=folder,
        targets=targets,
        interval_s=interval_s,
        duration_s=duration_s,
    )


def _targets(call: Call) -> tuple[str, ...]:
    wanted = [_OTHER_NAMES.get(name, name) for name in call.flags["capture"]] or list(TARGETS)
    for name in wanted:
        if name not in TARGETS and name not in _NOT_HERE:
            raise _CaptureError(f"target not found: {name}")
    return tuple(dict.fromkeys(wanted))


def _announce(call: Call, found: Any, folder: Path, targets: tuple[str, ...]) -> None:
    flags = call.flags
    version = str((found.get("Config") or {}).get("Version", ""))
    suffix = ".tar.gz" if flags["archive"] else ""
    call.say("==> Starting debugger and capturing static information...")
    for name, value in (
        ("Agent Version", version),
        ("Interval", format_s(parse_s(flags.text("interval")))),
        ("Duration", format_s(parse_s(flags.text("duration")))),
        ("Output", f"{folder}{suffix}"),
        ("Capture", ", ".join(targets)),
    ):
        call.say(f"    {name:>17}: '{value}'")
    for name in _NOT_HERE.intersection(targets):
        call.fail(f"==> There is no {name} here; `explain loop` says what holds an agent up")


def _static(capture: _Capture) -> None:
    for target in capture.targets:
        for name, path in _ONCE.get(target, {}).items():
            try:
                found = capture.client.read(path)
            except ClientError as error:
                if error.status != 404:  # an agent without that part
                    capture.failed(name, error)
                continue
            capture.keep(name, json.dumps(found, indent=4).encode())


def _dynamic(capture: _Capture) -> None:
    """What changes, until the time is over or somebody interrupts."""
    if "logs" in capture.targets:
        threading.Thread(target=_logs, args=(capture,), name="logs", daemon=True).start()
    deadline = time.monotonic() + capture.duration_s
    number = 0
    with contextlib.suppress(KeyboardInterrupt):
        while (left_s := deadline - time.monotonic()) > 0:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            capture.call.say(f"==> Beginning capture interval {at} ({number})")
            if "metrics" in capture.targets:
                _metrics(capture)
            number += 1
            time.sleep(min(capture.interval_s, left_s))


def _metrics(capture: _Capture) -> None:
    try:
        found = capture.client.read("/v1/agent/metrics")
    except ClientError as error:
        capture.failed("metrics.json", error)
        return
    capture.keep("metrics.json", json.dumps(found).encode() + b"\n", append=True)


def _logs(capture: _Capture) -> None:
    """A thread that ends with the process."""
    name = f"{capture.call.program}.log"

    def take(piece: bytes) -> None:
        capture.keep(name, piece, append=True)

    try:
        capture.client.follow("/v1/agent/monitor", [("loglevel", "DEBUG")], take)
    except ClientError as error:
        capture.failed(name, error)
    except OSError:
        return  # the folder has gone: the capture is over


def _index(capture: _Capture) -> None:
    index = {
        "Version": 1,
        "Interval": format_s(capture.interval_s),
        "Duration": format_s(capture.duration_s),
        "Targets": list(capture.targets),
        "Missing": capture.missing,
    }
    capture.keep("index.json", json.dumps(index, indent=4).encode())


def _packed(capture: _Capture) -> str:
    """The folder as one file; then the folder is gone."""
    path = capture.folder.with_name(capture.folder.name + ".tar.gz")
    path.touch(mode=0o600)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(capture.folder, arcname=capture.folder.name)
    shutil.rmtree(capture.folder)
    return str(path)


COMMANDS = {
    ("debug",): Command(
        usage="debug [options]",
        help="Gathers for a while what there is to know of an agent, into an archive that its owner"
        "\nalone may read: itself, its host, the members, explanations, log and metrics. No key"
        "\nand no token is in it. Interrupted, it keeps what it has.",
        run=_debug,
        flags=(
            Flag("archive", "Make an archive of the folder.", Kind.BOOL, True),
            Flag(
                "capture",
                f"What to gather: {', '.join(TARGETS)}; may be repeated, all by default.",
                Kind.LIST,
            ),
            Flag("duration", "How long to gather.", Kind.DURATION, "2m"),
            Flag("interval", "Between two looks at what changes.", Kind.DURATION, "30s"),
            Flag("output", "Folder to gather in, also the archive's name."),
        ),
    ),
}
