"""The median, beside the library's, and what a sidecar must not have loaded at its start."""

from __future__ import annotations

import statistics
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from proxy.median import median

#: Each takes 0.5 MB or more, and sidecars do without.
UNWANTED = frozenset(
    "statistics decimal fractions prometheus_client dns lmdb pysyncobj aiohttp.web".split()
)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40))
def test_it_is_the_median(values: list[float]) -> None:
    assert median(values) == statistics.median(values)


def test_a_sidecar_has_not_loaded_what_it_can_do_without() -> None:
    script = "import agent.cli.connect, proxy.worker, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not sorted(UNWANTED & set(done.stdout.split()))
