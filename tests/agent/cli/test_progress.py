"""Progress is told to terminals, now and then, and bytes go through unchanged."""

from __future__ import annotations

import io

import pytest

from agent.cli.progress import Progress, shown


class Terminal(io.StringIO):
    """Standard error where a person looks."""

    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_is_told_now_and_then() -> None:
    err, clock, file = Terminal(), Clock(), io.BytesIO()
    progress = Progress(file, err, "received", now=clock)
    for _ in range(5):
        clock.now += 1.0
        progress.write(b"x" * 1024 * 1024)
    assert err.getvalue() == "2.0MB received, 2 s\n4.0MB received, 4 s\n"
    assert len(file.getvalue()) == 5 * 1024 * 1024


def test_what_is_sent_is_told_with_its_end() -> None:
    err, clock = Terminal(), Clock()
    progress = Progress(io.BytesIO(b"abcdef"), err, "sent", total=6, now=clock)
    clock.now = 3.0
    assert progress.read(4) == b"abcd"
    assert progress.read() == b"ef"
    assert err.getvalue() == "4B of 6B sent, 3 s\n"


def test_scripts_are_told_nothing() -> None:
    err, clock = io.StringIO(), Clock()
    progress = Progress(io.BytesIO(), err, "received", now=clock)
    clock.now = 99.0
    progress.write(b"x")
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1023, "1023B"), (1024, "1.0KB"), (5 * 1024**4, "5.0TB")]
)
def test_sizes(size: int, text: str) -> None:
    assert shown(size) == text
