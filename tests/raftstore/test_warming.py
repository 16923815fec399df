"""What an agent makes before somebody waits for it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import time
from raftstore import rows, warming, wire
worst = 0.0
steps = warming.steps()
while True:
    begun_s = time.thread_time()
    ended = next(steps, "ended")
    worst = max(worst, time.thread_time() - begun_s)
    if ended:
        break
for codecs in (wire.COMMANDS, wire.QUERIES, wire.ANSWERS, rows.CODECS):
    assert codecs.keys() == codecs.types.keys()
print(worst)
"""


def test_all_codecs_are_built_in_short_steps():
    """In a program of its own: here they are built already."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(ended.stdout) < 0.03  # 3 ms on a machine of our own
