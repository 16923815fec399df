"""Memory that was wanted for a moment is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Pieces of a MB, many at once, freed in another order than they were taken; the growth in MB.
SCRIPT = """
import random, resource
from proxy import heap
heap.settle()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
bytearray(30_000_000)  # such a piece makes the C library keep twice as much of its heap
before = resident()
pieces = [b"x" * size for size in (300_000, 1_000_000, 3_000_000) * 10]
most = resident()
random.Random(1).shuffle(pieces)
while pieces:
    pieces.pop()
print(most - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
def test_what_was_wanted_for_a_moment_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    most, left = map(float, done.stdout.split())
    assert most > 40
    assert left < 4
