"""The compiled form of the proxy, made and used."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.connect import native
from agent.connect.native_build import without_slots

ROOT = Path(native.__file__).parents[2]


def test_sources_for_the_compiler_differ_in_slots_alone() -> None:
    for path in native.hot(ROOT / "proxy"):
        given = path.read_text()
        taken = without_slots(given)
        ast.parse(taken)
        lines = [(a, b) for a, b in zip(given.split("\n"), taken.split("\n"), strict=True)]
        for before, after in lines:
            if before != after:
                assert before.startswith("@dataclass(") and "slots=True" in before
                assert after.startswith("@dataclass") and "slots" not in after


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_compiled_proxy_passes_the_proxys_tests(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "agent.connect.native_build"],
        cwd=ROOT, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not long", "tests/proxy",
         "-p", "no:cacheprovider", "--assert=plain"],
        cwd=ROOT, env=os.environ | {"LICTOR_TEST_NATIVE": "1"}, capture_output=True, text=True,
        timeout=1200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
