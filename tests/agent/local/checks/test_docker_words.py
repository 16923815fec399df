"""The engine's stream is taken apart wherever it is cut, and odd answers are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.local.checks import docker_words
from agent.local.checks.docker_words import DockerFailed, Frames
from agent.local.checks.output import Tail


@given(st.lists(st.binary(max_size=20), max_size=6), st.integers(1, 9))
def test_frames_are_joined_wherever_the_stream_is_cut(parts: list[bytes], step: int) -> None:
    stream = b"".join(b"\x01\x00\x00\x00" + len(p).to_bytes(4, "big") + p for p in parts)
    output = Tail(1000)
    frames = Frames(output)
    for at in range(0, len(stream), step):
        frames.feed(stream[at : at + step])
    assert output.total == sum(map(len, parts))
    assert output.text() == b"".join(parts).decode("utf-8", "replace")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"Id": 3}', b'{"Id": "../x"}', b"{" * 9],
    ids=["empty", "a list", "no id", "a number", "a path", "no JSON"],
)
def test_an_answer_without_a_sound_id_is_refused(body: bytes) -> None:
    with pytest.raises(DockerFailed):
        docker_words.made("c", 201, body)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (500, b""), (200, b"{}")], ids=["gone", "error", "running"]
)
def test_an_exec_that_did_not_end_is_a_failure(status: int, body: bytes) -> None:
    with pytest.raises(DockerFailed):
        docker_words.exit_code("c", status, body)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("/var/run/docker.sock", "http://docker")),
        ("unix:///x.sock", ("/x.sock", "http://docker")),
        ("tcp://10.0.0.1:2375", ("", "http://10.0.0.1:2375")),
    ],
    ids=["default", "unix", "tcp"],
)
def test_the_engines_address_is_read(text: str, found: tuple[str, str]) -> None:
    assert docker_words.parse_host(text) == found


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b'{"message": "can only create exec sessions on running containers"}',
            ": can only create",
        ),
        (b"{}", ""),
        (b"not JSON", ""),
        (b'{"message": 7}', ""),
    ],
)
def test_what_an_engine_says_of_an_error_is_told(body: bytes, reason: str) -> None:
    with pytest.raises(DockerFailed) as failed:
        docker_words.made("c", 500, body)
    assert str(failed.value).startswith(
        f"create exec failed for container c with status 500{reason}"
    )
    assert bool(reason) or str(failed.value).endswith("500")
