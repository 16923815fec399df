"""The phases of `make test`, and a second look at the few tests that fail in one of them.

    python -m tests.phases

A test of ten thousand that misses its deadline because the machine stood still says nothing about
the change under test, and would refuse it. So at most ``AGAIN_MAX`` failures of a phase are run
once more, one after another with nothing beside them. What fails again fails the run. What passes
is named at the end as *passed only alone*: a race or a deadline for somebody to look into, never
silence (docs/adr/0068-second-look.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAST_FAILED = Path(".pytest_cache", "v", "cache", "lastfailed")
AGAIN_MAX = 3
TESTS_FAILED = 1  # pytest's exit code when tests ran and some failed
THREE_AT_ONCE = ("--numprocesses=3", "--dist=loadfile")
TWO_AT_ONCE = ("--numprocesses=2", "--dist=loadfile")
COMPUTING = "(not e2e or replay) and not interop and not calm and not alone and not long"
WHOLE_AGENTS = "((e2e and not replay) or interop) and not calm and not alone and not long"
CALM = "calm and not alone and not long"
ALONE = "alone and not long"


#: Files that take longest: begun last, one of them would be waited for alone.
BEGUN_FIRST = ("test_ansible.py", "test_schemathesis.py")


def phases(root: Path = ROOT) -> tuple[tuple[str, ...], ...]:
    """What pytest is told in each phase."""
    return (
        # Clusters wait for their elections: a third file keeps two cores busy.
        # The rules about the repository are for `make check`.
        ("-m", COMPUTING, *THREE_AT_ONCE, "--ignore=tests/repo"),
        ("-m", WHOLE_AGENTS, *THREE_AT_ONCE, *marked(root, "e2e", "interop")),
        ("-m", CALM, *TWO_AT_ONCE, *marked(root, "calm")),
        ("-m", ALONE, *marked(root, "alone")),
    )


def marked(root: Path, *names: str) -> list[str]:
    """The files of tests in which one of these marks stands. Every process of a phase reads all
    files that it is given, and reading all of them takes as long as many tests."""
    words = [f"mark.{name}" for name in names]
    found = sorted((root / "tests").rglob("test_*.py"))
    texts = {path: path.read_text() for path in found}
    chosen = [path for path, text in texts.items() if any(word in text for word in words)]
    chosen.sort(key=lambda path: path.name not in BEGUN_FIRST)
    return [str(path.relative_to(root)) for path in chosen]


def environment() -> dict[str, str]:
    """Ours, but what is compiled is kept: rewriting the assertions of all tests takes 26 s of
    processor time, and each process of each phase would do it anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def compile_once(root: Path = ROOT) -> None:
    """Compile the files of tests, half of them each in two processes, before three processes of a
    phase would each compile them all. What cannot be read is for the phase to say."""
    found = sorted((root / "tests").rglob("test_*.py"), key=lambda path: path.stat().st_size)
    names = [str(path.relative_to(root)) for path in found if "repo" not in path.parts]
    command = (sys.executable, "-m", "pytest", "-qqq", "--collect-only", "-p", "no:cacheprovider")
    running = [
        subprocess.Popen([*command, *half], cwd=root, env=environment(), stdout=subprocess.DEVNULL)
        for half in (names[::2], names[1::2])
        if half
    ]
    for process in running:
        process.wait()


def pytest(root: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=root, env=environment()).returncode


def last_failed(root: Path) -> list[str]:
    """What the run before left as failed; nothing when it says nothing."""
    try:
        return sorted(json.loads((root / LAST_FAILED).read_text()))
    except (OSError, ValueError):
        return []


def phase(arguments: tuple[str, ...], again: list[str], root: Path = ROOT) -> int:
    """Run one phase; tests that pass only alone are added to ``again``. Returns pytest's exit
    code."""
    (root / LAST_FAILED).unlink(missing_ok=True)
    code = pytest(root, *arguments)
    failed = last_failed(root)
    if code != TESTS_FAILED or not 0 < len(failed) <= AGAIN_MAX:
        return code
    print(f"\nA second look, alone: {', '.join(failed)}\n", flush=True)
    code = pytest(root, "-p", "no:cacheprovider", *failed)
    if code == 0:
        again += failed
    return code


def main() -> int:
    again: list[str] = []
    code = 0
    compile_once()
    for arguments in phases():
        code = phase(arguments, again)
        if code:
            break
    for test in again:
        print(f"PASSED ONLY ALONE {test}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
