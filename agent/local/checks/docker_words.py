"""What the Docker engine's API says about a program run in a container, as values and texts.

Covers three requests: making an exec, starting it, asking how it ended. The output of one without
a terminal comes in frames: stream number, three zeros, length, bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from agent.local.checks.output import Tail

#: Where the engine listens unless ``DOCKER_HOST`` says otherwise.
HOST_DEFAULT = "unix:///var/run/docker.sock"
#: Bytes of any answer of the API; what an exec prints is bounded by the check's own limit.
ANSWER_MAX = 64 * 1024
#: Characters of what it says of an error.
REASON_MAX = 500
_FRAME_HEAD = 8


class DockerFailed(Exception):
    """The engine refused, or its answer is none."""


def parse_host(text: str) -> tuple[str, str]:
    """The socket's path and the base of URLs for a ``DOCKER_HOST``. Raises DockerFailed.

    The path is "" for an engine on the network.
    """
    text = text or HOST_DEFAULT
    scheme, separator, rest = text.partition("://")
    if not separator or not rest:
        raise DockerFailed(f"unable to parse docker host `{text}`")
    if scheme == "unix":
        return rest, "http://docker"
    if scheme in {"tcp", "http"}:
        return "", f"http://{rest}"
    raise DockerFailed(f"docker host `{text}`: only unix and tcp are supported")


def exec_request(args: Sequence[str]) -> dict[str, object]:
    """The body that makes an exec of a program."""
    return {"AttachStdout": True, "AttachStderr": True, "Tty": False, "Cmd": list(args)}


START_REQUEST: dict[str, object] = {"Detach": False, "Tty": False}


def made(container: str, status: int, body: bytes) -> str:
    """The id of the exec that was made. Raises DockerFailed."""
    if status == 404:
        raise DockerFailed(f"create exec failed for unknown container {container}")
    if status == 409:
        raise DockerFailed(f"create exec failed since container {container} is paused or stopped")
    if status != 201:
        failed = f"create exec failed for container {container} with status {status}"
        raise DockerFailed(failed + _reason(body))
    exec_id = _read(body).get("Id")
    if not isinstance(exec_id, str) or not exec_id.isalnum():
        raise DockerFailed(f"create exec response for container {container} contains no exec id")
    return exec_id


def started(container: str, status: int) -> None:
    """Raises DockerFailed unless the exec runs."""
    if status == 404:
        raise DockerFailed(f"start exec failed for container {container}: invalid exec id")
    if status == 409:
        raise DockerFailed(f"start exec failed since container {container} is paused or stopped")
    if status != 200:
        raise DockerFailed(f"start exec failed for container {container} with status {status}")


def exit_code(container: str, status: int, body: bytes) -> int:
    """How an exec ended. Raises DockerFailed."""
    if status == 404:
        raise DockerFailed(f"inspect exec failed for container {container}: invalid exec id")
    code = _read(body).get("ExitCode") if status == 200 else None
    if not isinstance(code, int):
        raise DockerFailed(f"inspect exec failed for container {container} with status {status}")
    return code


def _reason(body: bytes) -> str:
    """What the engine says of an error; engines differ in their statuses. "" if it says nothing."""
    try:
        said = _read(body).get("message")
    except DockerFailed:
        return ""
    return f": {said[:REASON_MAX]}" if isinstance(said, str) and said else ""


def _read(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise DockerFailed("the engine's answer is not JSON") from None
    if not isinstance(found, dict):
        raise DockerFailed("the engine's answer is not an object")
    return found


class Frames:
    """Takes an exec's stream apart; what it printed goes into a ``Tail``."""

    __slots__ = ("_head", "_left", "_output")

    def __init__(self, output: Tail) -> None:
        self._output = output
        self._head = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Bytes as they come, cut anywhere."""
        view = memoryview(data)
        while view:
            if self._left:
                part = view[: self._left]
                self._output.write(bytes(part))
                self._left -= len(part)
            else:
                part = view[: _FRAME_HEAD - len(self._head)]
                self._head += part
                if len(self._head) == _FRAME_HEAD:
                    self._left = int.from_bytes(self._head[4:], "big")
                    self._head.clear()
            view = view[len(part) :]
