"""Remote execution as data: where a job lies among the keys, what it says. Pure.

`exec` puts a job into the key-value store below a session and tells agents of it by a user event;
each of them writes beside it that it has begun, what the command prints, and how it ended. All of
that is held by the session, so it goes with it. The layout is Consul's, and its agents and
command line understand ours.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

#: Bytes of output in one key, and seconds of silence after which an empty one says "still here".
OUTPUT_BYTES = 4096
WAIT_S = 2.0
#: What a job may say at most, in bytes.
JOB_BYTES_MAX = 512 * 1024
#: The status of a command that could not be run.
NOT_RUN = 255


class RemoteError(ValueError):
    """An event or a job cannot be read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one job and all answers to it lie."""

    prefix: str
    session: str

    @property
    def root(self) -> str:
        """What all keys begin with."""
        return f"{self.prefix}/{self.session}/"

    @property
    def job(self) -> str:
        """The job."""
        return self.root + "job"

    def ack(self, node: str) -> str:
        """A node has begun."""
        return f"{self.root}{node}/ack"

    def output(self, node: str, number: int) -> str:
        """A piece of what the command prints."""
        return f"{self.root}{node}/out/{number:05x}"

    def exit(self, node: str) -> str:
        """The status, as decimal text."""
        return f"{self.root}{node}/exit"

    def payload(self) -> bytes:
        """What the event says."""
        return json.dumps({"Prefix": self.prefix, "Session": self.session}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run: a line for a shell, or words, or the text of a script."""

    command: str = ""
    args: tuple[str, ...] = ()
    script: bytes = b""
    #: The longest silence between two pieces of output.
    wait_s: float = WAIT_S

    def encoded(self) -> bytes:
        """The job as it lies in its key."""
        return json.dumps(
            {
                "Command": self.command,
                "Args": list(self.args) or None,
                "Script": base64.b64encode(self.script).decode() if self.script else None,
                "Wait": round(self.wait_s * 1e9),
            }
        ).encode()


def read_payload(data: bytes) -> Place:
    """An event's payload. Raises RemoteError."""
    found = _object(data)
    prefix, session = found.get("Prefix"), found.get("Session")
    if not isinstance(prefix, str) or not isinstance(session, str) or not prefix or not session:
        raise RemoteError("it names no place")
    return Place(prefix, session)


def read_job(data: bytes) -> Job:
    """A job's key. Raises RemoteError."""
    found = _object(data)
    command, args = found.get("Command") or "", found.get("Args") or []
    script, wait = found.get("Script") or "", found.get("Wait") or 0
    words_fit = isinstance(args, list) and all(isinstance(word, str) for word in args)
    if not isinstance(command, str) or not words_fit or not isinstance(script, str):
        raise RemoteError("it is no job")
    if type(wait) is not int or wait < 0:
        raise RemoteError("its time to wait is no number")
    try:
        raw = base64.b64decode(script, validate=True)
    except ValueError as error:  # not ASCII, or not base64
        raise RemoteError(f"its script is not base64: {error}") from None
    if not (command or args or raw):
        raise RemoteError("there is nothing to run")
    return Job(command=command, args=tuple(args), script=raw, wait_s=wait / 1e9 or WAIT_S)


def _object(data: bytes) -> dict[str, Any]:
    if len(data) > JOB_BYTES_MAX:
        raise RemoteError(f"it has more than {JOB_BYTES_MAX} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise RemoteError("it is no object")
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a node said: ``what`` is "ack", "output" or "exit"."""

    node: str
    what: str
    data: bytes = b""


def read_answer(place: Place, key: str, value: bytes) -> Line | None:
    """What a key below the place says; None for the job and for what nobody knows."""
    parts = key.removeprefix(place.root).split("/")
    match parts:
        case [node, "ack"]:
            return Line(node, "ack")
        case [node, "out", _]:
            return Line(node, "output", value)
        case [node, "exit"]:
            return Line(node, "exit", value)
    return None
